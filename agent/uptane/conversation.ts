/**
 * How verification talks to the world: it asks for files and says what to keep, nothing else.
 */
import { OtaError, type Repo } from '../errors.ts';

export type Need = Fetch | Keep;

/** Answered with the file's bytes, or `undefined` if the repository does not have it. */
interface Fetch {
  readonly need: 'fetch';
  readonly repo: Repo;
  /** `2.root.json`, `timestamp.json`, `delegations/NAME.json` …; as it stands in a URL. */
  readonly file: string;
  readonly maxBytes: number;
}

/** To be persisted before the next question; `bytes` absent means: forget it. Answered with nothing. */
export interface Keep {
  readonly need: 'keep';
  readonly repo: Repo;
  /** `root`, `timestamp`, `snapshot`, `targets` or `delegated/NAME`. */
  readonly role: string;
  readonly bytes: Uint8Array | undefined;
}

export type Answer = Uint8Array | undefined;
export type Conversation<T> = Generator<Need, T, Answer>;

/**
 * Asks for a file that may be absent.
 *
 * The limit is also checked here, so that endless data cannot get in through whoever answers.
 *
 * Source: Uptane Standard 2.1 §5.4.4.3 to §5.4.4.6, step 1 of each.
 *
 * @throws OtaError METADATA_TOO_LARGE
 */
export function* fetchFile(repo: Repo, file: string, maxBytes: number): Conversation<Answer> {
  const bytes = yield { need: 'fetch', repo, file, maxBytes };
  if (bytes !== undefined && bytes.byteLength > maxBytes) {
    throw new OtaError('METADATA_TOO_LARGE', { repo, file, maxBytes });
  }
  return bytes;
}

/** @throws OtaError METADATA_MISSING, METADATA_TOO_LARGE */
export function* fetchRequired(
  repo: Repo,
  file: string,
  maxBytes: number,
): Conversation<Uint8Array> {
  const bytes = yield* fetchFile(repo, file, maxBytes);
  if (bytes === undefined) throw new OtaError('METADATA_MISSING', { repo, file });
  return bytes;
}
