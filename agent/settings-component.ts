/** Settings of what is installed beside the Primary's image: other ECUs and components of this device. */
import * as z from 'zod';

import { installerSettings } from './settings-installer.ts';
import { text } from './settings-values.ts';

export const componentSchema = z.strictObject({
  serial: text(64).describe('Serial of the component; it is registered with the Director'),
  hardware_id: text(200).describe('Hardware identifier that its images have to be for'),
  installer: installerSettings,
});

/** Installed in this order, the Primary last. */
export const componentSettings = z.array(componentSchema).default([]);
