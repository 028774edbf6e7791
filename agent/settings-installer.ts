/** Settings of the installers: which one, and what each needs. A new one adds its name and its keys. */
import { z } from 'zod';

import { duration, path, text, wholeNumber } from './settings-values.ts';

export const installerSettings = z
  .strictObject({
    type: z.enum(['file', 'ab-slot', 'rauc']).default('file').describe('Where images run from'),
    path: path.optional().describe('file: the file to replace'),
    slot_a: path.optional().describe('ab-slot: block device or file of slot a'),
    slot_b: path.optional().describe('ab-slot: block device or file of slot b'),
    marker: path.optional().describe('ab-slot: active-slot marker read by the boot loader'),
    booted_file: path.optional().describe('ab-slot: file naming the slot that booted, a or b'),
    tries: wholeNumber(1, 16).default(3).describe('ab-slot: boots before falling back'),
    rauc_bus: text(1024)
      .optional()
      .describe('rauc: address of the D-Bus that RAUC is on; the system bus if not set'),
    rauc_system_conf: path
      .default('/etc/rauc/system.conf')
      .describe('rauc: its configuration, read to say who chooses a new image'),
    rauc_call_timeout: duration('30s').describe('rauc: longest wait for an answer'),
    rauc_install_timeout: duration('1h').describe('rauc: longest wait for an installation'),
    reboot_command: z
      .array(z.string())
      .default([])
      .describe('Program and arguments the daemon reboots with; empty: somebody else reboots')
      .meta({ title: 'list of texts such as ["systemctl", "reboot"]' }),
  })
  .prefault({});
