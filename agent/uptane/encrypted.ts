/** What the Director says of an image that it encrypted for one device. */
import { malformed, type Fields } from '../decode.ts';
import { readHashes } from './metadata.ts';

/** Bound to each chunk: another format never passes for this one. */
export const FORMAT = 'A256GCM-CHUNKS-1';
const MIN_CHUNK_BYTES = 4096;
/** A device holds two of them in memory. */
const MAX_CHUNK_BYTES = 1024 * 1024;
const TAG_BYTES = 16;
const MAX_KEY_CHARACTERS = 4096;

/** What the Director signed of an image that it encrypted for this device alone. */
export interface Encrypted {
  /** Plain bytes of each chunk but the last. */
  readonly chunkBytes: number;
  /** Compact JWE to this device: the key of the chunks, and for which image it is. */
  readonly key: string;
  /** Of the cipher text. */
  readonly lengthBytes: number;
  readonly hashes: ReadonlyMap<string, string>;
  /** Where the cipher text is, if not in the place of the image. */
  readonly uri?: string | undefined;
}

/**
 * Reads `encryption` of a target's custom fields.
 *
 * The length of the cipher text follows from that of the image: any other would be of another image,
 * or of one cut short at the border of a chunk.
 *
 * Source: Uptane Standard 2.1 §5.3.2 (the Director encrypts per device), §5.4.4.2 step 10.
 *
 * @param custom - of the Director: for whom an image is encrypted is not for an Image repository to say
 * @param plainBytes - length of the image itself, on which both repositories agree
 * @throws OtaError METADATA_MALFORMED
 */
export function readEncrypted(
  custom: Fields | undefined,
  plainBytes: number,
): Encrypted | undefined {
  const fields = custom?.optionalObject('encryption');
  if (fields === undefined) return undefined;
  if (fields.string('format') !== FORMAT) throw malformed(fields.at('format'), FORMAT);
  const chunkBytes = fields.integer('chunkBytes', MIN_CHUNK_BYTES);
  if (chunkBytes > MAX_CHUNK_BYTES) {
    throw malformed(fields.at('chunkBytes'), `at most ${String(MAX_CHUNK_BYTES)}`);
  }
  const lengthBytes = fields.integer('length', TAG_BYTES);
  const expected = plainBytes + TAG_BYTES * chunkCount(plainBytes, chunkBytes);
  if (lengthBytes !== expected) {
    throw malformed(
      fields.at('length'),
      `${String(expected)}: the image, and a tag for each chunk`,
    );
  }
  const key = fields.string('key');
  if (key.length > MAX_KEY_CHARACTERS) {
    throw malformed(fields.at('key'), `at most ${String(MAX_KEY_CHARACTERS)} characters`);
  }
  const uri = fields.optionalString('uri');
  return { chunkBytes, key, lengthBytes, hashes: readHashes(fields), uri };
}

/** An empty image has one chunk, which is empty: nothing is taken that was not authenticated. */
export function chunkCount(plainBytes: number, chunkBytes: number): number {
  return Math.max(1, Math.ceil(plainBytes / chunkBytes));
}
