/** Plays a device: holds the conversation with two repositories, and writes down how it went. */
import { converse } from '../../cycle/fetch.ts';
import { isOtaError, OtaError, type AnyOtaError, type Repo } from '../../errors.ts';
import { readNamedFile } from '../../io/served-directory.ts';
import type { Ecu, EcuInventory } from '../../uptane/inventory.ts';
import { MetadataStore, verifyFirstRoot } from '../../uptane/store.ts';
import { surveyImage } from '../../uptane/survey.ts';
import { verify, type Answer, type Keep, type Need, type Verdict } from '../../uptane/verify.ts';
import { verifyImages, type ImageSeen } from './images.ts';
import type { VerifyOptions } from './options.ts';
import type { Sources, State } from './sources.ts';
import { Transcript, type Blame } from './transcript.ts';

export interface Run {
  readonly transcript: Transcript;
  /** Absent when it was refused or failed. */
  readonly verdict?: Verdict;
  readonly failure?: { readonly error: AnyOtaError; readonly blame: Blame | undefined };
  readonly images: readonly ImageSeen[];
  /** What a survey found that this device did not need today. */
  readonly problems: readonly AnyOtaError[];
}

const REPOS: readonly Repo[] = ['director', 'image'];
/** Exit codes of what repositories and servers do wrong; the rest is ours or the operator's. */
const JUDGED: ReadonlySet<number> = new Set([20, 21, 30, 31]);

/**
 * Verifies metadata, then images, then what a survey of the rest finds where one is asked for.
 *
 * @throws OtaError STORAGE_CORRUPT, STORAGE_FAILED, FILE_UNREADABLE
 */
export async function run(options: VerifyOptions, sources: Sources, state: State): Promise<Run> {
  const trusted = new Map(await state.loadTrusted());
  const player = new Player(options, sources, { state, trusted });
  const { transcript } = player;
  const images: ImageSeen[] = [];
  try {
    const verdict = await player.verify();
    await verifyImages(options, sources, {
      targets: verdict.targets,
      images,
      begins: (file) => {
        transcript.leaves({ repo: 'image', role: 'image', file });
      },
    });
    await recordInstalled(state, verdict);
    const problems = options.watchExpiryDays === undefined ? [] : await player.survey();
    return { transcript, verdict, images, problems };
  } catch (error) {
    if (!isOtaError(error) || !JUDGED.has(error.handling.exit)) throw error;
    return { transcript, failure: { error, blame: transcript.stops(error) }, images, problems: [] };
  }
}

interface Memory {
  readonly state: State;
  /** What the state holds, and what this run has added to it. */
  readonly trusted: Map<string, Uint8Array>;
}

class Player {
  readonly transcript = new Transcript();
  readonly #options: VerifyOptions;
  readonly #sources: Sources;
  readonly #memory: Memory;

  constructor(options: VerifyOptions, sources: Sources, memory: Memory) {
    this.#options = options;
    this.#sources = sources;
    this.#memory = memory;
  }

  async verify(): Promise<Verdict> {
    const { ecus, now, directorFormat, imageFormat } = this.#options;
    const { state, trusted } = this.#memory;
    const inventory = await loadInventory(ecus, state);
    for (const root of await this.#firstRoots()) await this.#keep(root);
    const observer = this.transcript;
    const talk = verify({
      trusted: new Map(trusted),
      inventory,
      now,
      directorFormat,
      imageFormat,
      observer,
    });
    return converse(talk, (need) => this.#answer(need));
  }

  /** Reads the whole Image repository; nothing of it becomes trusted by that. */
  async survey(): Promise<readonly AnyOtaError[]> {
    const { now, imageFormat } = this.#options;
    const trusted = new Map(this.#memory.trusted);
    const store = new MetadataStore('image', trusted, now, imageFormat).watch(this.transcript);
    return converse(surveyImage(store), async (need) =>
      need.need === 'fetch' ? this.#answer(need) : undefined,
    );
  }

  /** Both are looked at before one is kept, so that a refused start leaves nothing behind. */
  async #firstRoots(): Promise<readonly Keep[]> {
    const roots: Keep[] = [];
    for (const repo of REPOS.filter((name) => !this.#memory.trusted.has(`${name}/root`))) {
      const format = this.#options[`${repo}Format`];
      const bytes = await this.#firstRoot(repo, format.maxBytes.root);
      const { version, roles } = verifyFirstRoot(repo, bytes, format);
      const facts = { version, threshold: roles.root.threshold };
      const clause = '§5.4.4.3 step 1';
      this.transcript.passed({ repo, role: 'root', check: 'threshold', clause, facts });
      roots.push({ need: 'keep', repo, role: 'root', bytes });
    }
    return roots;
  }

  async #firstRoot(repo: Repo, maxBytes: number): Promise<Uint8Array> {
    const path = this.#options.roots?.[repo];
    if (path !== undefined) {
      const bytes = await readNamedFile(path, maxBytes);
      this.transcript.reads(repo, path, bytes);
      return bytes;
    }
    const file = '1.root.json';
    const bytes = await this.#answer({ need: 'fetch', repo, file, maxBytes });
    if (bytes === undefined) throw new OtaError('METADATA_MISSING', { repo, file });
    return bytes;
  }

  async #answer(need: Need): Promise<Answer> {
    if (need.need === 'keep') return this.#keep(need);
    this.transcript.asks(need);
    const answer = await this.#sources[need.repo].fetchMetadata(need.file, need.maxBytes);
    this.transcript.isAnswered(need, answer);
    return answer;
  }

  async #keep(keep: Keep): Promise<undefined> {
    const { state, trusted } = this.#memory;
    await state.keep(keep);
    const name = `${keep.repo}/${keep.role}`;
    if (keep.bytes === undefined) trusted.delete(name);
    else trusted.set(name, keep.bytes);
    this.transcript.keeps(keep);
    return undefined;
  }
}

async function loadInventory(ecus: readonly Ecu[], state: State): Promise<readonly EcuInventory[]> {
  const images = new Map((await state.loadInstalled()).map((image) => [image.ecu, image]));
  return ecus.map((ecu) => {
    const installed = images.get(ecu.serial);
    return installed === undefined ? ecu : { ...ecu, installed };
  });
}

async function recordInstalled(state: State, { targets }: Verdict): Promise<void> {
  if (targets.length === 0) return;
  const images = new Map((await state.loadInstalled()).map((image) => [image.ecu, image]));
  for (const target of targets) images.set(target.ecu, target);
  await state.saveInstalled([...images.values()]);
}
