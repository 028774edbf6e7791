/** What the anchor needs of a token: records that are whole, private, and there when the power fails. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { inChild, killInChild } from '../support/in-child.ts';
import type { TokenKind, TokenWorld } from '../support/token-world.ts';

const SCENARIOS = join(import.meta.dirname, 'anchor.scenarios.ts');
const KILL_AFTER_MS = [20, 70, 120, 170];

interface Expected {
  /** What the agent says of such a token. */
  readonly protection: string;
  /** Whether a test can fill it, in little time. */
  readonly isSmall: boolean;
}

export function anchorContract(kind: TokenKind, { protection, isSmall }: Expected): void {
  describe(`anchor contract: ${kind.name}`, () => {
    let world: TokenWorld;
    beforeEach(async () => {
      world = await kind.open();
      await value('initialise');
    });
    afterEach(() => world.close());

    const value = async (name: string, more: object = {}): Promise<unknown> => {
      const args = { settings: world.settings, ...more };
      const outcome = await inChild(SCENARIOS, name, args, world.env);
      assert.equal(outcome.text, undefined);
      return outcome.value;
    };

    test('keeps one record, private, for every later process', async () => {
      assert.deepEqual(await value('records'), []);
      assert.deepEqual(await value('replace', { texts: ['one', 'two'] }), [['one'], ['two']]);
      assert.deepEqual(await value('records'), ['two']);
      assert.equal(await value('withoutLogin'), 0);
      assert.equal(await value('protection'), protection);
    });

    test('gives out all that a power cut left, and replaces all of it', async () => {
      await value('storeBeside', { texts: ['half', 'whole'] });
      assert.deepEqual(new Set((await value('records')) as string[]), new Set(['half', 'whole']));
      await value('replace', { texts: ['next'] });
      assert.deepEqual(await value('records'), ['next']);
    });

    test(
      'a full token is TOKEN_FAILED, and keeps the record before',
      { skip: !isSmall },
      async () => {
        assert.equal(await value('replaceWhenFull'), 'TOKEN_FAILED');
        const kept = (await value('records')) as string[];
        assert.deepEqual(
          kept.map((text) => text.slice(0, 2)),
          ['1 '],
        );
      },
    );

    test('killed at any moment it has a whole record, and never an older one than before', async (t) => {
      let newest = 0;
      for (const delayMs of KILL_AFTER_MS) {
        const args = { settings: world.settings, first: newest + 1 };
        const call = [SCENARIOS, 'replaceForEver', args] as const;
        assert.equal(await killInChild(call, world.env, delayMs), 'killed');
        const there = ((await value('records')) as string[]).map((text) => text.split(' '));
        const whole = there.filter(([first, , last]) => first !== '' && first === last);
        const numbers = whole.map(([first]) => Number(first));
        t.diagnostic(`${String(there.length)} records, newest ${String(Math.max(0, ...numbers))}`);
        const lowest = newest;
        newest = Math.max(0, ...numbers);
        assert.ok(newest >= lowest, `${String(newest)} after ${String(lowest)}`);
      }
      assert.ok(newest > 0);
      await value('replace', { texts: ['last'] });
      assert.equal(await value('cleanUp'), 1);
    });
  });
}
