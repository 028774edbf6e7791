/**
 * Every failure the agent can report, in one table.
 *
 * The table decides who is told, which exit code a command ends with and what the daemon does next;
 * call sites only say what happened. Uptane Standard 2.1 §5.4.4.2 asks for an error code that names
 * the attack: that is `attack`.
 */

export type Repo = 'director' | 'image';

/** What each failure carries. Byte counts end in `Bytes`, times in `At` (ISO 8601 text). */
export interface FailureDetails {
  BUG: { what: string };
  USAGE: { what: string; remedy: string };
  CONFIG_INVALID: { file: string; line: number; key: string; problem: string; remedy: string };
  NOT_PROVISIONED: { missing: string; remedy: string };

  METADATA_MALFORMED: { path: string; want: string };
  METADATA_MISSING: { repo: Repo; file: string };
  METADATA_EXPIRED: { repo: Repo; role: string; expiresAt: string; nowAt: string };
  METADATA_TOO_LARGE: { repo: Repo; file: string; maxBytes: number };
  METADATA_HASH_MISMATCH: { repo: Repo; role: string; listedIn: string };
  METADATA_LENGTH_MISMATCH: {
    repo: Repo;
    role: string;
    listedIn: string;
    listedBytes: number;
    offeredBytes: number;
  };
  METADATA_VERSION_MISMATCH: { repo: Repo; role: string; listed: number; offered: number };
  ROLE_TYPE_MISMATCH: { repo: Repo; role: string; type: string };
  THRESHOLD_NOT_MET: { repo: Repo; role: string; valid: number; threshold: number };
  ROOT_VERSION_MISMATCH: { repo: Repo; expected: number; offered: number };
  ROOT_CHAIN_TOO_LONG: { repo: Repo; maxRotations: number };
  VERSION_ROLLBACK: { repo: Repo; role: string; trusted: number; offered: number };
  SNAPSHOT_ROLE_REMOVED: { repo: Repo; role: string };
  SNAPSHOT_ROLE_MISSING: { repo: Repo; role: string };

  TIME_NOT_FRESH: { expected: string; offered: string };
  TIME_ROLLBACK: { latestKnownAt: string; offeredAt: string };

  DIRECTOR_DELEGATES: { delegations: number };
  DIRECTOR_REPEATS_ECU: { ecu: string };
  DIRECTOR_TARGET_WITHOUT_ECU: { filename: string };
  DIRECTOR_WRONG_VEHICLE: { expected: string; offered: string };
  ECU_UNKNOWN: { ecu: string; filename: string };
  HARDWARE_ID_MISMATCH: { ecu: string; filename: string; expected: string; offered: string };
  TARGET_NOT_IN_IMAGE_REPO: { filename: string; searched: string };
  ROLES_DISAGREE: { filename: string; roles: string; agreeing: number; needed: number };
  DELEGATIONS_TOO_MANY: { filename: string; maxRoles: number };
  TARGET_MISMATCH: { filename: string; field: string; director: string; image: string };
  TARGET_NAME_UNSAFE: { filename: string; problem: string };
  RELEASE_COUNTER_ROLLBACK: { ecu: string; filename: string; trusted: number; offered: number };

  OFFLINE_NOT_ALLOWED: { role: string; rootVersion: number };
  OFFLINE_NOT_FOR_DEVICE: { source: string; lockboxes: string; hardwareIds: string };
  OFFLINE_AMBIGUOUS: { source: string; lockboxes: string };
  MEDIUM_FAILED: { path: string; cause: string };

  GATEWAY_UNREACHABLE: { url: string; cause: string; remedy: string };
  GATEWAY_TLS: { url: string; cause: string; remedy: string };
  GATEWAY_ANSWER: { url: string; status: number; answer: string; retryAfterSeconds?: number };
  GATEWAY_TIMEOUT: { url: string; phase: string; timeoutMs: number };

