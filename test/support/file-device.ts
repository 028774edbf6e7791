/** A device whose software is one file, for the contract of installers. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { FileInstaller } from '../../agent/io/installers/file.ts';
import type { InstallerFixture } from '../contract/installer.contract.ts';
import { FACTORY, UPDATE, whichImage } from './ab-slot.ts';
import { targetFor } from './targets.ts';

export function fileDevice(directory: string): InstallerFixture {
  const path = join(directory, 'installed.bin');
  writeFileSync(path, FACTORY);
  return {
    installer: new FileInstaller(path),
    target: targetFor(UPDATE),
    content: UPDATE,
    running: () => whichImage(readFileSync(path)),
    boot: () => undefined,
  };
}
