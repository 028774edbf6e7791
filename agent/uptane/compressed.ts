/** What the Image repository says of an image that is packed while it travels. */
import { malformed, type Fields } from '../decode.ts';
import { readHashes } from './metadata.ts';
import { COMPRESSIONS, type Compressed } from './plan.ts';

/**
 * Reads `compression` and `uncompressed` of a target's custom fields: both, or none.
 *
 * The length is demanded because it bounds what a small file may unpack to; the hashes are, because
 * what is read back from a slot is the unpacked image.
 *
 * @param custom - of the Image repository: what an image unpacks to is not for a Director to say
 * @throws OtaError METADATA_MALFORMED
 */
export function readCompressed(custom: Fields | undefined): Compressed | undefined {
  if (custom === undefined) return undefined;
  const by = custom.optionalString('compression');
  const content = custom.optionalObject('uncompressed');
  if (by === undefined && content === undefined) return undefined;
  const known = COMPRESSIONS.find((one) => one === by);
  if (known === undefined) throw malformed(custom.at('compression'), COMPRESSIONS.join(', '));
  if (content === undefined) throw malformed(custom.at('uncompressed'), 'length and hashes');
  return { by: known, lengthBytes: content.integer('length', 1), hashes: readHashes(content) };
}
