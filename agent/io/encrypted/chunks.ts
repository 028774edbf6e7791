/**
 * AES-256-GCM in chunks, each with its number and whether it is the last in its nonce.
 *
 * So a chunk that was changed, moved, repeated or left out is not authentic, and neither is an image
 * that ends early. `agent/ENCRYPTED.md` has the format.
 */
import { createDecipheriv, createHash } from 'node:crypto';

import { OtaError } from '../../errors.ts';
import { chunkCount, FORMAT, type Encrypted } from '../../uptane/encrypted.ts';
import type { Target } from '../../uptane/plan.ts';

const TAG_BYTES = 16;
const NONCE_BYTES = 12;
const LAST = 1;

/** An image as its chunks make it. */
export interface Chunked {
  readonly filename: string;
  readonly plainBytes: number;
  readonly chunkBytes: number;
  readonly count: number;
  /** Authenticated with each chunk. */
  readonly bound: Buffer;
}

export function chunkedAs({ filename, lengthBytes }: Target, encrypted: Encrypted): Chunked {
  const { chunkBytes, key } = encrypted;
  const sizes = Buffer.alloc(12);
  sizes.writeUInt32BE(chunkBytes, 0);
  sizes.writeBigUInt64BE(BigInt(lengthBytes), 4);
  const [header = ''] = key.split('.');
  const bound = createHash('sha256').update(`${FORMAT}\0`).update(sizes).update(header).digest();
  const count = chunkCount(lengthBytes, chunkBytes);
  return { filename, plainBytes: lengthBytes, chunkBytes, count, bound };
}

/** Where the cipher text of a chunk begins. */
export function cipherOffset({ chunkBytes }: Chunked, chunk: number): number {
  return chunk * (chunkBytes + TAG_BYTES);
}

/**
 * Passes on what was authenticated, chunk by chunk, and nothing else.
 *
 * @param body - cipher text from the beginning of chunk `first` on
 * @param key - 32 bytes
 * @throws OtaError IMAGE_DECRYPTION_FAILED, and what `body` throws
 */
export async function* decryptChunks(
  body: AsyncIterable<Uint8Array>,
  image: Chunked,
  key: Uint8Array,
  first: number,
): AsyncGenerator<Uint8Array> {
  let chunk = first;
  const held = Buffer.allocUnsafe(image.chunkBytes + TAG_BYTES);
  let used = 0;
  for await (const piece of body) {
    let taken = 0;
    while (taken < piece.byteLength) {
      if (chunk === image.count) throw failed(image, 'length', 'it goes on after its last chunk');
      const wanted = cipherBytes(image, chunk);
      const part = piece.subarray(taken, taken + wanted - used);
      held.set(part, used);
      used += part.byteLength;
      taken += part.byteLength;
      if (used < wanted) continue;
      yield decryptChunk(held.subarray(0, wanted), image, key, chunk);
      chunk += 1;
      used = 0;
    }
  }
  if (chunk === image.count) return;
  const problem = `it ends in or before chunk ${named(image, chunk)}`;
  throw failed(image, 'length', problem);
}

function cipherBytes({ count, chunkBytes, plainBytes }: Chunked, chunk: number): number {
  const isLast = chunk === count - 1;
  return (isLast ? plainBytes - chunk * chunkBytes : chunkBytes) + TAG_BYTES;
}

function decryptChunk(text: Buffer, image: Chunked, key: Uint8Array, chunk: number): Buffer {
  const nonce = nonceOf(chunk, chunk === image.count - 1);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  const body = text.subarray(0, text.byteLength - TAG_BYTES);
  decipher.setAAD(image.bound).setAuthTag(text.subarray(body.byteLength));
  const plain = decipher.update(body);
  try {
    decipher.final();
    return plain;
  } catch (cause) {
    plain.fill(0);
    const problem = 'it is not authentic: changed, moved, or encrypted with another key';
    throw failed(image, `chunk ${named(image, chunk)}`, problem, cause);
  }
}

/** Number, 11 bytes, big-endian; then 1 for the last chunk and 0 for every other. */
function nonceOf(chunk: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeBigUInt64BE(BigInt(chunk), NONCE_BYTES - 1 - 8);
  nonce[NONCE_BYTES - 1] = isLast ? LAST : 0;
  return nonce;
}

/** For people, who count from one. */
function named({ count }: Chunked, chunk: number): string {
  return `${String(chunk + 1)} of ${String(count)}`;
}

function failed(
  { filename }: Chunked,
  part: string,
  problem: string,
  cause?: unknown,
): OtaError<'IMAGE_DECRYPTION_FAILED'> {
  return new OtaError('IMAGE_DECRYPTION_FAILED', { filename, part, problem }, { cause });
}
