/**
 * A set of containers: a compose file, alone or in an archive with its images, every one by digest.
 *
 * Definitions stand beside each other as the trees of `directory` do, and one link chooses among them;
 * what runs is asked of the engine. A power cut between the two is mended by rolling back, or again.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import type { Progress, StagedInstaller } from '../../../ports.ts';
import type { Target, TrustedTarget } from '../../../uptane/plan.ts';
import { verifyImageAt } from '../../image-file.ts';
import type { ArchiveLimits } from '../directory/archive-policy.ts';
import { formatOf } from '../directory/archive.ts';
import type { TreeEntry } from '../directory/tree.ts';
import {
  demandSpace,
  fromArchive,
  imageId,
  makeVersion,
  type Making,
} from '../directory/unpack-version.ts';
import { Versions, type Version } from '../directory/versions.ts';
import { demandKind, guarded } from '../guard.ts';
import { parseDefinition, splitImage, type Definition } from './definition.ts';
import { Engine, type EngineSettings } from './engine.ts';

export interface ComposeSettings extends EngineSettings {
  /** The symbolic link to the definition that runs. */
  readonly path: string;
  readonly limits: ArchiveLimits;
  /** For every container to run, and to be healthy where something checks it. */
  readonly healthMs: number;
}

/** In an archive; a file alone may have any name. */
const COMPOSE_FILE = 'docker-compose.yml';
/** What the engine is given, beside it. */
const UNDERSTOOD_FILE = 'ota-compose.json';
const UNDERSTOOD_MODE = 0o644;
const COMPOSE_SUFFIX = /\.(?:ya?ml|json)$/u;
const HEALTH_POLL_MS = 500;

export class ComposeInstaller implements StagedInstaller {
  readonly kind = 'compose';
  readonly takes = 'staged';
  readonly needsReboot = false;
  readonly #settings: ComposeSettings;
  readonly #versions: Versions;
  readonly #engine: Engine;

  constructor(settings: ComposeSettings) {
    this.#settings = settings;
    this.#versions = new Versions(settings.path);
    this.#engine = new Engine(settings);
  }

