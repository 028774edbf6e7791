/** What a person does about a failure that does not say so in its details, one row per code. */
import type { FailureCode, FailureDetails } from './errors.ts';

/** Codes whose details carry no remedy; a new one does not compile until it has a row. */
type WithoutRemedy = {
  [C in FailureCode]: 'remedy' extends keyof FailureDetails[C] ? never : C;
}[FailureCode];

const REMEDIES: Readonly<Record<WithoutRemedy, string>> = {
  BUG: 'report it, with this output',

  METADATA_MALFORMED:
    'look at that place in the file; publish it again with the tool that signs, never by editing',
  METADATA_MISSING: 'publish the file; a device asks for exactly this name',
  METADATA_EXPIRED:
    'sign the role again with a later date and publish it; if it is not that late, mend the clock',
  METADATA_TOO_LARGE: 'make the file smaller (delegate targets), or find out who serves it',
  METADATA_HASH_MISMATCH:
    'publish the file and the one that lists it together, parents last; clear caches between',
  METADATA_LENGTH_MISMATCH:
    'publish the file and the one that lists it together, parents last; clear caches between',
  METADATA_VERSION_MISMATCH:
    'publish the file and the one that lists it together, parents last; clear caches between',
  ROLE_TYPE_MISMATCH: 'serve each role under its own name; check the format of the repository',
  THRESHOLD_NOT_MET:
    'sign with enough of the keys that the role above names, then publish; if you did, somebody else signed this',
  ROOT_VERSION_MISMATCH: 'give each root the number of its file, one more than the root before',
  ROOT_CHAIN_TOO_LONG: 'find out who publishes so many roots; devices refuse to follow them',
  VERSION_ROLLBACK: 'publish a version above the one devices trust; never restore an older file',
  SNAPSHOT_ROLE_REMOVED: 'list the role in the Snapshot again: roles never leave it',
  SNAPSHOT_ROLE_MISSING: 'list the role in the Snapshot, then sign Snapshot and Timestamp again',

  DIRECTOR_DELEGATES: 'remove the delegations: only an Image repository may have them',
  DIRECTOR_REPEATS_ECU: 'assign one image to each ECU',
  DIRECTOR_TARGET_WITHOUT_ECU: 'name the ECUs of the image in custom.ecuIdentifiers',
  DIRECTOR_WRONG_VEHICLE: 'find out why the Director answers for another vehicle',
  ECU_UNKNOWN: 'assign images only to ECUs of this vehicle, or register the ECU',
  HARDWARE_ID_MISMATCH: 'assign an image for the hardware of this ECU',
  TARGET_NOT_IN_IMAGE_REPO:
    'upload the image under exactly this name, or delegate its path to the role that has it',
  ROLES_DISAGREE: 'let the roles that have to agree sign the same length, hashes and custom fields',
  DELEGATIONS_TOO_MANY: 'delegate the path more directly: fewer roles before the one that has it',
  TARGET_MISMATCH:
    'make both repositories say the same about the image, or find out who changed it',
  TARGET_NAME_UNSAFE: 'name the image by a plain relative path',
  RELEASE_COUNTER_ROLLBACK: 'assign a release that is not older than the one that runs',

  TIME_NOT_FRESH: 'find out who replays answers of the time server; the cycle goes on without it',
  TIME_ROLLBACK: 'mend the clock of the time server, or find out who set it back',

  OFFLINE_NOT_ALLOWED:
    'name keys for both offline roles in the root of the Director, and put that root on the medium',
  OFFLINE_NOT_FOR_DEVICE: 'make a medium with an update for this hardware',
  OFFLINE_AMBIGUOUS: 'choose one: ota-agent update --offline DIR --lockbox NAME',
  MEDIUM_FAILED: 'insert the medium again, or write another one: this one cannot be read',

  GATEWAY_ANSWER: 'see the log of the server; absent files are 403, 404 or 424',
  GATEWAY_TIMEOUT: 'check the network and the load of the server',

  DOWNLOAD_FAILED: 'check that the server has the file and lets it be read',
  DOWNLOAD_TOO_SLOW: 'check the network and the server; on a slow link, lower the minimum rate',
  IMAGE_TOO_LARGE: 'upload the very file that was signed',
  IMAGE_TRUNCATED: 'upload the very file that was signed',
  IMAGE_HASH_MISMATCH: 'upload the very file that was signed; if you did, somebody changed it',
  IMAGE_MALFORMED: 'publish the image in the very format that its custom fields declare',
  IMAGE_DECRYPTION_FAILED:
    'encrypt the image again, to the key that this device registered with ota-agent secrets',
  SPACE_INSUFFICIENT: 'free the space that is missing there',

  INSTALL_FAILED: 'see the cause; the previous image still runs',
  ROLLED_BACK: 'see the cause; assign the image again when it is mended',
  HEALTH_CHECK_FAILED:
    'look at what the check said; when its deadline has passed, the image before comes back',
  UPDATE_ABORTED: 'a person ended it with ota-agent abort; assign the image again to install it',

  TOKEN_MECHANISM:
    'choose one of the supported key types, or use a token that offers the mechanism',
  TOKEN_FAILED: 'see the cause; check the token with pkcs11-tool',
};

/** In the details where the place knows better, else from the table. */
export function remedyOf(code: FailureCode, details: object): string {
  if ('remedy' in details && typeof details.remedy === 'string') return details.remedy;
  return Object.hasOwn(REMEDIES, code) ? REMEDIES[code as WithoutRemedy] : '';
}