  DOWNLOAD_FAILED: { filename: string; url: string; cause: string };
  DOWNLOAD_TOO_SLOW: { filename: string; minimumBytesPerSecond: number; overMs: number };
  IMAGE_TOO_LARGE: { filename: string; lengthBytes: number };
  IMAGE_TRUNCATED: { filename: string; lengthBytes: number; receivedBytes: number };
  IMAGE_HASH_MISMATCH: { filename: string; algorithm: string; signed: string; computed: string };
  IMAGE_MALFORMED: { filename: string; format: string; problem: string };
  /** `part`: `key`, `length`, or which chunk. */
  IMAGE_DECRYPTION_FAILED: { filename: string; part: string; problem: string };
  SPACE_INSUFFICIENT: { path: string; neededBytes: number; freeBytes: number };

  INSTALL_FAILED: { installer: string; ecu: string; cause: string };
  ROLLED_BACK: { ecu: string; cause: string };
  HEALTH_CHECK_FAILED: { check: string; said: string };
  UPDATE_ABORTED: { while: string };

  TOKEN_MODULE: { module: string; cause: string; remedy: string };
  TOKEN_ABSENT: { uri: string; found: string; remedy: string };
  TOKEN_PIN_INCORRECT: { uri: string; triesLeft: string; remedy: string };
  TOKEN_LOCKED: { uri: string; remedy: string };
  TOKEN_PIN_MISSING: { which: string; remedy: string };
  TOKEN_PIN_EXPOSED: { path: string; problem: string; remedy: string };
  TOKEN_OBJECT: { uri: string; problem: string; remedy: string };
  TOKEN_KEY_UNSAFE: { uri: string; attribute: string; remedy: string };
  TOKEN_FULL: { uri: string; problem: string; remedy: string };
  /** `supported`: settings that would work instead. */
  TOKEN_MECHANISM: { mechanism: string; offered: string; supported?: string };
  TOKEN_FAILED: { operation: string; cause: string };
  TOKEN_REPLACED: { uri: string; problem: string; remedy: string };
  CERTIFICATE_INVALID: { what: string; problem: string; remedy: string };
  SECRET_REFUSED: { secret: string; problem: string; remedy: string };
  SECRETS_PLACE: { path: string; problem: string; remedy: string };
  ENROLMENT_REFUSED: { url: string; status: number; answer: string; remedy: string };
  ENROLMENT_UNSUPPORTED: { url: string; wanted: string; keyType: string; remedy: string };
  FACTORY_LIST_INVALID: {
    file: string;
    line: number;
    column: string;
    problem: string;
    remedy: string;
  };
  FACTORY_DUPLICATE: { device: string; other: string; what: string; remedy: string };
  CREDENTIALS_INVALID: { path: string; entry: string; problem: string; remedy: string };

  STORAGE_CORRUPT: { path: string; cause: string; remedy: string };
  STORAGE_FAILED: { path: string; cause: string; remedy: string };
  STORAGE_BUSY: { path: string; remedy: string };
  STORAGE_ROLLED_BACK: { what: string; sealed: string; found: string; remedy: string };
  FILE_UNREADABLE: { path: string; what: string; cause: string; remedy: string };
}

export type FailureCode = keyof FailureDetails;

type Attack =
  | 'arbitrary-software'
  | 'rollback'
  | 'freeze'
  | 'mix-and-match'
  | 'endless-data'
  | 'slow-retrieval';

export interface FailureRow {
  /** Who has to act. `attack` and `repository` never touch the device; `bug` stops the daemon. */
  readonly kind: 'attack' | 'repository' | 'transport' | 'device' | 'operator' | 'bug';
  readonly retry: 'next-poll' | 'backoff' | 'never';
  /** Process exit code of a command that ends with this failure. */
  readonly exit: 1 | 2 | 3 | 20 | 21 | 30 | 31 | 32 | 40 | 41 | 50;
  readonly attack?: Attack;
}

const refused = (attack: Attack): FailureRow => ({
  kind: 'attack',
  retry: 'next-poll',
  exit: 20,
  attack,
});
const wrongMetadata: FailureRow = { kind: 'repository', retry: 'next-poll', exit: 20 };
const gateway: FailureRow = { kind: 'transport', retry: 'backoff', exit: 21 };
const token: FailureRow = { kind: 'device', retry: 'next-poll', exit: 50 };
const operator: FailureRow = { kind: 'operator', retry: 'never', exit: 2 };

