/** Whether an image could be put where it has to go; nothing is written. */
import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

import { requireInstaller, type InstallerSettings } from '../../config-installer.ts';
import { causeOf, OtaError } from '../../errors.ts';
import { isSlot, readMarker } from '../../io/installers/boot-marker.ts';
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
    case 'directory':
    case 'command':
    case 'compose':
      return examineByDescription(settings);
  }
}

/** The installer says itself what it finds, or why it could not install. */
async function examineByDescription(settings: InstallerSettings): Promise<Finding> {
  const found = Object.entries(await openInstaller(settings).describe());
  return ok(`${settings.type}: ${found.map(([name, value]) => `${name} ${value}`).join(', ')}`);
}

async function examineFile(path: string): Promise<Finding> {
  const directory = dirname(path);
  await attempt('file', `${directory} cannot be written`, () => access(directory, constants.W_OK));
  return ok(`file ${path}`);
}

type AbSlot = Extract<InstallerSettings, { type: 'ab-slot' }>;

async function examineSlots({ slotA, slotB, marker, bootedFile }: AbSlot): Promise<Finding> {
  const kind = 'ab-slot';
  for (const slot of [slotA, slotB]) {
    await attempt(kind, `slot ${slot}`, async () => {
      const found = await stat(slot);
      if (!found.isBlockDevice() && !found.isFile()) throw new Error('no block device and no file');
      await access(slot, constants.R_OK | constants.W_OK);
    });
  }
  const booted = await attempt(kind, `booted slot in ${bootedFile}`, () =>
    readFile(bootedFile, 'utf8').then((text) => text.trim()),
  );
  if (!isSlot(booted)) {
    throw failure(kind, `${bootedFile} names no slot: a or b, written by the initramfs at boot`);
  }
  const { active, state } = await readMarker(marker, '-');
  const directory = dirname(marker);
  await attempt(kind, `marker in ${directory}`, () => access(directory, constants.W_OK));
  return ok(`ab-slot: booted ${booted}, marker says ${active}, ${state}`);
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
