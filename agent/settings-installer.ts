/** Settings of the installers: which one, and what each needs. A new one adds its name and its keys. */
import * as z from 'zod';

import { duration, optionalSize, path, size, text, url, wholeNumber } from './settings-values.ts';

/** Where the slots of `ab-slot` are, and how the boot loader is told. */
const AB_SLOT = {
  slot_size: optionalSize.describe(
    'ab-slot: size of slots that are files. Unset: as far as their file system reaches',
  ),
  boot_choice: z
    .enum(['marker', 'uboot', 'grub', 'systemd-boot'])
    .default('marker')
    .describe('ab-slot: where the boot loader is told which slot to boot, see agent/INSTALLERS.md'),
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
      'ab-slot, swupdate: file naming the slot that booted. Unset: the kernel command line',
    ),
};

const RAUC = {
  rauc_bus: text(1024)
    .optional()
    .describe('rauc: address of the D-Bus that RAUC is on; the system bus if not set'),
  rauc_system_conf: path
    .default('/etc/rauc/system.conf')
    .describe('rauc: its configuration, read to say who chooses a new image'),
  rauc_call_timeout: duration('30s').describe('rauc: longest wait for an answer'),
  rauc_install_timeout: duration('1h').describe('rauc: longest wait for an installation'),
};

/** Absolute paths as the image's description names them. */
const devices = (slot: string): z.ZodDefault<z.ZodArray<typeof path>> =>
  z
    .array(path)
    .default([])
    .describe(`swupdate: all that an update of slot ${slot} may write, its root first`)
    .meta({ title: 'list of absolute paths' });

const variables = (what: string): z.ZodDefault<z.ZodArray<z.ZodString>> =>
  z
    .array(z.string().regex(/^[A-Za-z_][\w.-]*=[ -~]*$/u))
    .default([])
    .describe(`swupdate: variables of the boot environment that ${what}`)
    .meta({ title: 'list of texts such as ["boot_slot=a"]' });

const SWUPDATE = {
  swupdate_socket: path
    .default('/tmp/sockinstctrl')
    .describe("swupdate: the daemon's control socket"),
  swupdate_timeout: duration('10m').describe(
    'swupdate: silence of the daemon after which it counts as hanging',
  ),
  swupdate_set: text(255).default('stable').describe('swupdate: software set of sw-description'),
  swupdate_mode_a: text(255).optional().describe('swupdate: mode of the set that writes slot a'),
  swupdate_mode_b: text(255).optional().describe('swupdate: mode of the set that writes slot b'),
  swupdate_devices_a: devices('a'),
  swupdate_devices_b: devices('b'),
  swupdate_booted_a: text(255)
    .optional()
    .describe('swupdate: word in booted_file that says that slot a runs'),
  swupdate_booted_b: text(255)
    .optional()
    .describe('swupdate: word in booted_file that says that slot b runs'),
  swupdate_fw_env: path
    .default('/etc/fw_env.config')
    .describe('swupdate: configuration of fw_printenv and fw_setenv'),
  swupdate_try_a: variables('boot slot a on trial'),
  swupdate_try_b: variables('boot slot b on trial'),
  swupdate_keep_a: variables('boot slot a and no other'),
  swupdate_keep_b: variables('boot slot b and no other'),
};

/** A name that is no option, and no path. */
const NAME = /^[A-Za-z0-9][\w.-]{0,63}$/u;

const OSTREE = {
  ostree_sysroot: path.default('/').describe('ostree: root of the system, with its ostree/repo'),
  ostree_os: z
    .string()
    .regex(NAME)
    .optional()
    .describe('ostree: name of the OS to deploy, as `ostree admin status` shows it')
    .meta({ title: 'name' }),
  ostree_url: url
    .optional()
    .describe('ostree: the OSTree repository. Unset: gateway.url with /treehub'),
  ostree_remote: z
    .string()
    .regex(NAME)
    .default('ota-agent')
    .describe('ostree: remote whose rules for signatures hold; made, without any, if it is missing')
    .meta({ title: 'name' }),
  ostree_kargs: z
    .array(z.string().regex(/^[^\s=]+(?:=\S*)?$/u))
    .default([])
    .describe('ostree: kernel arguments of new deployments, beside those of the running one')
    .meta({ title: 'list of texts such as "quiet" and "console=ttyS0"' }),
  ostree_finalize: z
    .enum(['now', 'shutdown'])
    .default('now')
    .describe('ostree: when a deployment is written; `shutdown` stages it, for the newest /etc'),
  ostree_max_pull: size('4GiB').describe('ostree: most bytes of one pull; more is an attack'),
  ostree_timeout: duration('30m').describe('ostree: longest run of one ostree command'),
};

/** What may be in an archive. */
const ARCHIVE = {
  max_unpacked: size('4GiB').describe(
    'directory, compose: content of an archive, unpacked, at most',
  ),
  max_entries: wholeNumber(1, 10_000_000)
    .default(100_000)
    .describe('directory, compose: files, directories and links in an archive, at most'),
  allow_setuid: z.boolean().default(false).describe('directory: files may be setuid or setgid'),
};

/** Programs of others. */
const TOOLS = {
  command: z
    .array(z.string())
    .min(1)
    .optional()
    .describe('command: program and arguments that install; see agent/INSTALLERS.md')
    .meta({ title: 'list of texts such as ["/usr/lib/my-installer"]' }),
  tool_timeout: duration('10m').describe('command, compose: time for one call of a program'),
  engine: z.enum(['podman', 'docker']).default('podman').describe('compose: what runs containers'),
  compose_command: z
    .array(z.string())
    .default([])
    .describe('compose: program and arguments; empty: podman-compose, or docker compose')
    .meta({ title: 'list of texts such as ["podman-compose"]' }),
  project: text(64)
    .regex(/^[a-z0-9][a-z0-9_-]*$/u)
    .default('ota-agent')
    .describe('compose: name of the project; its containers belong to the agent'),
  health_timeout: duration('1m').describe('compose: time to run, and to be healthy where checked'),
};

export const installerSettings = z
  .strictObject({
    type: z
      .enum(['file', 'directory', 'ab-slot', 'rauc', 'swupdate', 'ostree', 'compose', 'command'])
      .default('file')
      .describe('Where images run from'),
    path: path
      .optional()
      .describe('file: the file to replace; directory, compose: the symbolic link to what runs'),
    slot_a: path.optional().describe('ab-slot: block device or file of slot a'),
    slot_b: path.optional().describe('ab-slot: block device or file of slot b'),
    ...AB_SLOT,
    tries: wholeNumber(1, 16).default(3).describe('ab-slot: boots before falling back'),
    ...RAUC,
    ...SWUPDATE,
    ...OSTREE,
    ...ARCHIVE,
    ...TOOLS,
    reboot_command: z
      .array(z.string())
      .default([])
      .describe('Program and arguments the daemon reboots with; empty: somebody else reboots')
      .meta({ title: 'list of texts such as ["systemctl", "reboot"]' }),
  })
  .prefault({});
