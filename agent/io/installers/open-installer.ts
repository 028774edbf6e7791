/** Which installer the settings name. */
import type { InstallerSettings } from '../../config-installer.ts';
import type { Installer } from '../../ports.ts';
import { AbSlotInstaller } from './ab-slot.ts';
import { openChoice } from './ab-slot/open-choice.ts';
import { FileInstaller } from './file.ts';

export function openInstaller(settings: InstallerSettings): Installer {
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
  }
}
