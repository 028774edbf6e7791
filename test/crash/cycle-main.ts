/**
 * One cycle in a process of its own, which ends itself with SIGKILL at a named point.
 *
 * `node cycle-main.ts SCENARIO DIRECTORY [NAME before|after]`: prints what came out, and the names of
 * all points that it passed, as one JSON document.
 */
import { runCycle } from '../../agent/cycle/cycle.ts';
import { cuttingPorts } from '../support/cut-ports.ts';
import { openPorts } from './crash-device.ts';
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
const { outcome } = await runCycle(cut.ports);
await device.close();
process.stdout.write(JSON.stringify({ outcome, points: cut.names() }));
