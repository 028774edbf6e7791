/**
 * One cycle in a process of its own, which ends itself with SIGKILL at a named point.
 *
 * `node cycle-main.ts SCENARIO DIRECTORY [NAME before|after]`: prints what came out, and the names of
 * all points that it passed, as one JSON document.
 */
import { runCycle, type Outcome } from '../../agent/cycle/cycle.ts';
import { runOfflineCycle } from '../../agent/cycle/offline.ts';
import type { Ports } from '../../agent/ports.ts';
import { cuttingPorts } from '../support/cut-ports.ts';
import { openPorts, stickIn } from './crash-device.ts';
import { scenarioOf } from './scenarios.ts';

const [, , name = '', directory = '', call = '', moment = 'before'] = process.argv;
const device = await openPorts(directory, scenarioOf(name));
const cut = cuttingPorts(
  device.ports,
  { call, moment: moment === 'after' ? 'after' : 'before' },
  (): never => {
    process.kill(process.pid, 'SIGKILL');
    // The signal is there before the next line would be.
    throw new Error('survived SIGKILL');
  },
);
const { outcome } = await (scenarioOf(name).comesBy === 'stick' ? fromStick : runCycle)(cut.ports);
await device.close();
process.stdout.write(JSON.stringify({ outcome, points: cut.names() }));

/** As the daemon does it: what is on the stick, then the Director. */
async function fromStick(ports: Ports): Promise<Outcome> {
  const result = await runOfflineCycle(ports, { source: stickIn(directory), by: 'hand' });
  await runCycle(ports);
  return result;
}
