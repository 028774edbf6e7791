/** The key that others encrypt to, in every token: as each can, with ECDH or with RSA-OAEP. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';

import type { PublicJwk } from '../../agent/io/secrets/jwe.ts';
import { encrypt } from '../director/gateway/encrypt.ts';
import { inChild } from '../support/in-child.ts';
import { registeredKey, softwareKey } from '../support/secrets-key.ts';
import {
  emulator,
  emulatorForUser,
  emulatorOnRpmb,
  isolated,
  softHsm,
  tpm,
  type TokenKind,
} from '../support/token-world.ts';

const SCENARIOS = join(import.meta.dirname, '../contract/token.scenarios.ts');

const TOKENS: readonly (readonly [TokenKind, string])[] = [
  [softHsm, 'ECDH-ES'],
  [emulator, 'ECDH-ES'],
  [emulatorOnRpmb, 'ECDH-ES'],
  [emulatorForUser, 'ECDH-ES'],
  [tpm, 'RSA-OAEP'],
  [isolated(softHsm), 'RSA-OAEP'],
  [isolated(emulator), 'RSA-OAEP'],
  [isolated(tpm), 'RSA-OAEP'],
];

for (const [kind, alg] of TOKENS) {
  test(`${kind.name} opens what was encrypted to a key that signs nothing: ${alg}`, async (t) => {
    const world = await kind.open();
    t.after(() => world.close());
    const value = async (name: string, more: object = {}): Promise<unknown> => {
      const args = { settings: world.settings, ...more };
      const outcome = await inChild(SCENARIOS, name, args, world.env);
      assert.equal(outcome.text, undefined);
      return outcome.value;
    };
    await value('initialise');
    const made = (await value('secretsKey')) as { jwk: PublicJwk; alg: string };
    assert.equal(made.alg, alg);
    const jwe = encrypt(Buffer.from('content'), registeredKey(made.jwk), {});
    assert.equal(await value('openSecret', { jwe }), 'content');
    const other = softwareKey(made.jwk.kty).registered;
    const foreign = encrypt(Buffer.from('content'), other, {});
    const refused = 'refused: it was encrypted to another key, or changed since';
    assert.equal(await value('openSecret', { jwe: foreign }), refused);
    const args = { settings: world.settings };
    const signed = await inChild(SCENARIOS, 'signWithSecretsKey', args, world.env);
    assert.equal(signed.code, 'TOKEN_FAILED');
  });
}
