/**
 * ECDSA by OpenSSL, through an addon that calls the one inside Node: native/ecdsa.c.
 *
 * OpenSSL's signing takes time that does not depend on the key. A key is handed to it once, and
 * is gone when the KeyObject is that it was made of.
 */
import type { KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { CKR } from '../abi.ts';
import { attempt, privateKeyOf, publicKeyOf } from '../keys.ts';
import type { EcdsaPrimitive } from './ecdsa-primitive.ts';

const ADDON = join(import.meta.dirname, '../../../build/ecdsa.node');

declare const ready: unique symbol;
/** A key in OpenSSL's memory. */
interface NativeKey {
  readonly [ready]: true;
}

interface Addon {
  importPrivate(der: Uint8Array): NativeKey;
  importPublic(der: Uint8Array): NativeKey;
  sign(key: NativeKey, digest: Uint8Array): Buffer;
  verify(key: NativeKey, digest: Uint8Array, signature: Uint8Array): boolean;
}

/**
 * @returns `undefined` where the addon was not built
 * @throws Error when it was built for another Node
 */
export function loadNativeEcdsa(): EcdsaPrimitive | undefined {
  if (!existsSync(ADDON)) return undefined;
  const addon = load();
  const keys = new WeakMap<KeyObject, NativeKey>();
  const keyOf = (from: KeyObject, make: (from: KeyObject) => NativeKey): NativeKey => {
    const known = keys.get(from);
    if (known !== undefined) return known;
    const key = attempt(CKR.GENERAL_ERROR, () => make(from));
    keys.set(from, key);
    return key;
  };
  return {
    signer: (object) => {
      const key = keyOf(privateKeyOf(object), (from) =>
        addon.importPrivate(from.export({ format: 'der', type: 'sec1' })),
      );
      return (digest) => attempt(CKR.GENERAL_ERROR, () => addon.sign(key, digest));
    },
    verifier: (object) => {
      const key = keyOf(publicKeyOf(object), (from) =>
        addon.importPublic(from.export({ format: 'der', type: 'spki' })),
      );
      return (digest, signature) => addon.verify(key, digest, signature);
    },
  };
}

function load(): Addon {
  try {
    return createRequire(import.meta.url)(ADDON) as Addon;
  } catch (cause) {
    throw new Error(
      `cannot load ${ADDON}: ${String(cause)}; build it again: make -B -C test/tee/secure-world/native`,
      { cause },
    );
  }
}
