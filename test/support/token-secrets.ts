/** Reads private key values out of the emulated TEE's storage, as only its owner can: with its HUK. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { openReeFs } from '../tee/secure-world/storage/ree-fs.ts';
import { readWhole } from '../tee/secure-world/storage/whole-object.ts';

const PKCS11_TA = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';
const CKA_CLASS = 0x0;
const CKO_PRIVATE_KEY = 3;
/** CKA_VALUE, CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2 */
const SECRET = new Set([0x11, 0x123, 0x124, 0x125]);

/** The secret numbers of every private key; the secure world must not be running. */
export function privateKeyValues(storage: string): readonly Buffer[] {
  const files = openReeFs({ directory: storage, huk: readFileSync(join(storage, 'huk')) });
  try {
    return files.list(PKCS11_TA).flatMap((id) => {
      const object = readWhole(files, PKCS11_TA, id);
      return object === undefined || Buffer.from(id).includes('token.db') ? [] : secretsOf(object);
    });
  } finally {
    files.close();
  }
}

/** Of an object head: u32 bytes, u32 count, then attributes of u32 id, u32 bytes, data. */
function secretsOf(object: Uint8Array): readonly Buffer[] {
  const bytes = Buffer.from(object);
  const attributes = new Map<number, Buffer>();
  const count = bytes.readUInt32LE(4);
  let at = 8;
  for (let index = 0; index < count; index += 1) {
    const length = bytes.readUInt32LE(at + 4);
    attributes.set(bytes.readUInt32LE(at), bytes.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  if (attributes.get(CKA_CLASS)?.readUInt32LE(0) !== CKO_PRIVATE_KEY) return [];
  return [...attributes].filter(([id]) => SECRET.has(id)).map(([, value]) => value);
}

/** How a secret number could show: big-endian, little-endian as big-number libraries hold it, hex. */
export function disguises(secret: Buffer): readonly Buffer[] {
  const hex = secret.toString('hex');
  return [secret, Buffer.from(secret).reverse(), Buffer.from(hex), Buffer.from(hex.toUpperCase())];
}
