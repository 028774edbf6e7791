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
 * Whether cipher text was changed on the way or encrypted wrong is told apart by its hashes: where a
 * chunk is not authentic, the rest is read for their sake, if it began at its start.
 *
 * @param body - cipher text from the beginning of chunk `first` on; from its start, it fails at its end
 *   if it was not what was signed
 * @param key - 32 bytes
 * @throws OtaError IMAGE_DECRYPTION_FAILED, and what `body` throws
 */
export async function* decryptChunks(
  body: AsyncIterable<Uint8Array>,
  image: Chunked,
  key: Uint8Array,
  first: number,
): AsyncGenerator<Uint8Array> {
  let failure: OtaError | undefined;
  for await (const { chunk, text } of cipherChunks(body, image, first)) {
    if (failure !== undefined) continue;
    const plain = decryptChunk(text, image, key, chunk);
    if (plain !== undefined) {
      yield plain;
      continue;
    }
    const problem = 'it is not authentic: changed, moved, or encrypted with another key';
    failure = failed(image, `chunk ${named(image, chunk)}`, problem);
    if (first > 0) break;
  }
  if (failure !== undefined) throw failure;
}

interface CipherChunk {
  readonly chunk: number;
  /** With its tag; valid until the next is asked for. */
  readonly text: Buffer;
}

async function* cipherChunks(
  body: AsyncIterable<Uint8Array>,
  image: Chunked,
  first: number,
): AsyncGenerator<CipherChunk> {
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
      yield { chunk, text: held.subarray(0, wanted) };
      chunk += 1;
      used = 0;
    }
  }
  if (chunk === image.count) return;
  throw failed(image, 'length', `it ends in or before chunk ${named(image, chunk)}`);
}

function cipherBytes({ count, chunkBytes, plainBytes }: Chunked, chunk: number): number {
  const isLast = chunk === count - 1;
  return (isLast ? plainBytes - chunk * chunkBytes : chunkBytes) + TAG_BYTES;
}

/** @returns `undefined` if it is not authentic */
function decryptChunk(
  text: Buffer,
  image: Chunked,
  key: Uint8Array,
  chunk: number,
): Buffer | undefined {
  const nonce = nonceOf(chunk, chunk === image.count - 1);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  const body = text.subarray(0, text.byteLength - TAG_BYTES);
  decipher.setAAD(image.bound).setAuthTag(text.subarray(body.byteLength));
  const plain = decipher.update(body);
  try {
    decipher.final();
    return plain;
  } catch {
    plain.fill(0);
    return undefined;
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
): OtaError<'IMAGE_DECRYPTION_FAILED'> {
  return new OtaError('IMAGE_DECRYPTION_FAILED', { filename, part, problem });
}
