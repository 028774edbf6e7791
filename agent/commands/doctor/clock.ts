/** Whether this device knows what time it is. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

import { openClock } from '../../io/clock.ts';
import { formatInstant, type Instant } from '../../uptane/time.ts';
import { ok, warn, type Check, type Examination, type Finding } from './check.ts';

const PROGRAM_MS = 5000;

export const CLOCK: Check = {
  name: 'clock',
  needs: ['configuration'],
  code: 'BUG',
  examine: examineClock,
};

async function examineClock(examination: Examination): Promise<Finding> {
  const storage = examination.find('storage');
  const floor = (await storage?.store.latestKnownTime()) ?? (0 as Instant);
  examination.note('clock', openClock(floor));
  const now = Date.now() as Instant;
  const shows = `the clock shows ${formatInstant(now)}`;
  const set = 'set the clock (date -u --set), and let systemd-timesyncd or chrony keep it';
  if (now < floor) {
    return warn(
      `${shows}, but it was ${formatInstant(floor)} before: metadata counts by that`,
      set,
    );
  }
  const { time_url: signed } = examination.get('loaded').settings.uptane;
  if (signed !== undefined) return ok(`${shows}; metadata counts by the time that ${signed} signs`);
  const synchronised = await isSynchronised();
  if (synchronised === false) return warn(`${shows}, but NTP has not set it`, set);
  return ok(synchronised === true ? `${shows}, set by NTP` : `${shows}; who sets it is not known`);
}

/** @returns `undefined` where nobody can say */
async function isSynchronised(): Promise<boolean | undefined> {
  if (!existsSync('/run/systemd/system')) return undefined;
  try {
    const args = ['show', '--property=NTPSynchronized', '--value'];
    const { stdout } = await promisify(execFile)('timedatectl', args, { timeout: PROGRAM_MS });
    return stdout.trim() === 'yes';
  } catch {
    return undefined;
  }
}
