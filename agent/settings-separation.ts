/** Settings of the installer as a service of its own: privileges there, the network here. */
import * as z from 'zod';

import { path } from './settings-values.ts';

export const separationSettings = z
  .strictObject({
    installer: z
      .boolean()
      .default(false)
      .describe('Install through ota-agent-installer.socket, which verifies for itself'),
    socket: path
      .default('/run/ota-agent-installer/socket')
      .describe('Socket that systemd starts the installer for'),
    storage: path
      .default('/var/lib/ota-agent-installer')
      .describe("The installer's own state, metadata and staged images; its user's alone"),
  })
  .prefault({});
