/** Which installer the settings name. */
import type { InstallerSettings } from '../../config-installer.ts';
import type { Installer } from '../../ports.ts';
import { AbSlotInstaller } from './ab-slot.ts';
import { CommandInstaller } from './command.ts';
import { ComposeInstaller } from './compose/compose.ts';
import { DirectoryInstaller } from './directory/directory.ts';
import { FileInstaller } from './file.ts';

export function openInstaller(settings: InstallerSettings): Installer {
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
        markerPath: settings.marker,
        bootedPath: settings.bootedFile,
        tries: settings.tries,
      });
  }
}
