/**
 * `ota-agent verify`: full verification of two repositories on disk, without network or token.
 *
 * It plays a device for whoever publishes: with `--state`, what it accepted counts as installed in the
 * next run.
 */
import { parseArgs } from 'node:util';

import { converse } from '../cycle/fetch.ts';
import { causeOf, isOtaError, OtaError, type AnyOtaError, type Repo } from '../errors.ts';
import { readNamedFile, ServedDirectories, StateDirectory } from '../io/metadata-dir.ts';
import { UPTANE, type Format } from '../uptane/format.ts';
import type { Ecu, EcuInventory, InstalledImage } from '../uptane/inventory.ts';
import { loadFormat } from '../uptane/load-format.ts';
import { verifyEcuSerial, verifyHardwareId } from '../uptane/names.ts';
import type { Target } from '../uptane/plan.ts';
import { verifyFirstRoot } from '../uptane/store.ts';
import { parseInstant, type Instant } from '../uptane/time.ts';
import { verify, type Answer, type Keep, type Need, type Verdict } from '../uptane/verify.ts';
import type { CommandResult } from './result.ts';

interface Options {
  readonly director: string;
  readonly image: string;
  readonly state: string | undefined;
  readonly roots: Readonly<Record<Repo, string>> | undefined;
  readonly now: Instant;
  /** The first one is the Primary. */
  readonly ecus: readonly Ecu[];
  readonly images: 'check' | 'skip';
  readonly imageFormat: Format;
}

/** Where trust is carried; without `--state`, nowhere. */
type State = Pick<StateDirectory, 'loadTrusted' | 'keep' | 'loadInstalled' | 'saveInstalled'>;

const REPOS: readonly Repo[] = ['director', 'image'];
const REMEDY = 'ota-agent verify --help';
const ISO = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d))?$/u;
const OPTIONS = {
  director: { type: 'string' },
  image: { type: 'string' },
  state: { type: 'string' },
  roots: { type: 'string', multiple: true },
  time: { type: 'string' },
  ecu: { type: 'string', multiple: true },
  'hardware-id': { type: 'string', multiple: true },
  'no-images': { type: 'boolean' },
  'image-format': { type: 'string' },
} as const;

/**
 * Verifies what two directories hold.
 *
 * @returns exit 0 for `update` and `up-to-date`, 20 when metadata is refused, 31 when an image is
 * @throws OtaError USAGE, FILE_UNREADABLE, STORAGE_CORRUPT, STORAGE_FAILED
 */
export async function verifyCommand(args: readonly string[]): Promise<CommandResult> {
  const options = await readOptions(args);
  const served = new ServedDirectories(options.director, options.image);
  await served.open();
  const state = await openState(options.state);
  try {
    const verdict = await verifyServed(options, served, state);
    if (options.images === 'check') {
      for (const target of verdict.targets) await served.verifyImage(target);
    }
    await recordInstalled(state, verdict);
    return accepted(verdict, options.ecus);
  } catch (error) {
    if (isOtaError(error) && [20, 31].includes(error.handling.exit)) return refused(error);
    throw error;
  }
}

async function verifyServed(
  options: Options,
  served: ServedDirectories,
  state: State,
): Promise<Verdict> {
  const trusted = new Map(await state.loadTrusted());
  for (const { repo, role, bytes } of await firstRoots(options, served, trusted)) {
    await state.keep({ repo, role, bytes });
    trusted.set(`${repo}/${role}`, bytes);
  }
  const inventory = await loadInventory(options.ecus, state);
  const { now, imageFormat } = options;
  const talk = verify({ trusted, inventory, now, imageFormat });
  return converse(talk, async (need: Need): Promise<Answer> => {
    if (need.need === 'fetch') return served.fetchMetadata(need.repo, need.file, need.maxBytes);
    await state.keep(need);
    return undefined;
  });
}

