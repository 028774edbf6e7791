/** Ed25519 keys that are the same in every process: a saved input has to mean the same again. */
import { createHash, createPrivateKey, createPublicKey } from 'node:crypto';

import { ed25519, type Key } from '../support/build-metadata.ts';
import { ed25519Key, type TufKey } from '../support/tuf-keys.ts';

/** Of a private key in PKCS #8; the 32 bytes of the seed follow. */
const HEADER = '302e020100300506032b657004220420';

export function seededKey(name: string): Key {
  return ed25519(pair(name));
}

export function seededTufKey(name: string): TufKey {
  return ed25519Key(pair(name));
}

/** One name after another, for what asks for several keys. */
export function inTurn<T>(make: (name: string) => T, name: string): () => T {
  let made = 0;
  return () => make(`${name} ${String((made += 1))}`);
}

function pair(name: string): NonNullable<Parameters<typeof ed25519>[0]> {
  const seed = createHash('sha256').update(name).digest();
  const key = Buffer.concat([Buffer.from(HEADER, 'hex'), seed]);
  const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}
