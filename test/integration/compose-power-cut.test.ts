/** kill -9 of the agent and of all that it runs, in the middle of what it asks of podman. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { disturb } from '../crash/crash.ts';
import { problemOf } from '../crash/matrix.ts';
import type { PoweredDevice } from '../crash/powered-device.ts';
import { useMemory } from '../support/ostree-device.ts';
import { podmanProblem } from '../support/podman.ts';

useMemory();

/** The first words of a call, and how far it may get. */
const CUTS = [
  { call: 'pull --quiet', delaySeconds: '0.1', comesBack: 'restarted' },
  { call: 'stop -t', delaySeconds: '0.1', comesBack: 'rebooted' },
  { call: 'run --name', delaySeconds: '0.2', comesBack: 'restarted' },
] as const;

describe('compose and power cuts', { skip: podmanProblem() ?? false }, () => {
  for (const { call, delaySeconds, comesBack } of CUTS) {
    test(`an agent that is killed while podman does "${call}" goes on, ${comesBack}`, async () => {
      const run = async (device: PoweredDevice): Promise<boolean> => {
        const [fault, pid] = ['engine/fault', 'pid'].map((name) =>
          join(device.directory, 'device', name),
        ) as [string, string];
        // What the agent runs has a process group of its own: podman-compose and podman.
        const kill = `(sleep ${delaySeconds}; kill -9 $(cat ${pid}) 0) &`;
        writeFileSync(fault, `case "$*" in '${call}'*) rm ${fault}; ${kill} ;; esac\n`);
        const agent = ['sh', '-c', `echo $$ >${pid}; exec "$0" "$@"`];
        return (await device.runCycleUnder(agent, {})).signal === 'SIGKILL';
      };
      const after = await disturb('compose', { cycle: 1, run }, comesBack);
      assert.equal(problemOf(after), undefined, JSON.stringify(after));
      assert.deepEqual(after.running, ['new']);
    });
  }
});
