/** Settings of the installers: which one, and what each needs. A new one adds its name and its keys. */
import { z } from 'zod';

import { optionalSize, path, wholeNumber } from './setting-values.ts';

export const installerSettings = z
  .strictObject({
    type: z.enum(['file', 'ab-slot']).default('file').describe('Where images run from'),
    path: path.optional().describe('file: the file to replace'),
    slot_a: path.optional().describe('ab-slot: block device or file of slot a'),
    slot_b: path.optional().describe('ab-slot: block device or file of slot b'),
    slot_size: optionalSize.describe(
      'ab-slot: size of slots that are files. Unset: as far as their file system reaches',
    ),
    boot_choice: z
      .enum(['marker', 'uboot', 'grub', 'systemd-boot'])
      .default('marker')
      .describe(
        'ab-slot: where the boot loader is told which slot to boot, see agent/INSTALLERS.md',
      ),
    marker: path.optional().describe('ab-slot: active-slot marker of boot_choice "marker"'),
    uboot_config: path
      .default('/etc/fw_env.config')
      .describe('ab-slot: where the environment of U-Boot is, for fw_setenv'),
    uboot_convention: z
      .enum(['boot-order', 'bootcount'])
      .default('boot-order')
      .describe("ab-slot: variables of U-Boot: RAUC's BOOT_ORDER, or its own boot counter"),
    grub_environment: path
      .default('/boot/grub/grubenv')
      .describe('ab-slot: environment block of GRUB'),
    loader_entries: path
      .default('/boot/loader/entries')
      .describe('ab-slot: boot entries of systemd-boot'),
    booted_file: path
      .optional()
      .describe(
        'ab-slot: file naming the slot that booted, a or b. Unset: the kernel command line',
      ),
    tries: wholeNumber(1, 16).default(3).describe('ab-slot: boots before falling back'),
    reboot_command: z
      .array(z.string())
      .default([])
      .describe('Program and arguments the daemon reboots with; empty: somebody else reboots')
      .meta({ title: 'list of texts such as ["systemctl", "reboot"]' }),
  })
  .prefault({});
