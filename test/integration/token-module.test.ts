import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { TokenSettings } from '../../agent/io/token/token.ts';
import { inChild } from '../support/in-child.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { emulator, softHsm, type TokenWorld } from '../support/token-world.ts';

const SCENARIOS = join(import.meta.dirname, '../contract/token.scenarios.ts');
const LIBTEEC = join(import.meta.dirname, '../tee/build/libteec.so.2');

describe('a PKCS#11 library that cannot be used', () => {
  const temporary = temporaryDirectory('module');
  let world: TokenWorld;

  before(async () => {
    world = await softHsm.open();
  });
  after(async () => {
    await world.close();
    temporary.remove();
  });

  const open = async (settings: Partial<TokenSettings>): Promise<Record<string, unknown>> => {
    const args = { settings: { ...world.settings, ...settings } };
    const { code, details } = await inChild(SCENARIOS, 'open', args, world.env);
    return { code, ...details };
  };

  test('is named when it is not there', async () => {
    const module = join(temporary.path, 'absent.so');
    assert.deepEqual(await open({ module }), {
      code: 'TOKEN_MODULE',
      module,
      cause: 'no such file',
      remedy: 'install the PKCS#11 library or set token.module',
    });
  });

  test('is named with the words of the loader when it is none', async () => {
    const module = join(temporary.path, 'text.so');
    writeFileSync(module, 'not a library');
    const refusal = await open({ module });
    assert.equal(refusal['code'], 'TOKEN_MODULE');
    assert.match(String(refusal['cause']), /file too short|invalid ELF header/u);
  });

  test('is named when it is a library, but not of PKCS#11', async () => {
    const refusal = await open({ module: LIBTEEC });
    assert.equal(refusal['code'], 'TOKEN_MODULE');
    assert.match(String(refusal['cause']), /C_GetFunctionList/u);
  });
});

describe('the library of the TEE emulator', () => {
  test('says that the secure world is missing, and finds it once it has come up', async () => {
    const world = await emulator.open();
    try {
      const directory = join(world.directory, 'later');
      mkdirSync(directory);
      const env = { OTA_TEE_SOCKET: join(directory, 'tee.sock') };
      const args = { settings: world.settings };
      const { code, details } = await inChild(SCENARIOS, 'open', args, env);
      assert.equal(code, 'TOKEN_MODULE');
      assert.equal(details['cause'], 'C_Initialize: CKR_GENERAL_ERROR');
      assert.match(String(details['remedy']), /tee-supplicant.*\$OTA_TEE_SOCKET/u);
      const outcome = await inChild(SCENARIOS, 'openWhenItIsUp', { ...args, directory }, env);
      assert.deepEqual(outcome.value, ['TOKEN_MODULE', 'TOKEN_ABSENT']);
    } finally {
      await world.close();
    }
  });
});
