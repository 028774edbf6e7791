/**
 * What names may look like, before one becomes a path, a URL or a database key.
 *
 * Limits are those of the field's servers, so that a name which they accept is accepted here.
 */
import { malformed } from '../decode.ts';
import { OtaError } from '../errors.ts';

const MAX_FILENAME_CHARACTERS = 254;
const MAX_ECU_CHARACTERS = 64;
const MAX_HARDWARE_ID_CHARACTERS = 200;
/** Leaves room for a version, `.json` and a temporary suffix in a file name of 255 bytes. */
const MAX_ENCODED_CHARACTERS = 200;
const CONTROL = /\p{Cc}/u;
const ROLE_NAME = /^[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,49}$/;
/** Delegated roles with these names would share files with the top-level roles. */
const RESERVED_ROLES: ReadonlySet<string> = new Set(['root', 'timestamp', 'snapshot', 'targets']);

/**
 * Rejects a target filename that could leave the directory it is meant for.
 *
 * Source: Uptane Standard 2.1 §5.2.3.1; strings are in normalisation form C (§5.2).
 *
 * @throws OtaError TARGET_NAME_UNSAFE
 */
export function verifyFilename(filename: string): void {
  const problem = filenameProblem(filename);
  if (problem !== undefined) throw new OtaError('TARGET_NAME_UNSAFE', { filename, problem });
}

/** @throws OtaError METADATA_MALFORMED */
export function verifyEcuSerial(serial: string, path: string): void {
  verifyIdentifier(serial, path, MAX_ECU_CHARACTERS);
}

/** @throws OtaError METADATA_MALFORMED */
export function verifyHardwareId(hardwareId: string, path: string): void {
  verifyIdentifier(hardwareId, path, MAX_HARDWARE_ID_CHARACTERS);
}

/** @throws OtaError METADATA_MALFORMED */
export function verifyRoleName(name: string, path: string): void {
  if (!ROLE_NAME.test(name)) throw malformed(path, 'letters, digits, _, - and inner dots, 1 to 50');
  if (RESERVED_ROLES.has(name)) throw malformed(path, 'a name that no top-level role has');
}

/**
 * A TUF role may have any name; it only ever becomes a path percent-encoded.
 *
 * @throws OtaError METADATA_MALFORMED
 */
export function verifyTufRoleName(name: string, path: string): void {
  const length = percentEncoded(name).length;
  if (length < 1 || length > MAX_ENCODED_CHARACTERS) {
    throw malformed(path, `1 to ${String(MAX_ENCODED_CHARACTERS)} characters, percent-encoded`);
  }
  if (RESERVED_ROLES.has(name)) throw malformed(path, 'a name that no top-level role has');
}

/** What a Targets role is kept and reported under: `targets`, `delegated/NAME`. */
export function roleOf(name: string): string {
  return name === 'targets' ? name : `delegated/${percentEncoded(name)}`;
}

/**
 * Any text as one segment of a path or URL; names of the Uptane dialect stay as they are.
 *
 * Stricter than `encodeURIComponent`, to name files as other TUF clients do.
 */
export function percentEncoded(text: string): string {
  const hex = (character: string): string =>
    `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(text).replace(/[!'()*]/g, hex);
}

function verifyIdentifier(text: string, path: string, maxCharacters: number): void {
  const length = characters(text);
  if (length < 1 || length > maxCharacters) {
    throw malformed(path, `1 to ${String(maxCharacters)} characters`);
  }
  if (CONTROL.test(text)) throw malformed(path, 'no control characters');
  // Two spellings of one name would be two ECUs to us and one to a person.
  if (text !== text.normalize('NFC')) throw malformed(path, 'normalisation form C');
}

function filenameProblem(filename: string): string | undefined {
  if (filename === '') return 'empty';
  if (characters(filename) > MAX_FILENAME_CHARACTERS) {
    return `longer than ${String(MAX_FILENAME_CHARACTERS)} characters`;
  }
  if (CONTROL.test(filename)) return 'a control character';
  if (filename !== filename.normalize('NFC')) return 'not in normalisation form C';
  if (filename.startsWith('/')) return 'absolute';
  const segments = filename.split('/');
  if (segments.includes('')) return 'an empty segment';
  return segments.some((segment) => segment === '.' || segment === '..')
    ? 'a relative segment'
    : undefined;
}

function characters(text: string): number {
  return Array.from(text).length;
}
