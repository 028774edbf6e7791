/** How every token is logged in to, by PIN or as an identity. A part of `token.contract.ts`. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import type { Outcome } from '../support/in-child.ts';
import { LABEL, USER_PIN, type TokenKind, type TokenWorld } from '../support/token-world.ts';

interface Bench {
  readonly kind: TokenKind;
  readonly world: () => TokenWorld;
  /** Calls of `token.scenarios.ts`. */
  readonly run: (name: string, more?: object) => Promise<Outcome>;
  readonly value: (name: string, more?: object) => Promise<unknown>;
}

export function loginContract({ kind, world, run, value }: Bench): void {
  const usePin = (pin: string): void => {
    writeFileSync(join(world().directory, 'pin'), pin);
  };

  describe('login', () => {
    if (kind.login === 'identity') {
      test('is refused to whom the secure world takes for somebody else', async () => {
        await value('initialise');
        const login = world().settings.login === 'tee-user' ? 'tee-group' : 'tee-user';
        const { code, details } = await run('open', { settings: { ...world().settings, login } });
        assert.equal(code, 'TOKEN_PIN_INCORRECT');
        assert.match(String(details['remedy']), /^the token belongs to another (user|group)/u);
      });
      return;
    }

    test('does not offer an identity to a token with a PIN, where it would count as a wrong one', async () => {
      await value('initialise');
      const settings = { ...world().settings, login: 'tee-user' };
      const outcomes = (await value('openOften', { settings, times: 12 })) as string[];
      for (const one of outcomes) assert.match(one, /^TOKEN_PIN_INCORRECT .*or has a PIN/u);
      assert.deepEqual(await value('openOften', { times: 1 }), ['open']);
    });

    test('tries a wrong PIN once per process, and says so without showing it', async () => {
      await value('initialise');
      usePin('wrong-pin-1');
      const outcomes = (await value('openOften', { times: 10 })) as string[];
      assert.equal(outcomes.length, 10);
      for (const one of outcomes)
        assert.match(one, /^TOKEN_PIN_INCORRECT .*(at least 1, fewer|does not say)/u);
      usePin(USER_PIN);
      assert.deepEqual(await value('openOften', { times: 2 }), ['open', 'open']);
    });

    test('accepts a PIN file with and without a newline at its end', async () => {
      await value('initialise');
      for (const text of [USER_PIN, `${USER_PIN}\n`, `${USER_PIN}\r\n`]) {
        usePin(text);
        assert.deepEqual(await value('openOften', { times: 1 }), ['open']);
      }
    });

    if (kind.locksPins) {
      test('leaves the last try to a person, however often the service restarts', async () => {
        await value('initialise');
        usePin('wrong-pin-1');
        const seen = [];
        for (let restart = 0; restart < 9; restart += 1) {
          const { code, details } = await run('open');
          assert.equal(code, 'TOKEN_PIN_INCORRECT');
          seen.push(details['triesLeft']);
        }
        assert.deepEqual(seen.slice(5), ['1', '1', '1', '1']);
        usePin(USER_PIN);
        assert.equal((await run('open')).code, 'TOKEN_PIN_INCORRECT');
        assert.deepEqual(await value('tryPins', { pins: [USER_PIN] }), ['CKR_OK']);
        assert.deepEqual(await value('openOften', { times: 1 }), ['open']);
      });

      test('leaves no session behind when it cannot log in', async () => {
        await value('initialise');
        usePin('wrong-pin-1');
        assert.equal(await value('sessionsAfter', { times: 12 }), 1);
      });

      test('says that a token is locked, and does not try the right PIN on it', async () => {
        await value('initialise');
        const pins = Array.from({ length: 7 }, (_, index) => `wrong-pin-${String(index)}`);
        const answers = (await value('tryPins', { pins })) as string[];
        assert.equal(answers.at(-1), 'CKR_PIN_LOCKED');
        const { code, details } = await run('open');
        assert.equal(code, 'TOKEN_LOCKED');
        assert.equal(details['uri'], `pkcs11:token=${LABEL}`);
      });
    }
  });
}
