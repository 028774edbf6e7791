/** Which installer the settings name. Each is loaded where it is named: some bring a library along. */
import type { InstallerSettings } from '../../config-installer.ts';
import type { Installer } from '../../ports.ts';
import type { Treehub } from '../treehub.ts';

/** @param treehub - for an installer that downloads itself; absent where nothing is downloaded */
export async function openInstaller(
  settings: InstallerSettings,
  treehub?: Treehub,
): Promise<Installer> {
  switch (settings.type) {
    case 'file': {
      const { FileInstaller } = await import('./file.ts');
      return new FileInstaller(settings.path);
    }
    case 'directory': {
      const { DirectoryInstaller } = await import('./directory/directory.ts');
      const { path, ...limits } = settings;
      return new DirectoryInstaller({ path, limits });
    }
    case 'command': {
      const { CommandInstaller } = await import('./command.ts');
      return new CommandInstaller(settings);
    }
    case 'compose': {
      const { ComposeInstaller } = await import('./compose/compose.ts');
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
    case 'ab-slot': {
      const { AbSlotInstaller } = await import('./ab-slot.ts');
      const { openChoice } = await import('./ab-slot/open-choice.ts');
      return new AbSlotInstaller({
        slots: { a: settings.slotA, b: settings.slotB },
        slotBytes: settings.slotBytes,
        booted: { bootedPath: settings.bootedFile },
        ...openChoice(settings.choice, settings.tries, settings.record),
      });
    }
    case 'rauc': {
      const { RaucInstaller } = await import('./rauc/installer.ts');
      return new RaucInstaller(settings);
    }
    case 'swupdate': {
      const { openSwupdate } = await import('./swupdate/open-swupdate.ts');
      return openSwupdate(settings);
    }
    case 'ostree': {
      const { OstreeInstaller } = await import('./ostree/ostree.ts');
      return new OstreeInstaller(settings, treehub);
    }
  }
}