const FAILURES: Readonly<Record<FailureCode, FailureRow>> = {
  BUG: { kind: 'bug', retry: 'never', exit: 1 },
  USAGE: operator,
  CONFIG_INVALID: operator,
  NOT_PROVISIONED: { kind: 'operator', retry: 'never', exit: 3 },

  METADATA_MALFORMED: wrongMetadata,
  METADATA_MISSING: wrongMetadata,
  METADATA_EXPIRED: refused('freeze'),
  METADATA_TOO_LARGE: refused('endless-data'),
  METADATA_HASH_MISMATCH: refused('mix-and-match'),
  METADATA_LENGTH_MISMATCH: refused('mix-and-match'),
  METADATA_VERSION_MISMATCH: refused('mix-and-match'),
  ROLE_TYPE_MISMATCH: refused('arbitrary-software'),
  THRESHOLD_NOT_MET: refused('arbitrary-software'),
  ROOT_VERSION_MISMATCH: refused('rollback'),
  ROOT_CHAIN_TOO_LONG: refused('endless-data'),
  VERSION_ROLLBACK: refused('rollback'),
  SNAPSHOT_ROLE_REMOVED: refused('rollback'),
  SNAPSHOT_ROLE_MISSING: refused('mix-and-match'),

  TIME_NOT_FRESH: refused('freeze'),
  TIME_ROLLBACK: refused('freeze'),

  DIRECTOR_DELEGATES: refused('arbitrary-software'),
  DIRECTOR_REPEATS_ECU: refused('mix-and-match'),
  DIRECTOR_TARGET_WITHOUT_ECU: refused('mix-and-match'),
  DIRECTOR_WRONG_VEHICLE: refused('mix-and-match'),
  ECU_UNKNOWN: refused('mix-and-match'),
  HARDWARE_ID_MISMATCH: refused('mix-and-match'),
  TARGET_NOT_IN_IMAGE_REPO: refused('arbitrary-software'),
  ROLES_DISAGREE: refused('arbitrary-software'),
  DELEGATIONS_TOO_MANY: refused('endless-data'),
  TARGET_MISMATCH: refused('mix-and-match'),
  TARGET_NAME_UNSAFE: refused('arbitrary-software'),
  RELEASE_COUNTER_ROLLBACK: refused('rollback'),

  OFFLINE_NOT_ALLOWED: refused('arbitrary-software'),
  OFFLINE_NOT_FOR_DEVICE: wrongMetadata,
  OFFLINE_AMBIGUOUS: operator,
  MEDIUM_FAILED: { kind: 'device', retry: 'next-poll', exit: 30 },

  GATEWAY_UNREACHABLE: gateway,
  GATEWAY_TLS: gateway,
  GATEWAY_ANSWER: gateway,
  GATEWAY_TIMEOUT: gateway,

  DOWNLOAD_FAILED: { kind: 'transport', retry: 'backoff', exit: 30 },
  DOWNLOAD_TOO_SLOW: { kind: 'attack', retry: 'backoff', exit: 30, attack: 'slow-retrieval' },
  IMAGE_TOO_LARGE: { kind: 'attack', retry: 'backoff', exit: 31, attack: 'endless-data' },
  IMAGE_TRUNCATED: { kind: 'repository', retry: 'backoff', exit: 31 },
  IMAGE_HASH_MISMATCH: {
    kind: 'attack',
    retry: 'backoff',
    exit: 31,
    attack: 'arbitrary-software',
  },
  IMAGE_MALFORMED: { kind: 'repository', retry: 'backoff', exit: 31 },
  IMAGE_DECRYPTION_FAILED: { kind: 'repository', retry: 'backoff', exit: 31 },
  SPACE_INSUFFICIENT: { kind: 'device', retry: 'next-poll', exit: 32 },

  INSTALL_FAILED: { kind: 'device', retry: 'next-poll', exit: 40 },
  ROLLED_BACK: { kind: 'device', retry: 'never', exit: 41 },
  HEALTH_CHECK_FAILED: { kind: 'device', retry: 'backoff', exit: 41 },
  UPDATE_ABORTED: { kind: 'operator', retry: 'never', exit: 40 },

  TOKEN_MODULE: token,
  TOKEN_ABSENT: token,
  TOKEN_PIN_INCORRECT: { ...token, retry: 'never' },
  TOKEN_LOCKED: { ...token, retry: 'never' },
  TOKEN_PIN_MISSING: token,
  TOKEN_PIN_EXPOSED: { ...token, retry: 'never' },
  TOKEN_OBJECT: token,
  TOKEN_KEY_UNSAFE: { ...token, retry: 'never' },
  TOKEN_FULL: token,
  TOKEN_MECHANISM: { ...token, retry: 'never' },
  TOKEN_FAILED: token,
  TOKEN_REPLACED: { ...token, retry: 'never' },
  CERTIFICATE_INVALID: token,
  SECRET_REFUSED: { kind: 'repository', retry: 'next-poll', exit: 21 },
  SECRETS_PLACE: operator,
  ENROLMENT_REFUSED: token,
  ENROLMENT_UNSUPPORTED: token,
  CREDENTIALS_INVALID: operator,
  FACTORY_LIST_INVALID: operator,
  FACTORY_DUPLICATE: { ...token, retry: 'never' },

  STORAGE_CORRUPT: { kind: 'device', retry: 'never', exit: 2 },
  STORAGE_FAILED: { kind: 'device', retry: 'backoff', exit: 32 },
  STORAGE_BUSY: { kind: 'operator', retry: 'never', exit: 2 },
  STORAGE_ROLLED_BACK: { ...refused('rollback'), exit: 50 },
  FILE_UNREADABLE: operator,
};

