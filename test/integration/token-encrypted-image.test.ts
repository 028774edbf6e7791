/** Encrypted images with the key of a real token: ECDH in the emulator and SoftHSM2, RSA-OAEP in a TPM. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';

import type { PublicJwk } from '../../agent/io/secrets/jwe.ts';
import { encryptedImage } from '../support/encrypted-image.ts';
import { inChild, type Outcome } from '../support/in-child.ts';
import { registeredKey, softwareKey } from '../support/secrets-key.ts';
import { emulator, isolated, softHsm, tpm, type TokenKind } from '../support/token-world.ts';

const scenarios = (name: string): string => join(import.meta.dirname, '../contract', name);
const TOKEN = scenarios('token.scenarios.ts');
const IMAGE = scenarios('encrypted-image.scenarios.ts');
const CONTENT = Buffer.alloc(3 * 4096 + 5, 'only this device may read this ');

const TOKENS: readonly (readonly [TokenKind, string])[] = [
  [softHsm, 'ECDH-ES'],
  [emulator, 'ECDH-ES'],
  [tpm, 'RSA-OAEP'],
  [isolated(softHsm), 'RSA-OAEP'],
];

for (const [kind, alg] of TOKENS) {
  test(`${kind.name} opens an image that is encrypted to its key by ${alg}, and no other`, async (t) => {
    const world = await kind.open();
    t.after(() => world.close());
    const call = (module: string, name: string, more: object = {}): Promise<Outcome> =>
      inChild(module, name, { settings: world.settings, ...more }, world.env);
    const open = async (key: Parameters<typeof registeredKey>[0]): Promise<Outcome> => {
      const { cipher, encrypted } = await encryptedImage(CONTENT, registeredKey(key));
      return call(IMAGE, 'openImageInToken', {
        content: CONTENT.toString('base64'),
        cipher: cipher.toString('base64'),
        key: encrypted.key,
        chunkBytes: encrypted.chunkBytes,
      });
    };
    await call(TOKEN, 'initialise');
    assert.equal((await call(IMAGE, 'hasSecretsKey')).value, false, 'none is made on the way');
    const made = (await call(TOKEN, 'secretsKey')).value as { jwk: PublicJwk; alg: string };
    assert.equal(made.alg, alg);
    const opened = await open(made.jwk);
    assert.equal(opened.text, undefined);
    assert.ok(Buffer.from(String(opened.value), 'base64').equals(CONTENT));
    const foreign = await open(softwareKey(made.jwk.kty).key.jwk);
    assert.equal(foreign.code, 'IMAGE_DECRYPTION_FAILED');
    assert.equal(foreign.details['part'], 'key');
    assert.equal(foreign.details['problem'], 'it was encrypted to another key, or changed since');
  });
}
