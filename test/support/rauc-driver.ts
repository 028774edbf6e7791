/**
 * An update by the `rauc` installer in a process that may be killed: it goes on where the journal says,
 * in the order of the agent's cycle.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

import { RaucInstaller, type RaucSettings } from '../../agent/io/installers/rauc/installer.ts';
import { targetFor } from './targets.ts';

export interface Job {
  readonly settings: RaucSettings;
  readonly staged: string;
  readonly journal: string;
  readonly bootId: string;
}

/** `awaiting` and `activating` with the boot in which they began. */
export type Journal =
  'writing' | `activating ${string}` | `awaiting ${string}` | 'confirming' | 'done';

export async function update({ settings, staged, journal, bootId }: Job): Promise<string> {
  const installer = new RaucInstaller(settings);
  const target = targetFor(readFileSync(staged));
  const note = (state: Journal): void => {
    writeFileSync(`${journal}.new`, state);
    renameSync(`${journal}.new`, journal);
  };
  await installer.noteGoodBoot();
  for (;;) {
    const [state, since] = readFileSync(journal, 'utf8').split(' ');
    switch (state) {
      case 'writing':
        await installer.check(target);
        await installer.write(target, staged, () => undefined);
        note(`activating ${bootId}`);
        break;
      case 'activating':
        if (since !== bootId && (await installer.booted(target))) {
          note('confirming');
          break;
        }
        await installer.activate(target);
        note(`awaiting ${bootId}`);
        break;
      case 'awaiting':
        if (since === bootId) return 'reboot';
        if (!(await installer.booted(target))) return 'fell back';
        note('confirming');
        break;
      case 'confirming':
        await installer.confirm(target);
        note('done');
        break;
      default:
        return 'done';
    }
  }
}
