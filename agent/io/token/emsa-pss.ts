/** RSASSA-PSS padding, for tokens that offer nothing but the bare RSA operation. */
import { createHash, randomBytes } from 'node:crypto';

const DIGEST_BYTES = 32;
const TRAILER = 0xbc;

/**
 * EMSA-PSS-ENCODE with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes.
 *
 * Source: RFC 8017 §9.1.1 and §B.2.1. The modulus has its highest bit set, so the encoded message is
 * as many bytes long as it, with the first bit clear.
 *
 * @param digest - SHA-256 of the message
 * @param modulusBytes - length of the modulus
 */
export function encodePss(
  digest: Uint8Array,
  modulusBytes: number,
  salt: Uint8Array = randomBytes(DIGEST_BYTES),
): Buffer {
  const hash = sha256(Buffer.alloc(8), digest, salt);
  const block = Buffer.alloc(modulusBytes - DIGEST_BYTES - 1);
  block[block.length - salt.length - 1] = 1;
  block.set(salt, block.length - salt.length);
  const mask = mgf1(hash, block.length);
  const masked = block.map((byte, index) => byte ^ (mask[index] ?? 0));
  masked[0] = (masked[0] ?? 0) & 0x7f;
  return Buffer.concat([masked, hash, Buffer.from([TRAILER])]);
}

function mgf1(seed: Uint8Array, lengthBytes: number): Buffer {
  const blocks: Buffer[] = [];
  for (let counter = 0; counter * DIGEST_BYTES < lengthBytes; counter += 1) {
    const octets = Buffer.alloc(4);
    octets.writeUInt32BE(counter);
    blocks.push(sha256(seed, octets));
  }
  return Buffer.concat(blocks).subarray(0, lengthBytes);
}

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}
