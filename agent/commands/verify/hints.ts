/** Mistakes that publishers make often enough to be recognised, said next to the failure. */
import type { AnyOtaError, Repo } from '../../errors.ts';
import type { Blame, Transcript } from './transcript.ts';
import type { VerifyOptions } from './options.ts';
import type { Sources } from './sources.ts';

interface Case {
  readonly error: AnyOtaError;
  readonly blame: Blame | undefined;
  readonly options: VerifyOptions;
  /** What the file that failed says. */
  readonly text: string;
  /** Is there such a file in the repository that failed? */
  readonly has: (file: string) => Promise<boolean>;
}

type Recognise = (one: Case) => Promise<string | undefined> | string | undefined;

/** Refusals that a file in another format ends with. */
const ABOUT_FORM: ReadonlySet<string> = new Set([
  'METADATA_MALFORMED',
  'ROLE_TYPE_MISMATCH',
  'THRESHOLD_NOT_MET',
]);
const LOOK_BYTES = 8 * 1024 * 1024;
/** A version after which no operator starts a chain of roots. */
const LOOK_ROOTS = 20;

const MISTAKES: readonly Recognise[] = [
  firstRootMissing,
  consistentSnapshot,
  otherFormat,
  webPage,
  swapped,
  ecuNotNamed,
];

/** Looks at what else is there where something is missing; never fails, because it only helps. */
export async function hintsFor(
  failure: { error: AnyOtaError; blame: Blame | undefined },
  { lastRead }: Transcript,
  options: VerifyOptions,
  sources: Sources,
): Promise<readonly string[]> {
  const repo: Repo = failure.blame?.repo ?? 'director';
  const has = async (file: string): Promise<boolean> => {
    try {
      return (await sources[repo].fetchMetadata(file, LOOK_BYTES)) !== undefined;
    } catch {
      return false;
    }
  };
  const one = { ...failure, options, text: Buffer.from(lastRead).toString(), has };
  const hints: string[] = [];
  for (const recognise of MISTAKES) {
    const hint = await recognise(one);
    if (hint !== undefined) hints.push(hint);
  }
  return hints;
}

async function firstRootMissing({ error, has }: Case): Promise<string | undefined> {
  if (error.code !== 'METADATA_MISSING' || error.details.file !== '1.root.json') return undefined;
  for (let version = 2; version <= LOOK_ROOTS; version += 1) {
    const file = `${String(version)}.root.json`;
    if (!(await has(file))) continue;
    return `the chain of roots begins at ${file}: publish all of them, or pin this one with --roots`;
  }
  if (await has('root.json')) {
    return 'root.json is there, but devices ask for 1.root.json: publish each root under its version, too';
  }
  if (await has('targets.json')) {
    return 'targets.json is there, but no root under its version: publish 1.root.json';
  }
  return 'nothing of a repository is there: is this the directory, or the URL, with 1.root.json in it?';
}

async function consistentSnapshot({ error, options, has }: Case): Promise<string | undefined> {
  if (error.code !== 'METADATA_MISSING' || options.imageFormat.name === 'tuf') return undefined;
  const { repo, file } = error.details;
  if (repo !== 'image' || file.includes('root') || !(await has(`1.${file}`))) {
    return undefined;
  }
  return `1.${file} is there: for a repository with consistent snapshots, use --image-format tuf`;
}

function otherFormat({ error, blame, options, text }: Case): string | undefined {
  if (!ABOUT_FORM.has(error.code) || !/"_type"\s*:/u.test(text)) return undefined;
  const isTuf = /"spec_version"\s*:/u.test(text);
  const isWanted = blame?.repo === 'image' && options.imageFormat.name === 'tuf';
  if (isTuf === isWanted) return undefined;
  if (!isTuf) return 'this is no TUF 1.0 file: omit --image-format';
  return blame?.repo === 'image'
    ? 'this is a TUF 1.0 file: use --image-format tuf'
    : 'this is a TUF 1.0 file; a Director is in the Uptane dialect';
}

function webPage({ error, text }: Case): string | undefined {
  if (error.code !== 'METADATA_MALFORMED') return undefined;
  return /^\s*<(?:!doctype|html|\?xml)/iu.test(text)
    ? 'this is a web page, perhaps an error page or a captive portal, and no metadata'
    : undefined;
}

function swapped({ error }: Case): string | undefined {
  return error.code === 'DIRECTOR_DELEGATES' || error.code === 'DIRECTOR_TARGET_WITHOUT_ECU'
    ? 'it looks like an Image repository: are --director and --image swapped?'
    : undefined;
}

function ecuNotNamed({ error, options }: Case): string | undefined {
  if (error.code !== 'ECU_UNKNOWN') return undefined;
  const named = options.ecus.map(({ serial }) => serial).join(', ');
  return `named were: ${named}; if ${error.details.ecu} belongs to this vehicle, add --ecu ${error.details.ecu} --hardware-id ID`;
}
