/** A sample of the crash matrix; all of it is for `npm run crash-matrix`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { useMemory } from '../support/ostree-device.ts';
import { crashAt, pointsOf } from './crash.ts';
import { problemOf } from './matrix.ts';
import { INSTALLER_CALLS, PORT_CALLS, TRANSITIONS } from './points.ts';
import { SCENARIOS } from './scenarios.ts';

useMemory();

/** The calls after which most has changed, in the order of an update; an installer has some of them. */
const SAMPLE = [
  'installer/primary-1.activate#1',
  'installer/primary-1.write#1',
  'staging.receive#1',
  'store.finish#1',
  'installer/primary-1.receive#1',
  'store.saveState#2',
];
const COLUMNS = [
  ['after', 'rebooted'],
  ['before', 'restarted'],
  ['after', 'restarted'],
  ['before', 'rebooted'],
] as const;

for (const [index, [scenario, way]] of Object.entries(SCENARIOS).entries()) {
  const skip = way.problem?.() ?? false;
  test(
    `an agent that is killed during an update by ${scenario} goes on to the new images`,
    { skip },
    async (t) => {
      const points = await pointsOf(scenario);
      t.diagnostic(`${String(points.length)} points`);
      for (const { name } of points) demandListed(name);
      const known = points.filter(({ name }) => SAMPLE.includes(name));
      const point = known[index % known.length];
      const [moment, comesBack] = COLUMNS[index % COLUMNS.length] ?? COLUMNS[0];
      assert.ok(point, 'no such point');
      const after = await crashAt(scenario, { ...point, moment }, comesBack);
      const where = `${moment} ${point.name} ${comesBack}`;
      assert.equal(problemOf(after), undefined, where);
      assert.deepEqual(new Set(after.running), new Set(['new']), where);
      t.diagnostic(where);
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