/** Both are looked at before one is kept, so that a refused start leaves nothing behind. */
async function firstRoots(
  { roots, imageFormat }: Options,
  served: ServedDirectories,
  trusted: ReadonlyMap<string, Uint8Array>,
): Promise<readonly (Pick<Keep, 'repo' | 'role'> & { bytes: Uint8Array })[]> {
  const missing = REPOS.filter((repo) => !trusted.has(`${repo}/root`));
  return Promise.all(
    missing.map(async (repo) => {
      const file = '1.root.json';
      const format = repo === 'image' ? imageFormat : UPTANE;
      const maxBytes = format.maxBytes.root;
      const bytes = roots
        ? await readNamedFile(roots[repo], maxBytes)
        : await served.fetchMetadata(repo, file, maxBytes);
      if (bytes === undefined) throw new OtaError('METADATA_MISSING', { repo, file });
      verifyFirstRoot(repo, bytes, format);
      return { repo, role: 'root', bytes };
    }),
  );
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

async function openState(path: string | undefined): Promise<State> {
  if (path === undefined) return NO_STATE;
  const state = new StateDirectory(path);
  await state.open();
  return state;
}

const NO_STATE: State = {
  loadTrusted: () => Promise.resolve(new Map<string, Uint8Array>()),
  keep: () => Promise.resolve(),
  loadInstalled: () => Promise.resolve<InstalledImage[]>([]),
  saveInstalled: () => Promise.resolve(),
};

/** Targets in the order the ECUs were named in. */
function accepted(
  { outcome, targets, correlationId }: Verdict,
  ecus: readonly Ecu[],
): CommandResult {
  const ordered = ecus.flatMap(({ serial }) => targets.filter(({ ecu }) => ecu === serial));
  const nothing = { code: null, attack: null, details: null };
  const correlation = correlationId === undefined ? {} : { correlationId };
  return {
    exit: 0,
    json: { outcome, ...nothing, ...correlation, targets: ordered.map(targetJson) },
    lines: [outcome === 'update' ? 'update' : 'up to date', ...ordered.map(targetLine)],
  };
}

function refused({ code, details, handling, message }: AnyOtaError): CommandResult {
  const attack = handling.attack ?? null;
  return {
    exit: handling.exit,
    json: { outcome: 'refused', code, attack, details: { ...details }, targets: [] },
    lines: [`refused: ${message}`, ...(attack === null ? [] : [`  looks like: ${attack}`])],
  };
}

function targetJson({ ecu, filename, lengthBytes, hashes }: Target): object {
  return { ecu, filename, length: lengthBytes, hashes: Object.fromEntries(hashes) };
}

function targetLine({ ecu, filename, lengthBytes, hashes }: Target): string {
  const digests = [...hashes].map(([algorithm, hex]) => `${algorithm}:${hex}`).join(' ');
  return `  ${ecu}: ${filename} (${String(lengthBytes)} bytes) ${digests}`;
}

async function readOptions(args: readonly string[]): Promise<Options> {
  const { values } = parsed(args);
  const { director, image, state, roots, time } = values;
  if (director === undefined || image === undefined) {
    throw usage('--director DIR and --image DIR are needed');
  }
  const [directorRoot, imageRoot] = roots ?? [];
  return {
    director,
    image,
    state,
    roots:
      directorRoot === undefined || imageRoot === undefined
        ? undefined
        : { director: directorRoot, image: imageRoot },
    now: time === undefined ? (Date.now() as Instant) : readTime(time),
    ecus: readEcus(values.ecu ?? [], values['hardware-id'] ?? []),
    images: values['no-images'] === true ? 'skip' : 'check',
    imageFormat: await readFormat(values['image-format'] ?? 'uptane'),
  };
}

function parsed(
  args: readonly string[],
): ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>> {
  const spread = spreadRoots(args);
  try {
    return parseArgs({ args: spread, options: OPTIONS });
  } catch (cause) {
    throw new OtaError('USAGE', { what: causeOf(cause), remedy: REMEDY }, { cause });
  }
}

/** `--roots` takes two files, which `parseArgs` has no word for. */
function spreadRoots(args: readonly string[]): string[] {
  const at = args.indexOf('--roots');
  if (at === -1) return [...args];
  const files = args.slice(at + 1, at + 3);
  if (
    files.length < 2 ||
    files.some((file) => file.startsWith('--')) ||
    args.includes('--roots', at + 1)
  ) {
    throw usage('--roots takes two files: Director, Image repository');
  }
  return [...args.slice(0, at), ...files.map((file) => `--roots=${file}`), ...args.slice(at + 3)];
}

async function readFormat(name: string): Promise<Format> {
  if (name === 'uptane' || name === 'tuf') return loadFormat(name);
  throw usage(`--image-format is uptane or tuf, not ${name}`);
}

function readTime(text: string): Instant {
  if (!ISO.test(text) || Number.isNaN(Date.parse(text))) {
    throw usage(`--time is not an ISO 8601 instant: ${text}`);
  }
  return parseInstant(new Date(text).toISOString(), '--time');
}

function readEcus(serials: readonly string[], hardwareIds: readonly string[]): readonly Ecu[] {
  if (serials.length === 0 || serials.length !== hardwareIds.length) {
    throw usage('--ecu SERIAL and --hardware-id ID are needed, in pairs');
  }
  if (new Set(serials).size !== serials.length) throw usage('the same --ecu is named twice');
  return serials.map((serial, index) => {
    const hardwareId = hardwareIds[index] ?? '';
    try {
      verifyEcuSerial(serial, '--ecu');
      verifyHardwareId(hardwareId, '--hardware-id');
    } catch (cause) {
      throw new OtaError('USAGE', { what: causeOf(cause), remedy: REMEDY }, { cause });
    }
    return { serial, hardwareId };
  });
}

function usage(what: string): OtaError<'USAGE'> {
  return new OtaError('USAGE', { what, remedy: REMEDY });
}
