/** Images as the mock Director encrypts them, in memory. */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';

import type { Decryption } from '../../agent/io/encrypted/decrypting-installer.ts';
import type { Encrypted } from '../../agent/uptane/encrypted.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import { trust } from '../../agent/uptane/trust.ts';
import { sealed } from '../director/encrypted-images.ts';
import { encrypt, type SecretsKey } from '../director/gateway/encrypt.ts';
import type { JsonMap } from '../director/json/canonical-json.ts';
import type { SoftwareKey } from './secrets-key.ts';
import { targetFor } from './targets.ts';

export const DEVICE_ID = 'device-1';

export interface EncryptedImage {
  readonly target: TrustedTarget;
  readonly encrypted: Encrypted;
  readonly contentKey: Buffer;
  readonly cipher: Buffer;
}

/** @param claims - other than honest ones in the header of the wrapped key */
export async function encryptedImage(
  content: Buffer,
  recipient: SecretsKey,
  {
    chunkBytes = 4096,
    claims = {},
    contentKey = randomBytes(32),
  }: {
    readonly chunkBytes?: number;
    readonly claims?: JsonMap;
    readonly contentKey?: Buffer;
  } = {},
): Promise<EncryptedImage> {
  const image = { sha256: createHash('sha256').update(content).digest('hex') };
  const key = encrypt(contentKey, recipient, { sub: DEVICE_ID, image, ...claims });
  const cipher = await gather(
    sealed(pieces(content), { contentKey, key, chunkBytes, plainBytes: content.length }),
  );
  const hashes = new Map([['sha256', createHash('sha256').update(cipher).digest('hex')]]);
  const encrypted = { chunkBytes, key, lengthBytes: cipher.length, hashes };
  return { target: targetFor(content, { encrypted }), encrypted, contentKey, cipher };
}

/** The same target, for a device that has `key` in its token, with the cipher text of `content`. */
export async function encryptedFor(
  target: TrustedTarget,
  content: Buffer,
  { registered }: SoftwareKey,
): Promise<EncryptedImage> {
  const image = await encryptedImage(content, registered);
  return { ...image, target: trust({ ...target, encrypted: image.encrypted }) };
}

/** What such a device decrypts with, and where. */
export function decryptionOf({ key }: SoftwareKey, directory: string): Decryption {
  return {
    deviceId: DEVICE_ID,
    key: () => key,
    directory: join(directory, 'decrypted'),
    reserveBytes: 0,
  };
}

/** As a network would bring them: of `size` bytes each. */
export async function* pieces(content: Buffer, size = 3000): AsyncGenerator<Buffer> {
  await Promise.resolve();
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

export async function gather(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of stream) all.push(piece);
  return Buffer.concat(all);
}
