/** What doctor makes of its surroundings where a test cannot provoke them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Examination, ok, type Check, type Result } from '../../../agent/commands/doctor/check.ts';
import { CHECKS } from '../../../agent/commands/doctor/checks.ts';
import { examineAll } from '../../../agent/commands/doctor/examine.ts';
import { judgeUnit } from '../../../agent/commands/doctor/service.ts';
import { OtaError } from '../../../agent/errors.ts';

describe('checks of doctor', () => {
  test('have names of their own, and stand only on what comes before them', () => {
    const before = new Set<string>();
    for (const { name, needs } of CHECKS) {
      for (const need of needs) assert.ok(before.has(need), `${name} needs ${need}`);
      assert.ok(!before.has(name), name);
      before.add(name);
    }
  });

  const run = async (
    checks: readonly Check[],
    given: readonly Result[] = [],
  ): Promise<Result[]> => {
    const results: Result[] = [];
    const known = new Map(given.map((result) => [result.name, result]));
    await examineAll(checks, new Examination([], {}), known, {
      begun: () => undefined,
      ended: (result) => results.push(result),
    });
    return results;
  };
  const check = (name: string, needs: string[], examine: Check['examine']): Check => ({
    name,
    needs,
    code: 'TOKEN_FAILED',
    examine,
  });
  const missing = (): never => {
    throw new OtaError('TOKEN_PIN_MISSING', { which: 'user PIN', remedy: 'set it' });
  };

  test('that stand on a failure name it, however far away; the others run', async () => {
    const results = await run([
      check('a', [], missing),
      check('b', ['a'], () => ok('b')),
      check('c', ['b'], () => ok('c')),
      check('d', [], () => ok('d')),
    ]);
    assert.deepEqual(
      results.map(({ status, detail }) => [status, detail]),
      [
        ['fail', 'which user PIN'],
        ['skipped', 'because of a'],
        ['skipped', 'because of a'],
        ['ok', 'd'],
      ],
    );
    assert.equal(results[0]?.remedy, 'set it');
    assert.equal(results[0].code, 'TOKEN_PIN_MISSING');
  });

  test('that throw what nobody has put into words get the code of their place and a remedy', async () => {
    const [result] = await run([check('a', [], () => Promise.reject(new Error('odd')))]);
    assert.deepEqual(
      [result?.status, result?.code, result?.detail],
      ['fail', 'TOKEN_FAILED', 'odd'],
    );
    assert.notEqual(result?.remedy, '');
  });

  test('that ended a process before are not run again', async () => {
    const result = { name: 'a', status: 'fail', detail: 'crashed', code: 'TOKEN_MODULE' } as const;
    assert.deepEqual(await run([check('a', [], () => assert.fail('ran'))], [result]), [result]);
  });

  test('that wait for ever are given up after ten seconds', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const running = run([
      check('a', [], () => new Promise(() => undefined)),
      check('b', [], () => ok('b')),
    ]);
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
    t.mock.timers.tick(10_000);
    const [late, next] = await running;
    assert.deepEqual([late?.status, late?.detail], ['fail', 'no answer within 10 s']);
    assert.equal(next?.status, 'ok');
  });
});

describe('the unit, by what systemctl shows of it', () => {
  const good = 'LoadState=loaded\nActiveState=active\nWatchdogUSec=3min\nLimitCORE=0\n';
  for (const [what, shown, status, remedy] of [
    ['is as it is shipped', good, 'ok', /^$/u],
    ['is not installed', good.replace('loaded', 'not-found'), 'warn', /daemon-reload/u],
    ['may leave core files', good.replace('CORE=0', 'CORE=infinity'), 'warn', /LimitCORE=0/u],
    ['has no watchdog', good.replace('3min', '0'), 'warn', /WatchdogSec/u],
    [
      'never ran, so that nothing is known of its watchdog',
      good.replace('active', 'inactive').replace('3min', 'infinity'),
      'ok',
      /^$/u,
    ],
    ['has a watchdog that never barks', good.replace('3min', 'infinity'), 'warn', /WatchdogSec/u],
  ] as const) {
    test(what, () => {
      const finding = judgeUnit(shown);
      assert.equal(finding.status, status);
      assert.match(finding.remedy ?? '', remedy);
    });
  }
});
