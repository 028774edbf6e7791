/** Settings of the installers: which one, and what each needs. A new one adds its name and its keys. */
import { z } from 'zod';

import { duration, path, size, text, wholeNumber } from './setting-values.ts';

export const installerSettings = z
  .strictObject({
    type: z
      .enum(['file', 'directory', 'ab-slot', 'command', 'compose'])
      .default('file')
      .describe('Where images run from'),
    path: path
      .optional()
      .describe('file: the file to replace; directory, compose: the symbolic link to what runs'),
    max_unpacked: size('4GiB').describe(
      'directory, compose: content of an archive, unpacked, at most',
    ),
    max_entries: wholeNumber(1, 10_000_000)
      .default(100_000)
      .describe('directory, compose: files, directories and links in an archive, at most'),
    allow_setuid: z.boolean().default(false).describe('directory: files may be setuid or setgid'),
    slot_a: path.optional().describe('ab-slot: block device or file of slot a'),
    slot_b: path.optional().describe('ab-slot: block device or file of slot b'),
    marker: path.optional().describe('ab-slot: active-slot marker read by the boot loader'),
    booted_file: path.optional().describe('ab-slot: file naming the slot that booted, a or b'),
    tries: wholeNumber(1, 16).default(3).describe('ab-slot: boots before falling back'),
    command: z
      .array(z.string())
      .min(1)
      .optional()
      .describe('command: program and arguments that install; see agent/INSTALLERS.md')
      .meta({ title: 'list of texts such as ["/usr/lib/my-installer"]' }),
    tool_timeout: duration('10m').describe('command, compose: time for one call of a program'),
    engine: z
      .enum(['podman', 'docker'])
      .default('podman')
      .describe('compose: what runs containers'),
    compose_command: z
      .array(z.string())
      .default([])
      .describe('compose: program and arguments; empty: podman-compose, or docker compose')
      .meta({ title: 'list of texts such as ["podman-compose"]' }),
    project: text(64)
      .regex(/^[a-z0-9][a-z0-9_-]*$/u)
      .default('ota-agent')
      .describe('compose: name of the project; its containers belong to the agent'),
    health_timeout: duration('1m').describe(
      'compose: time to run, and to be healthy where checked',
    ),
    reboot_command: z
      .array(z.string())
      .default([])
      .describe('Program and arguments the daemon reboots with; empty: somebody else reboots')
      .meta({ title: 'list of texts such as ["systemctl", "reboot"]' }),
  })
  .prefault({});
