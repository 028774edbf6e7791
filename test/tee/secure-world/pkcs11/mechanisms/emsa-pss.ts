/**
 * EMSA-PSS over a digest that somebody else computed, which node:crypto does not offer. Pure but for
 * the salt.
 *
 * Source: RFC 8017 §9.1.1 (encode), §9.1.2 (verify), §B.2.1 (MGF1).
 */
import { createHash, timingSafeEqual } from 'node:crypto';

import type { Hash } from './hashes.ts';

const TRAILER = 0xbc;
const ZEROS = Buffer.alloc(8);

export interface PssForm {
  readonly hash: Hash;
  readonly saltBytes: number;
  /** Bits of the modulus, less one. */
  readonly emBits: number;
}

/** @returns `undefined` when the modulus is too short for hash and salt (step 3) */
export function encodePss(digest: Uint8Array, salt: Uint8Array, form: PssForm): Buffer | undefined {
  const { hash, emBits } = form;
  const emBytes = Math.ceil(emBits / 8);
  const padBytes = emBytes - salt.byteLength - hash.bytes - 2;
  if (padBytes < 0) return undefined;
  const h = hashOf(hash, ZEROS, digest, salt);
  const db = Buffer.concat([Buffer.alloc(padBytes), Uint8Array.of(1), salt]);
  const masked = xor(db, mgf1(hash, h, db.byteLength));
  clearLeftmost(masked, 8 * emBytes - emBits);
  return Buffer.concat([masked, h, Uint8Array.of(TRAILER)]);
}

/** @param em - as many bytes as hold `emBits` */
export function isPssOf(digest: Uint8Array, em: Uint8Array, form: PssForm): boolean {
  const { hash, saltBytes, emBits } = form;
  const emBytes = Math.ceil(emBits / 8);
  const dbBytes = emBytes - hash.bytes - 1;
  const padBytes = dbBytes - saltBytes - 1;
  if (padBytes < 0 || em.byteLength !== emBytes || em[emBytes - 1] !== TRAILER) return false;
  const masked = em.subarray(0, dbBytes);
  const h = em.subarray(dbBytes, emBytes - 1);
  const unusedBits = 8 * emBytes - emBits;
  if ((masked[0] ?? 0) >> (8 - unusedBits) !== 0) return false;
  const db = xor(masked, mgf1(hash, h, dbBytes));
  clearLeftmost(db, unusedBits);
  const isPadded = db.subarray(0, padBytes).every((byte) => byte === 0) && db[padBytes] === 1;
  const salt = db.subarray(padBytes + 1);
  return isPadded && timingSafeEqual(h, hashOf(hash, ZEROS, digest, salt));
}

function mgf1(hash: Hash, seed: Uint8Array, bytes: number): Buffer {
  const blocks: Buffer[] = [];
  for (let counter = 0; blocks.length * hash.bytes < bytes; counter += 1) {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(counter);
    blocks.push(hashOf(hash, seed, count));
  }
  return Buffer.concat(blocks).subarray(0, bytes);
}

function hashOf({ name }: Hash, ...parts: readonly Uint8Array[]): Buffer {
  const state = createHash(name);
  for (const part of parts) state.update(part);
  return state.digest();
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}

function clearLeftmost(bytes: Buffer, bits: number): void {
  if (bits > 0) bytes.writeUInt8(bytes.readUInt8(0) & (0xff >> bits), 0);
}
