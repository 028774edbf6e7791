/** A sample of the crash matrix; all of it is for `npm run crash-matrix`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { crashAt, pointsOf, type Aftermath, type Point } from './crash.ts';
import { problemOf } from './matrix.ts';
import { INSTALLER_CALLS, PORT_CALLS, TRANSITIONS } from './points.ts';
import { SCENARIOS } from './scenario.ts';

/** The calls after which most has changed. */
const SAMPLE = [
  'store.saveState#2',
  'staging.receive#1',
  'installer/primary-1.write#1',
  'installer/primary-1.activate#1',
  'store.finish#1',
];

function demandConverged(after: Aftermath, where: string): void {
  assert.equal(problemOf(after), undefined, where);
  assert.deepEqual(new Set(after.running), new Set(['new']), where);
}

test('an agent that is killed goes on to the new images, from any call of the sample', async (t) => {
  const scenario = 'components';
  const points = await pointsOf(scenario);
  t.diagnostic(`${String(points.length)} points`);
  const chosen = SAMPLE.flatMap((name) =>
    points.filter((point) => point.name === name).slice(0, 1),
  );
  assert.equal(chosen.length, SAMPLE.length);
  for (const [index, { cycle, name }] of chosen.entries()) {
    const moment = index % 2 === 0 ? 'after' : 'before';
    const comesBack = index % 3 === 0 ? 'rebooted' : 'restarted';
    const point: Point = { cycle, name, moment };
    demandConverged(await crashAt(scenario, point, comesBack), `${moment} ${name} ${comesBack}`);
  }
});

for (const scenario of Object.keys(SCENARIOS)) {
  test(`an update by ${scenario} passes only points that the list has`, async () => {
    for (const { name } of await pointsOf(scenario)) {
      const [, port = '', call = ''] = /^([^.]+)\.(.+)#\d+$/u.exec(name) ?? [];
      if (port === 'transition') assert.ok(TRANSITIONS.has(call), name);
      else if (port.startsWith('installer/')) assert.ok(call in INSTALLER_CALLS, name);
      else assert.ok(port in PORT_CALLS && call in PORT_CALLS[port as 'store'], name);
    }
  });
}
