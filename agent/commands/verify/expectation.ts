/** What a refusal expected and what it found, in words made of the failure's own facts. */
import type { AnyOtaError, FailureCode, FailureDetails } from '../../errors.ts';

interface Expectation {
  readonly expected: string;
  readonly found: string;
}

type Words<C extends FailureCode> = (details: FailureDetails[C]) => readonly [string, string];

const version = (number: number): string => `version ${String(number)}`;
const bytes = (number: number): string => `${String(number)} bytes`;

const WORDS: Readonly<{ [C in FailureCode]?: Words<C> }> = {
  METADATA_MALFORMED: ({ path, want }) => [want, `something else at ${path}`],
  METADATA_MISSING: ({ file }) => [file, 'no such file'],
  METADATA_EXPIRED: ({ expiresAt, nowAt }) => [`valid at ${nowAt}`, `expired at ${expiresAt}`],
  METADATA_TOO_LARGE: ({ maxBytes }) => [`at most ${bytes(maxBytes)}`, 'more'],
  METADATA_HASH_MISMATCH: ({ listedIn }) => [`the hashes listed in ${listedIn}`, 'others'],
  METADATA_LENGTH_MISMATCH: ({ listedBytes, offeredBytes }) => [
    bytes(listedBytes),
    bytes(offeredBytes),
  ],
  METADATA_VERSION_MISMATCH: ({ listed, offered }) => [version(listed), version(offered)],
  ROLE_TYPE_MISMATCH: ({ role, type }) => [`_type of ${role}`, type],
  THRESHOLD_NOT_MET: ({ threshold, valid }) => [
    `valid signatures of ${String(threshold)} different keys`,
    `of ${String(valid)}`,
  ],
  ROOT_VERSION_MISMATCH: ({ expected, offered }) => [version(expected), version(offered)],
  ROOT_CHAIN_TOO_LONG: ({ maxRotations }) => [`at most ${String(maxRotations)} new roots`, 'more'],
  VERSION_ROLLBACK: ({ trusted, offered }) => [`${version(trusted)} or later`, version(offered)],
  SNAPSHOT_ROLE_REMOVED: ({ role }) => [`${role} listed as before`, 'not listed'],
  SNAPSHOT_ROLE_MISSING: ({ role }) => [`${role} listed`, 'not listed'],
  DIRECTOR_DELEGATES: ({ delegations }) => ['no delegations', String(delegations)],
  DIRECTOR_REPEATS_ECU: ({ ecu }) => [`one image for ${ecu}`, 'two'],
  DIRECTOR_TARGET_WITHOUT_ECU: ({ filename }) => [`ECUs for ${filename}`, 'none'],
  DIRECTOR_WRONG_VEHICLE: ({ expected, offered }) => [expected, offered],
  ECU_UNKNOWN: ({ ecu }) => ['an ECU of this vehicle', ecu],
  HARDWARE_ID_MISMATCH: ({ expected, offered }) => [expected, offered],
  TARGET_NOT_IN_IMAGE_REPO: ({ filename, searched }) => [filename, `not in ${searched}`],
  TARGET_MISMATCH: ({ field, director, image }) => [
    `${field} ${director} (Director)`,
    `${field} ${image} (Image repository)`,
  ],
  TARGET_NAME_UNSAFE: ({ problem }) => ['a plain relative path', problem],
  RELEASE_COUNTER_ROLLBACK: ({ trusted, offered }) => [
    `release counter ${String(trusted)} or higher`,
    String(offered),
  ],
  GATEWAY_ANSWER: ({ status, answer }) => ['status 200', `${String(status)} ${answer}`.trimEnd()],
  DOWNLOAD_TOO_SLOW: ({ minimumBytesPerSecond, overMs }) => [
    `${String(minimumBytesPerSecond)} bytes per second`,
    `less, over ${String(overMs)} ms`,
  ],
  IMAGE_TOO_LARGE: ({ lengthBytes }) => [bytes(lengthBytes), 'more'],
  IMAGE_TRUNCATED: ({ lengthBytes, receivedBytes }) => [bytes(lengthBytes), bytes(receivedBytes)],
  IMAGE_HASH_MISMATCH: ({ algorithm, signed, computed }) => [
    `${algorithm} ${signed}`,
    `${algorithm} ${computed}`,
  ],
};

/** `undefined` for a failure that is not about something expected. */
export function expectationOf({ code, details }: AnyOtaError): Expectation | undefined {
  const words = WORDS[code] as ((details: object) => readonly [string, string]) | undefined;
  if (words === undefined) return undefined;
  const [expected, found] = words(details);
  return { expected, found };
}
