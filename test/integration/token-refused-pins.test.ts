/** A wrong PIN and a service manager that restarts the agent: the token must not be locked by that. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { inChild, type Outcome } from '../support/in-child.ts';
import { emulator, softHsm, USER_PIN, type TokenWorld } from '../support/token-world.ts';

const SCENARIOS = join(import.meta.dirname, 'refused-pins.scenarios.ts');
const CONTRACT = join(import.meta.dirname, '../contract/token.scenarios.ts');
const WRONG = 'wrong-pin-1';
const LOW = 'at least 1, fewer than the full number';

for (const kind of [emulator, softHsm]) {
  describe(`refused PINs of ${kind.name}`, () => {
    let world: TokenWorld;
    let directory: string;
    let file: string;

    beforeEach(async () => {
      world = await kind.open();
      directory = join(world.directory, 'storage');
      file = join(directory, 'refused-pins.json');
      mkdirSync(directory, { mode: 0o700 });
      const { text } = await inChild(
        CONTRACT,
        'initialise',
        { settings: world.settings },
        world.env,
      );
      assert.equal(text, undefined);
    });
    afterEach(() => world.close());

    /** Another process every time. */
    const run = (name: string, more: object = {}): Promise<Outcome> =>
      inChild(SCENARIOS, name, { settings: world.settings, directory, ...more }, world.env);
    const usePin = (pin: string): void => {
      writeFileSync(join(world.directory, 'pin'), pin);
    };
    const refused = async (): Promise<Outcome> => {
      const outcome = await run('open');
      assert.equal(outcome.code, 'TOKEN_PIN_INCORRECT', outcome.text);
      return outcome;
    };
    const opens = async (): Promise<void> => {
      const outcome = await run('open');
      assert.equal(outcome.value, 'open', outcome.text);
    };

    test('are tried once, however often the process starts again', async () => {
      usePin(WRONG);
      const first = await refused();
      assert.equal(
        first.details['remedy'],
        'correct the PIN in token.pin_file or the credential "pin"',
      );
      // More starts than the token has tries.
      for (let restart = 0; restart < (kind.locksPins ? 7 : 2); restart += 1) {
        const { details } = await refused();
        assert.equal(details['triesLeft'], LOW);
        assert.equal(
          details['remedy'],
          'the token refused this PIN before, so it was not tried: correct the PIN in ' +
            `token.pin_file or the credential "pin"; if it is right by now, remove ${file}`,
        );
      }
      usePin(USER_PIN);
      await opens();
    });

    test('are kept as slow hashes that only the agent can read, until a PIN is right', async () => {
      usePin(WRONG);
      await refused();
      assert.equal(statSync(file).mode & 0o777, 0o600);
      const text = readFileSync(file, 'utf8');
      assert.ok(!text.includes(WRONG));
      const [one] = JSON.parse(text) as Record<string, string>[];
      assert.equal(one?.['kind'], 'user');
      assert.match(one['hash'] ?? '', /^[0-9a-f]{64}$/u);
      usePin('wrong-pin-2');
      await refused();
      const both = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>[];
      assert.equal(new Set(both.map(({ salt }) => salt)).size, 2);
      usePin(USER_PIN);
      await opens();
      assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), []);
    });

    test('are tried again when the Security Officer has given the token that PIN', async () => {
      usePin(WRONG);
      await refused();
      await run('resetUserPin', { pin: WRONG });
      await opens();
    });

    test('are not risked where they could not be remembered', async () => {
      usePin(WRONG);
      mkdirSync(`${file}.new`);
      const { code, details } = await run('open');
      assert.equal(code, 'STORAGE_FAILED');
      assert.equal(details['path'], file);
      assert.match(String(details['cause']), /^EISDIR/u);
      rmSync(`${file}.new`, { recursive: true });
      // It is the first try now.
      assert.match(String((await refused()).details['remedy']), /^correct the PIN/u);
    });

    test('are forgotten when somebody has removed the file, or written over it', async () => {
      usePin(WRONG);
      await refused();
      const isFirstTry = async (): Promise<boolean> =>
        String((await refused()).details['remedy']).startsWith('correct the PIN');
      assert.equal(await isFirstTry(), false);
      for (const text of ['{', '[null, 1, {"kind": "user"}]']) {
        writeFileSync(file, text);
        assert.equal(await isFirstTry(), true, text);
      }
      rmSync(file);
      assert.equal(await isFirstTry(), true);
    });
  });
}
