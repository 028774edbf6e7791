/** A sample of `npm run power-fail`. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { useMemory } from '../support/ostree-device.ts';
import { disturbAt, type Fault } from './faults.ts';
import { problemAfter } from './system-calls.ts';

useMemory();

/** SQLite calls the one or the other, as it was built. */
const SYNC = 'fsync,fdatasync';
/** Where most is at stake: the state, the slot, what the boot loader reads, and the switch. */
const SAMPLE: readonly (readonly [scenario: string, Fault])[] = [
  ['ab-slot', { cycle: 1, call: SYNC, path: '@/state.db-wal', when: 12, fault: 'signal=SIGKILL' }],
  [
    'ab-slot',
    { cycle: 1, call: 'pwrite64', path: '@/device/slot-b', when: 2, fault: 'error=ENOSPC' },
  ],
  [
    'ab-slot',
    { cycle: 1, call: 'rename', path: '@/device/marker.new', when: 4, fault: 'signal=SIGKILL' },
  ],
  [
    'ab-slot',
    { cycle: 2, call: 'fsync', path: '@/device/marker.new', when: 1, fault: 'error=EIO' },
  ],
  ['directory', { cycle: 1, call: 'mkdir', path: '@/staging', when: 1, fault: 'error=EIO' }],
  [
    'directory',
    { cycle: 1, call: 'rename', path: '@/device/current.new', when: 1, fault: 'signal=SIGKILL' },
  ],
];

describe('an update converges', () => {
  for (const [scenario, at] of SAMPLE) {
    const { fault, call, when, path } = at;
    test(`by ${scenario} after ${fault} at ${call} ${String(when)} of ${path}`, async () => {
      const after = await disturbAt(scenario, at);
      assert.equal(problemAfter(after), undefined, JSON.stringify(after));
    });
  }
});
