/** What `ota-agent verify` takes. */
import { parseArgs } from 'node:util';

import { causeOf, type Repo } from '../../errors.ts';
import { metadataLimits } from '../../settings.ts';
import { UPTANE, withLimits, type Format } from '../../uptane/format.ts';
import type { Ecu } from '../../uptane/inventory.ts';
import { loadFormat } from '../../uptane/load-format.ts';
import type { Instant } from '../../uptane/time.ts';
import { isUrl, readEcus, readNumber, readSource, readTime, usage } from './option-values.ts';

export interface VerifyOptions {
  /** A directory, or an http(s) URL without query. */
  readonly sources: Readonly<Record<Repo, string>>;
  readonly state: string | undefined;
  readonly roots: Readonly<Record<Repo, string>> | undefined;
  readonly now: Instant;
  /** The first one is the Primary. */
  readonly ecus: readonly Ecu[];
  /** `present`: those that lie in a directory; `all`: every one has to be there. */
  readonly images: 'none' | 'present' | 'all';
  readonly directorFormat: Format;
  readonly imageFormat: Format;
  readonly caFile: string | undefined;
  readonly timeoutMs: number;
  readonly explain: boolean;
  readonly watchExpiryDays: number | undefined;
}

const OPTIONS = {
  director: { type: 'string' },
  image: { type: 'string' },
  state: { type: 'string' },
  roots: { type: 'string', multiple: true },
  time: { type: 'string' },
  ecu: { type: 'string', multiple: true },
  'hardware-id': { type: 'string', multiple: true },
  images: { type: 'boolean' },
  'no-images': { type: 'boolean' },
  'image-format': { type: 'string' },
  ca: { type: 'string' },
  timeout: { type: 'string' },
  explain: { type: 'boolean' },
  'watch-expiry': { type: 'string' },
  'max-root-metadata': { type: 'string' },
  'max-image-metadata': { type: 'string' },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'];

/** @throws OtaError USAGE */
export async function readOptions(args: readonly string[]): Promise<VerifyOptions> {
  const values = parsed(args);
  const { state, roots, time, ca: caFile } = values;
  const sources = readSources(values);
  if (caFile !== undefined && !Object.values(sources).some(isUrl)) {
    throw usage('--ca is for https URLs, and there is none');
  }
  const [director, image] = roots ?? [];
  const limits = readLimits(values);
  return {
    sources,
    state,
    roots: director === undefined || image === undefined ? undefined : { director, image },
    now: time === undefined ? (Date.now() as Instant) : readTime(time),
    ecus: readEcus(values.ecu ?? [], values['hardware-id'] ?? []),
    images: readImages(values),
    directorFormat: withLimits(UPTANE, limits),
    imageFormat: withLimits(await readFormat(values['image-format'] ?? 'uptane'), limits),
    caFile,
    timeoutMs: 1000 * (readNumber('--timeout', values.timeout, { min: 1, max: 3600 }) ?? 30),
    explain: values.explain === true,
    watchExpiryDays: readNumber('--watch-expiry', values['watch-expiry'], { min: 0, max: 36_500 }),
  };
}

function parsed(args: readonly string[]): Values {
  const spread = spreadRoots(args);
  try {
    return parseArgs({ args: spread, options: OPTIONS }).values;
  } catch (cause) {
    throw usage(causeOf(cause), cause);
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

function readSources({ director, image }: Values): Readonly<Record<Repo, string>> {
  if (director === undefined || image === undefined) {
    throw usage('--director DIR and --image DIR are needed');
  }
  return { director: readSource('--director', director), image: readSource('--image', image) };
}

function readImages({ images, 'no-images': none }: Values): VerifyOptions['images'] {
  if (images === true && none === true) throw usage('--images and --no-images contradict');
  if (images === true) return 'all';
  return none === true ? 'none' : 'present';
}

/** The limits that a device may have in its configuration. */
function readLimits(values: Values): Parameters<typeof withLimits>[1] {
  const read = (name: 'root' | 'image'): number => {
    const { success, data } = metadataLimits[`max_${name}_metadata`].safeParse(
      values[`max-${name}-metadata`],
    );
    if (success) return data;
    const { title = '' } = metadataLimits[`max_${name}_metadata`].meta() ?? {};
    throw usage(`--max-${name}-metadata is a ${title}`);
  };
  return { rootBytes: read('root'), imageTargetsBytes: read('image') };
}

async function readFormat(name: string): Promise<Format> {
  if (name === 'uptane' || name === 'tuf') return loadFormat(name);
  throw usage(`--image-format is uptane or tuf, not ${name}`);
}
