/** Which installer the settings name. */
import type { InstallerSettings } from '../../config-installer.ts';
import type { Installer } from '../../ports.ts';
import type { Treehub } from '../treehub.ts';
import { AbSlotInstaller } from './ab-slot.ts';
import { openChoice } from './ab-slot/open-choice.ts';
import { FileInstaller } from './file.ts';
import { RaucInstaller } from './rauc/installer.ts';
import { openSwupdate } from './swupdate/open-swupdate.ts';
import { OstreeInstaller } from './ostree/ostree.ts';

/** @param treehub - for an installer that downloads itself; absent where nothing is downloaded */
export function openInstaller(settings: InstallerSettings, treehub?: Treehub): Installer {
  switch (settings.type) {
    case 'file':
      return new FileInstaller(settings.path);
    case 'ab-slot':
      return new AbSlotInstaller({
        slots: { a: settings.slotA, b: settings.slotB },
        slotBytes: settings.slotBytes,
        booted: { bootedPath: settings.bootedFile },
        ...openChoice(settings.choice, settings.tries, settings.record),
      });
    case 'rauc':
      return new RaucInstaller(settings);
    case 'swupdate':
      return openSwupdate(settings);
    case 'ostree':
      return new OstreeInstaller(settings, treehub);
  }
}
