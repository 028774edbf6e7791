/** Which installer the settings name. */
import type { InstallerSettings } from '../../config-installer.ts';
import type { Installer } from '../../ports.ts';
import type { Treehub } from '../treehub.ts';
import { AbSlotInstaller } from './ab-slot.ts';
import { openChoice } from './ab-slot/open-choice.ts';
import { CommandInstaller } from './command.ts';
import { ComposeInstaller } from './compose/compose.ts';
import { DirectoryInstaller } from './directory/directory.ts';
import { FileInstaller } from './file.ts';
import { RaucInstaller } from './rauc/installer.ts';
import { openSwupdate } from './swupdate/open-swupdate.ts';
import { OstreeInstaller } from './ostree/ostree.ts';

/** @param treehub - for an installer that downloads itself; absent where nothing is downloaded */
export function openInstaller(settings: InstallerSettings, treehub?: Treehub): Installer {
  switch (settings.type) {
    case 'file':
      return new FileInstaller(settings.path);
    case 'directory': {
      const { path, ...limits } = settings;
      return new DirectoryInstaller({ path, limits });
    }
    case 'command':
      return new CommandInstaller(settings);
    case 'compose': {
      const {
        engine,
        composeCommand: compose,
        maxBytes,
        maxEntries,
        allowSetuid,
        ...rest
      } = settings;
      const limits = { maxBytes, maxEntries, allowSetuid };
      return new ComposeInstaller({ ...rest, kind: engine, engine: [engine], compose, limits });
    }
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
