/** Settings of what the gateway is told about this device, besides updates. */
import * as z from 'zod';

import { path } from './settings-values.ts';

export const telemetrySettings = z
  .strictObject({
    system_info: z
      .boolean()
      .default(true)
      .describe('Whether the gateway is told what machine this is: no serial numbers'),
    network: z
      .boolean()
      .default(true)
      .describe('Whether it is told host name, and address and MAC towards it'),
    packages: z.boolean().default(true).describe('Whether it is told what packages are installed'),
    packages_file: path
      .optional()
      .describe(
        'Lines of name and version, or a status file of dpkg or opkg. Unset: /usr/package.manifest, /var/lib/dpkg/status or /var/lib/opkg/status',
      ),
  })
  .prefault({});
