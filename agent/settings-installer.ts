/** Settings of the installers: which one, and what each needs. A new one adds its name and its keys. */
import { z } from 'zod';

import { duration, path, size, url, wholeNumber } from './setting-values.ts';

/** A name that is no option, and no path. */
const NAME = /^[A-Za-z0-9][\w.-]{0,63}$/u;

const ostreeSettings = {
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

export const installerSettings = z
  .strictObject({
    type: z.enum(['file', 'ab-slot', 'ostree']).default('file').describe('Where images run from'),
    path: path.optional().describe('file: the file to replace'),
    slot_a: path.optional().describe('ab-slot: block device or file of slot a'),
    slot_b: path.optional().describe('ab-slot: block device or file of slot b'),
    marker: path.optional().describe('ab-slot: active-slot marker read by the boot loader'),
    booted_file: path.optional().describe('ab-slot: file naming the slot that booted, a or b'),
    tries: wholeNumber(1, 16).default(3).describe('ab-slot: boots before falling back'),
    ...ostreeSettings,
    reboot_command: z
      .array(z.string())
      .default([])
      .describe('Program and arguments the daemon reboots with; empty: somebody else reboots')
      .meta({ title: 'list of texts such as ["systemctl", "reboot"]' }),
  })
  .prefault({});
