/** A sample of `npm run power-fail`. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { problemOf } from '../crash/matrix.ts';
import { disturbAt, type Fault } from './system-calls.ts';

const SAMPLE: readonly Fault[] = [
  { cycle: 1, call: 'fsync', fault: 'signal=SIGKILL', when: 1 },
  { cycle: 1, call: 'rename', fault: 'signal=SIGKILL', when: 1 },
  { cycle: 1, call: 'pwrite64', fault: 'error=ENOSPC', when: 2 },
];

describe('faults at system calls', () => {
  for (const at of SAMPLE) {
    const where = `${at.call} ${String(at.when)}, ${at.fault}`;
    test(`an update converges after a fault at ${where}`, async () => {
      const after = await disturbAt('ab-slot', at);
      assert.equal(problemOf(after), undefined, JSON.stringify(after));
    });
  }
});