/** The only error class the agent throws. `code` is stable and public; the message is not. */
export class OtaError<C extends FailureCode = FailureCode> extends Error {
  override readonly name = 'OtaError';
  readonly code: C;
  readonly details: Readonly<FailureDetails[C]>;

  /** The message is built from `details`, so what is logged cannot disagree with what is reported. */
  constructor(code: C, details: FailureDetails[C], options?: ErrorOptions) {
    const facts = Object.entries(details).map(([name, value]: [string, string | number]) => {
      return [name, typeof value === 'string' ? scrubbed(value) : value] as const;
    });
    super([code, ...facts.map(([name, value]) => `${name}=${quoted(value)}`)].join(' '), options);
    this.code = code;
    this.details = Object.fromEntries(facts) as unknown as FailureDetails[C];
  }

  get handling(): FailureRow {
    return handlingOf(this.code);
  }
}

/** Every failure as a union, so that `switch (error.code)` narrows `error.details`. */
export type AnyOtaError = { [C in FailureCode]: OtaError<C> }[FailureCode];

export function isOtaError(error: unknown): error is AnyOtaError {
  return error instanceof OtaError;
}

export const FAILURE_CODES = Object.keys(FAILURES) as readonly FailureCode[];

export function isFailureCode(text: string): text is FailureCode {
  return Object.hasOwn(FAILURES, text);
}

/** How a failure is handled, by its code alone. */
export function handlingOf(code: FailureCode): FailureRow {
  return FAILURES[code];
}

/** Takes out of a text what is secret: PINs, passwords and tokens have one usual place each. */
export function scrubbed(text: string): string {
  return text
    .replace(/(pin-value=)[^;&?\s"']*/giu, '$1(redacted)')
    .replace(/(\w:\/\/)[^/?#@\s"']*@/gu, '$1(redacted)@')
    .replace(/(\w:\/\/[^?\s"']*\?)[^\s"']+/gu, '$1(redacted)');
}

/** A foreign error in one line, for a `cause` detail. */
export function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code}: ` : '';
  return error.message.startsWith(code) ? error.message : `${code}${error.message}`;
}

function quoted(value: unknown): string {
  const text = String(value);
  return /[\s="]/u.test(text) ? JSON.stringify(text) : text;
}
