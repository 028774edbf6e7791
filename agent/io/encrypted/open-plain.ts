/** An encrypted image as a stream of plain bytes, from any of them on. */
import type { OpenImage } from '../../ports.ts';
import type { Encrypted } from '../../uptane/encrypted.ts';
import { downloadOf, type TrustedTarget } from '../../uptane/plan.ts';
import { ImageDigest } from '../image-file.ts';
import { limitBytes } from '../limit-bytes.ts';
import { chunkedAs, cipherOffset, decryptChunks } from './chunks.ts';
import { openContentKey, type Recipient } from './content-key.ts';

/**
 * Plain bytes in place of cipher text, with one chunk in memory.
 *
 * Read from its start, the cipher text is held against its signed hashes as well. Resumed, it begins
 * with the chunk that the offset is in; each chunk proves itself, and all of the image is hashed by
 * whoever installs it.
 *
 * @param open - the cipher text
 * @returns throws OtaError IMAGE_DECRYPTION_FAILED, IMAGE_TOO_LARGE, IMAGE_HASH_MISMATCH, TOKEN_* when read
 */
export function openPlain(
  target: TrustedTarget,
  encrypted: Encrypted,
  recipient: Recipient,
  open: OpenImage,
): OpenImage {
  const image = chunkedAs(target, encrypted);
  return async function* (offsetBytes) {
    const first = Math.min(Math.floor(offsetBytes / image.chunkBytes), image.count - 1);
    const from = cipherOffset(image, first);
    const left = encrypted.lengthBytes - from;
    const body = limitBytes(open(from), left, target.filename);
    const key = openContentKey(target, encrypted, recipient);
    try {
      const cipher = from === 0 ? proven(body, target) : body;
      let skipped = offsetBytes - first * image.chunkBytes;
      for await (const plain of decryptChunks(cipher, image, key, first)) {
        if (plain.byteLength > skipped) yield plain.subarray(skipped);
        skipped = Math.max(0, skipped - plain.byteLength);
      }
    } finally {
      key.fill(0);
    }
  };
}

async function* proven(
  body: AsyncIterable<Uint8Array>,
  target: TrustedTarget,
): AsyncGenerator<Uint8Array> {
  const digest = new ImageDigest(downloadOf(target));
  for await (const piece of body) {
    digest.update(piece);
    yield piece;
  }
  digest.verify();
}
