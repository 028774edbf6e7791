/**
 * Encrypts a published image for one device: AES-256-GCM in chunks, and the key as JWE.
 *
 * Written here from scratch, by `agent/ENCRYPTED.md`: it shares nothing with the client.
 */
import { createCipheriv, createHash, randomBytes } from 'node:crypto';

import { encrypt, type SecretsKey } from './gateway/encrypt.ts';
import type { JsonMap } from './json/canonical-json.ts';
import type { Image } from './metadata/image-content.ts';
import type { Encryption } from './state/devices.ts';
import type { ImageFiles } from './state/image-files.ts';

export const FORMAT = 'A256GCM-CHUNKS-1';
const CHUNK_BYTES = 65_536;

export interface Sealing {
  /** 32 bytes, for one image and one device. */
  readonly contentKey: Buffer;
  /** The JWE that holds it. */
  readonly key: string;
  readonly chunkBytes: number;
  readonly plainBytes: number;
}

/** The cipher text is kept beside the images. */
export async function encryptImage(
  image: Image,
  device: { readonly id: string; readonly key: SecretsKey },
  files: ImageFiles,
): Promise<Encryption> {
  const contentKey = randomBytes(32);
  const { sha256, sha512, lengthBytes: plainBytes } = image;
  const named = sha512 === undefined ? { sha256 } : { sha256, sha512 };
  const key = encrypt(contentKey, device.key, { sub: device.id, image: named });
  const sealing = { contentKey, key, chunkBytes: CHUNK_BYTES, plainBytes };
  const file = await files.addFrom(sha256, (bytes) => sealed(bytes, sealing));
  return { ...file, chunkBytes: CHUNK_BYTES, key };
}

/** `encryption` of a Director target. */
export function encryptionOf({ chunkBytes, key, sha256, sha512, ...file }: Encryption): JsonMap {
  const { lengthBytes: length } = file;
  return { format: FORMAT, chunkBytes, key, length, hashes: { sha256, sha512 } };
}

/** The cipher text of an image; a last chunk is there even if the image is empty. */
export async function* sealed(
  bytes: AsyncIterable<Buffer>,
  sealing: Sealing,
): AsyncGenerator<Buffer> {
  const last = Math.max(0, Math.ceil(sealing.plainBytes / sealing.chunkBytes) - 1);
  const aad = boundTo(sealing);
  let pending = Buffer.alloc(0);
  let number = 0;
  for await (const piece of bytes) {
    pending = Buffer.concat([pending, piece]);
    while (number < last && pending.length >= sealing.chunkBytes) {
      yield sealChunk(pending.subarray(0, sealing.chunkBytes), sealing, aad, { number, last });
      pending = pending.subarray(sealing.chunkBytes);
      number += 1;
    }
  }
  yield sealChunk(pending, sealing, aad, { number, last });
}

function sealChunk(
  plain: Buffer,
  { contentKey }: Sealing,
  aad: Buffer,
  { number, last }: { readonly number: number; readonly last: number },
): Buffer {
  const nonce = Buffer.from(
    number.toString(16).padStart(22, '0') + (number === last ? '01' : '00'),
    'hex',
  );
  const cipher = createCipheriv('aes-256-gcm', contentKey, nonce).setAAD(aad);
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function boundTo({ chunkBytes, plainBytes, key }: Sealing): Buffer {
  const header = key.slice(0, key.indexOf('.'));
  const sizes =
    chunkBytes.toString(16).padStart(8, '0') + plainBytes.toString(16).padStart(16, '0');
  const parts = [Buffer.from(FORMAT), Buffer.of(0), Buffer.from(sizes, 'hex'), Buffer.from(header)];
  return createHash('sha256').update(Buffer.concat(parts)).digest();
}
