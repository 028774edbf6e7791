/** A sample of the crash matrix; all of it is for `npm run crash-matrix`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { crashAt, pointsOf, type Aftermath, type Point } from './crash.ts';
import { problemOf } from './matrix.ts';
import { INSTALLER_CALLS, PORT_CALLS, TRANSITIONS } from './points.ts';
import { SCENARIOS } from './scenarios.ts';

/** The calls after which most has changed, in the order of an update; an installer has some of them. */
const SAMPLE = [
  'store.saveState#2',
  'staging.receive#1',
  'installer/primary-1.receive#1',
  'installer/primary-1.write#1',
  'installer/primary-1.activate#1',
  'store.finish#1',
];

function demandConverged(after: Aftermath, where: string): void {
  assert.equal(problemOf(after), undefined, where);
  assert.deepEqual(new Set(after.running), new Set(['new']), where);
}

/** As many kills as a sample may take time; `components` has the longest update. */
const KILLS: Readonly<Record<string, number>> = { components: SAMPLE.length };

for (const [scenario, way] of Object.entries(SCENARIOS)) {
  const skip = way.problem?.() ?? false;
  test(
    `an agent that is killed during an update by ${scenario} goes on to the new images`,
    { skip },
    async (t) => {
      const points = await pointsOf(scenario);
      t.diagnostic(`${String(points.length)} points`);
      for (const { name } of points) demandListed(name);
      const chosen = SAMPLE.flatMap((name) =>
        points.filter((point) => point.name === name).slice(0, 1),
      ).slice(-(KILLS[scenario] ?? 2));
      assert.ok(chosen.length >= 2);
      for (const [index, { cycle, name }] of chosen.entries()) {
        const moment = index % 2 === 0 ? 'after' : 'before';
        const comesBack = index % 3 === 0 ? 'rebooted' : 'restarted';
        const point: Point = { cycle, name, moment };
        demandConverged(
          await crashAt(scenario, point, comesBack),
          `${moment} ${name} ${comesBack}`,
        );
      }
    },
  );
}

/** The list is what a matrix is made of: an update must pass no point that it lacks. */
function demandListed(name: string): void {
  const [, port = '', call = ''] = /^([^.]+)\.(.+)#\d+$/u.exec(name) ?? [];
  if (port === 'transition') assert.ok(TRANSITIONS.has(call), name);
  else if (port.startsWith('installer/')) assert.ok(call in INSTALLER_CALLS, name);
  else assert.ok(port in PORT_CALLS && call in PORT_CALLS[port as 'store'], name);
}