  async check(target: TrustedTarget): Promise<void> {
    demandKind('bytes', target, this.kind);
    await this.#guard(target.ecu, async () => {
      demandName(target);
      await this.#demandReady();
      await demandSpace(this.#versions, target.lengthBytes);
    });
  }

  async write(target: TrustedTarget, stagedPath: string, progress: Progress): Promise<void> {
    await this.#guard(target.ecu, async () => {
      demandName(target);
      await verifyImageAt(stagedPath, target);
      const there = await this.#versions.whole(imageId(target));
      await this.#versions.sweep(there === undefined ? [] : [there.name]);
      if (there === undefined) {
        await makeVersion(target, this.#versions, await this.#making(target, stagedPath, progress));
      }
      await this.#fetchImages(await this.#proven(target));
      progress(target.lengthBytes, target.lengthBytes);
    });
  }

  async activate(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const version = await this.#proven(target);
      await this.#fetchImages(version);
      const running = await this.#versions.running();
      if (running?.name === version.name && (await this.#runs(version))) return;
      if (running?.name !== version.name) {
        await this.#versions.choose(version.name, running?.image === version.image);
      }
      await this.#start(version);
    });
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    return this.#guard(target.ecu, async () => {
      const running = await this.#versions.running();
      if (running?.image !== imageId(target) || !(await this.#versions.isWhole(running)))
        return false;
      return this.#runs(running);
    });
  }

  async confirm(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, () => this.#versions.sweep([]));
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const running = await this.#versions.running();
      if (running?.image === imageId(target)) {
        await this.#versions.demandPrevious();
        await this.#versions.goBack();
      }
      const back = await this.#versions.running();
      if (back !== undefined && !(await this.#runs(back))) await this.#start(back);
    });
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    return this.#guard('-', async () => {
      const versions = await this.#demandReady();
      const running = await this.#versions.running();
      const containers = await this.#engine.containers();
      const found = containers.map(
        ({ service, state, health }) => `${service} ${state} (${health})`,
      );
      return {
        ...versions,
        runs: running?.filename ?? 'nothing that this agent has installed',
        containers: found.join(', ') || 'none',
      };
    });
  }

  /** Ends what runs, and starts this and nothing else. */
  async #start(version: Version): Promise<void> {
    await this.#engine.down();
    await this.#engine.up(join(this.#versions.treeOf(version.name), UNDERSTOOD_FILE));
    const until = performance.now() + this.#settings.healthMs;
    for (;;) {
      const problem = await this.#problem(version);
      if (problem === undefined) return;
      // What has ended will not come back; what starts may take its time.
      if (performance.now() > until) throw new Error(`${version.filename}: ${problem}`);
      await setTimeout(HEALTH_POLL_MS);
    }
  }

  async #runs(version: Version): Promise<boolean> {
    return (await this.#problem(version)) === undefined;
  }

  /** What keeps the project from being all that its definition says, and nothing else. */
  async #problem(version: Version): Promise<string | undefined> {
    const { images } = await this.#definition(version);
    const containers = await this.#engine.containers();
    for (const [service, image] of images) {
      const own = containers.filter((container) => container.service === service);
      if (own.length === 0) return `service ${service} has no container`;
      const id = await this.#engine.imageId(image);
      for (const { state, health, image: runs } of own) {
        if (runs !== id) return `service ${service} runs another image than ${image}`;
        if (state !== 'running') return `service ${service} is ${state}`;
        if (health !== 'none' && health !== 'healthy') return `service ${service} is ${health}`;
      }
    }
    const other = containers.find(({ service }) => !images.has(service));
    return other && `${other.service} runs, which is no service of it`;
  }

  async #fetchImages(version: Version): Promise<void> {
    const { images } = await this.#definition(version);
    for (const image of new Set(images.values())) {
      if ((await this.#engine.imageId(image)) !== undefined) continue;
      const [, hex] = splitImage(image);
      const layout = join(this.#versions.treeOf(version.name), 'images', hex);
      const isThere = await stat(layout).catch(() => undefined);
      await (isThere === undefined ? this.#engine.pull(image) : this.#engine.load(image, layout));
      if ((await this.#engine.imageId(image)) !== undefined) continue;
      throw new Error(
        `${image} is not what was pulled: look for its digest in the layout or registry`,
      );
    }
  }

  async #making(target: Target, stagedPath: string, progress: Progress): Promise<Making> {
    const format = formatOf(target.filename);
    if (format === undefined) {
      const text = await readFile(stagedPath, 'utf8');
      return { foreseen: [], make: async (root) => [await understood(root, text)] };
    }
    const { limits } = this.#settings;
    const { foreseen, make } = await fromArchive(
      target,
      { path: stagedPath, format, limits },
      progress,
    );
    if (!foreseen.some(({ path, type }) => path === COMPOSE_FILE && type === 'file')) {
      throw new Error(`${target.filename} holds no ${COMPOSE_FILE}`);
    }
    return {
      foreseen,
      make: async (root) => {
        await make(root);
        return [await understood(root, await readFile(join(root, COMPOSE_FILE), 'utf8'))];
      },
    };
  }

  async #proven(target: Target): Promise<Version> {
    const version = await this.#versions.whole(imageId(target));
    if (version !== undefined) return version;
    throw new Error(`${target.filename} is not there, whole, in ${this.#versions.directory}`);
  }

  async #definition({ name }: Version): Promise<Definition> {
    const path = join(this.#versions.treeOf(name), UNDERSTOOD_FILE);
    return parseDefinition(await readFile(path, 'utf8'));
  }

  async #demandReady(): Promise<Readonly<Record<string, string>>> {
    const directory = dirname(this.#settings.path);
    if (!(await stat(directory)).isDirectory()) throw new Error(`${directory} is not a directory`);
    await access(directory, constants.W_OK);
    await this.#versions.current();
    return this.#engine.versions();
  }

  #guard<T>(ecu: string, act: () => Promise<T>): Promise<T> {
    return guarded({ installer: this.kind, ecu }, act);
  }
}

/** Writes the compose file as it was understood. */
async function understood(root: string, text: string): Promise<TreeEntry> {
  const content = parseDefinition(text).text;
  const path = join(root, UNDERSTOOD_FILE);
  await writeFile(path, content, { flag: 'wx', mode: UNDERSTOOD_MODE });
  await chmod(path, UNDERSTOOD_MODE);
  return {
    path: UNDERSTOOD_FILE,
    type: 'file',
    mode: UNDERSTOOD_MODE,
    sizeBytes: Buffer.byteLength(content),
    sha256: createHash('sha256').update(content).digest('hex'),
    link: '',
  };
}

function demandName({ filename }: Target): void {
  if (formatOf(filename) !== undefined || COMPOSE_SUFFIX.test(filename)) return;
  throw new Error(
    `${filename} is named neither as a compose file (.yml, .yaml, .json) nor as a tar`,
  );
}
