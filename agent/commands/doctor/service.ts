/** Whether systemd runs the agent as it is meant to be run. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

import { notHere, ok, warn, type Check, type Finding } from './check.ts';

const UNIT = 'ota-agent.service';
const PROGRAM_MS = 5000;
const RESTORE = `install the unit that comes with the agent, then systemctl daemon-reload`;

export const SERVICE: Check = {
  name: 'service',
  needs: [],
  code: 'FILE_UNREADABLE',
  examine: async () => {
    if (!existsSync('/run/systemd/system')) return notHere('systemd does not run here');
    const names = ['LoadState', 'ActiveState', 'WatchdogUSec', 'LimitCORE'];
    const args = ['show', UNIT, `--property=${names.join(',')}`];
    const { stdout } = await promisify(execFile)('systemctl', args, { timeout: PROGRAM_MS });
    return judgeUnit(stdout);
  },
};

/** @param shown - what `systemctl show` printed */
export function judgeUnit(shown: string): Finding {
  const values = new Map(
    shown
      .trim()
      .split('\n')
      .map((line): [string, string] => {
        const at = line.indexOf('=');
        return [line.slice(0, at), line.slice(at + 1)];
      }),
  );
  if (values.get('LoadState') !== 'loaded') {
    return warn(`${UNIT} is not installed: nothing starts the agent at boot`, RESTORE);
  }
  if (values.get('LimitCORE') !== '0') {
    return warn(`${UNIT} may leave core files, which hold the PIN`, 'set LimitCORE=0 in the unit');
  }
  const active = values.get('ActiveState') ?? 'there';
  const isWatched = !['0', 'infinity', undefined].includes(values.get('WatchdogUSec'));
  // What systemd says of a unit that was never started is not what its files say.
  if (!isWatched && active !== 'active') return ok(`${UNIT} is ${active}, no core files`);
  if (!isWatched) {
    return warn(`${UNIT} has no watchdog: a daemon that hangs stays`, 'set WatchdogSec=3min');
  }
  return ok(`${UNIT} is ${active}, with a watchdog, no core files`);
}
