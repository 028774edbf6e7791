/** Whether an image could be put where it has to go; nothing is written. */
import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

import {
  requireComponents,
  requireInstaller,
  type InstallerSettings,
} from '../../config-installer.ts';
import { causeOf, OtaError } from '../../errors.ts';
import { isSlot, readMarker } from '../../io/installers/boot-marker.ts';
import { ok, type Check, type Finding } from './check.ts';

export const INSTALLER: Check = {
  name: 'installer',
  needs: ['configuration'],
  code: 'INSTALL_FAILED',
  examine: async (examination) => {
    const loaded = examination.get('loaded');
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
  }
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
