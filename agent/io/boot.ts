/** The Boot port: which boot this is, and how to ask for the next one. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { promisify } from 'node:util';

import { causeOf, OtaError } from '../errors.ts';
import type { Boot } from '../ports.ts';

const REBOOT_TIMEOUT_MS = 60_000;

/**
 * What `reboot` of it throws is INSTALL_FAILED: the image is there, and waits.
 *
 * @param command - program and arguments that start a reboot; empty when a person does it
 * @throws OtaError FILE_UNREADABLE without a boot id nothing can tell a reboot from a restart
 */
export async function openBoot(bootIdPath: string, command: readonly string[]): Promise<Boot> {
  const [program, ...args] = command;
  return {
    bootId: await readBootId(bootIdPath),
    uptimeMs: () => Math.round(uptime() * 1000),
    reboot: async () => {
      if (program === undefined) return;
      try {
        await promisify(execFile)(program, args, { timeout: REBOOT_TIMEOUT_MS });
      } catch (error) {
        const cause = `${program} of installer.reboot_command ${endOf(error)}`;
        throw new OtaError('INSTALL_FAILED', { installer: 'reboot', ecu: '-', cause });
      }
    },
  };
}

/** Without what Node.js says of it, which has all arguments: they are the operator's. */
function endOf(error: unknown): string {
  const { code, stderr } = error as { readonly code?: string | number; readonly stderr?: string };
  if (typeof code === 'string') return `cannot be run: ${code}`;
  const said = (stderr ?? '').trim().split('\n').at(-1) ?? '';
  return `ended with ${String(code ?? 'a signal')}: ${said}`;
}

async function readBootId(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    const remedy = 'set boot.boot_id_file to a file whose content changes at every boot';
    const what = 'the boot id';
    throw new OtaError(
      'FILE_UNREADABLE',
      { path, what, cause: causeOf(error), remedy },
      { cause: error },
    );
  }
}
