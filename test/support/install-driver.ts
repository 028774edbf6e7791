/**
 * One installer and the steps that are asked of it, as a process that can be killed.
 *
 * Arguments: the installer's settings, the target and the staged file (JSON, JSON, path), then steps.
 */
import { openInstaller } from '../../agent/io/installers/open-installer.ts';
import type { InstallerSettings } from '../../agent/config-installer.ts';
import { takeImage } from '../contract/installer.contract.ts';
import { targetFrom } from './install-process.ts';

const [settings = '', target = '', staged = '', ...steps] = process.argv.slice(2);
const installer = await openInstaller(JSON.parse(settings) as InstallerSettings);
const image = targetFrom(target);
for (const step of steps) {
  switch (step) {
    case 'check':
    case 'activate':
    case 'confirm':
    case 'rollBack':
      await installer[step](image);
      break;
    case 'write':
      await takeImage({ installer, target: image }, staged);
      break;
    default:
      throw new Error(`no step ${step}`);
  }
}
