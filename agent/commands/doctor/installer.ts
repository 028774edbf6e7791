/** Whether an image could be put where it has to go; nothing is written. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname } from 'node:path';

import {
  requireComponents,
  requireInstaller,
  type InstallerSettings,
} from '../../config-installer.ts';
import { readSeparation, type Separation } from '../../config-separation.ts';
import { causeOf, OtaError } from '../../errors.ts';
import { BY_THE_AGENT } from '../../io/installers/rauc/describe.ts';
import { openInstaller } from '../../io/installers/open-installer.ts';
import { SeparateInstaller } from '../../io/installers/separate/client.ts';
import { InstallerLink } from '../../io/installers/separate/link.ts';
import { ok, warn, type Check, type Finding } from './check.ts';

export const INSTALLER: Check = {
  name: 'installer',
  needs: ['configuration'],
  code: 'INSTALL_FAILED',
  examine: async (examination) => {
    const loaded = examination.get('loaded');
    const separation = readSeparation(loaded);
    if (separation !== undefined) return examineSeparate(separation);
    const own = await examineInstaller(requireInstaller(loaded));
    const found = [own];
    for (const { serial, installer } of requireComponents(loaded)) {
      const finding = await examineInstaller(installer);
      found.push({ ...finding, detail: `${serial}: ${finding.detail}` });
    }
    const worst = found.find(({ status }) => status === 'warn') ?? own;
    return { ...worst, detail: found.map(({ detail }) => detail).join('; ') };
  },
};

function examineInstaller(settings: InstallerSettings): Promise<Finding> {
  switch (settings.type) {
    case 'file':
      return examineFile(settings.path);
    case 'ab-slot':
      return examineSlots(settings);
    case 'rauc':
      return examineRauc(settings);
    case 'ostree':
      return examineOstree(settings);
    case 'swupdate':
    case 'directory':
    case 'command':
    case 'compose':
      return examineByDescription(settings);
  }
}

/** The service is asked as the daemon would ask it; it answers for each ECU. */
async function examineSeparate({ socket, ecus }: Separation): Promise<Finding> {
  const link = new InstallerLink(socket, () => Promise.resolve(undefined));
  const found: string[] = [];
  for (const { serial } of ecus) {
    const facts = await new SeparateInstaller(link, serial, BY_SERVICE).describe();
    const text = Object.entries(facts).map(([name, value]) => `${name} ${value}`);
    found.push(`${serial}: ${text.join('; ')}`);
  }
  return ok(`by the installer behind ${socket}: ${found.join('; ')}`);
}

const BY_SERVICE = { kind: 'separate', needsReboot: false };

/** The installer says itself what it finds, or why it could not install. */
async function examineByDescription(settings: InstallerSettings): Promise<Finding> {
  const found = Object.entries(await (await openInstaller(settings)).describe());
  return ok(`${settings.type}: ${found.map(([name, value]) => `${name} ${value}`).join('; ')}`);
}

async function examineFile(path: string): Promise<Finding> {
  const directory = dirname(path);
  await attempt('file', `${directory} cannot be written`, () => access(directory, constants.W_OK));
  return ok(`file ${path}`);
}

async function examineRauc(
  settings: Extract<InstallerSettings, { type: 'rauc' }>,
): Promise<Finding> {
  const {
    booted = '',
    primary = '',
    activation = '',
  } = await (await openInstaller(settings)).describe();
  const detail = `rauc: booted ${booted}, next ${primary}, new images are chosen ${activation}`;
  if (activation === BY_THE_AGENT) return ok(detail);
  return warn(detail, `set activate-installed=false under [system] in ${settings.systemConf}`);
}

async function examineOstree(
  settings: Extract<InstallerSettings, { type: 'ostree' }>,
): Promise<Finding> {
  const { version, os, booted } = await (await openInstaller(settings)).describe();
  return ok(`ostree ${version ?? ''}: ${os ?? ''} runs commit ${booted ?? ''}`);
}

async function examineSlots(settings: InstallerSettings): Promise<Finding> {
  const { booted = '', active = '', state = '' } = await (await openInstaller(settings)).describe();
  return ok(`ab-slot: booted ${booted}, the boot loader is told ${active}, ${state}`);
}

async function attempt<T>(kind: string, what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw failure(kind, `${what}: ${causeOf(error)}`, error);
  }
}

function failure(installer: string, cause: string, error?: unknown): OtaError<'INSTALL_FAILED'> {
  return new OtaError('INSTALL_FAILED', { installer, ecu: '-', cause }, { cause: error });
}
