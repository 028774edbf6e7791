/** Which installer stands behind which ECU: in this process, or behind the socket of one with privileges. */
import { requireComponents, requireInstaller, type InstallerSettings } from './config-installer.ts';
import type { LoadedSettings } from './config-problem.ts';
import { readSeparation } from './config-separation.ts';
import { installersOf } from './io/installers/by-ecu.ts';
import { openInstaller } from './io/installers/open-installer.ts';
import { SeparateInstaller } from './io/installers/separate/client.ts';
import { keptMetadata } from './io/installers/separate/kept-metadata.ts';
import { InstallerLink } from './io/installers/separate/link.ts';
import type { Treehub } from './io/treehub.ts';
import type { Boot, Installer, Installers, Repositories, Store } from './ports.ts';

interface Ways {
  /** What a commit is made of is downloaded by its installer; absent without network. */
  readonly treehubAt?: (url: string) => Treehub;
  /** To the service that installs; absent where this process does. */
  readonly link: InstallerLink | undefined;
}

export async function openInstallers(
  loaded: LoadedSettings,
  primarySerial: string | undefined,
  { treehubAt, link }: Ways,
): Promise<Installers> {
  const open = async (rules: InstallerSettings, ecu: string): Promise<Installer> => {
    const own = await openInstaller(
      rules,
      rules.type === 'ostree' ? treehubAt?.(rules.url) : undefined,
    );
    return link === undefined ? own : new SeparateInstaller(link, ecu, own);
  };
  const components = new Map<string, Installer>();
  for (const { serial, installer } of requireComponents(loaded)) {
    components.set(serial, await open(installer, serial));
  }
  const primary = await open(requireInstaller(loaded), loaded.settings.ecu.serial ?? '');
  return installersOf(primary, components, primarySerial);
}

/** @param repositories - absent without network */
export function linkTo(
  loaded: LoadedSettings,
  store: Store,
  repositories?: Repositories,
): InstallerLink | undefined {
  const separation = readSeparation(loaded);
  if (separation === undefined) return undefined;
  return new InstallerLink(separation.socket, keptMetadata(store, repositories));
}

/** Who has the right to install has that to reboot. */
export function rebootThrough(boot: Boot, link: InstallerLink | undefined): Boot {
  if (link === undefined) return boot;
  return {
    ...boot,
    reboot: async () => {
      await link.ask({ do: 'reboot', ecu: '' });
    },
  };
}
