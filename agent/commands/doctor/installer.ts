/** Whether an image could be put where it has to go; nothing is written. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname } from 'node:path';

import { requireInstaller, type InstallerSettings } from '../../config-installer.ts';
import { causeOf, OtaError } from '../../errors.ts';
import { openInstaller } from '../../io/installers/open-installer.ts';
import { ok, type Check, type Finding } from './check.ts';

export const INSTALLER: Check = {
  name: 'installer',
  needs: ['configuration'],
  code: 'INSTALL_FAILED',
  examine: (examination) => examineInstaller(requireInstaller(examination.get('loaded'))),
};

function examineInstaller(settings: InstallerSettings): Promise<Finding> {
  switch (settings.type) {
    case 'file':
      return examineFile(settings.path);
    case 'ab-slot':
      return examineSlots(settings);
  }
}

async function examineFile(path: string): Promise<Finding> {
  const directory = dirname(path);
  await attempt('file', `${directory} cannot be written`, () => access(directory, constants.W_OK));
  return ok(`file ${path}`);
}

async function examineSlots(settings: InstallerSettings): Promise<Finding> {
  const { booted = '', active = '', state = '' } = await openInstaller(settings).describe();
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
