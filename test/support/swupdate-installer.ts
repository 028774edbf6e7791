/** The swupdate installer on a board of the tests. */
import { join } from 'node:path';

import { BootVariables } from '../../agent/io/installers/swupdate/boot-variables.ts';
import { SwupdateInstaller } from '../../agent/io/installers/swupdate/installer.ts';
import { BOOTED, KEEP, TRY, type SwupdateBoard } from './swupdate-board.ts';

export const MODES = { a: 'copy-a', b: 'copy-b' } as const;

/** Where each mode of a .swu for `board` writes. */
export function devicesOf(board: SwupdateBoard): Record<string, string> {
  return { [MODES.a]: board.slots.a, [MODES.b]: board.slots.b };
}

export function installerOn(
  board: SwupdateBoard,
  changes: { readonly quietMs?: number; readonly softwareSet?: string } = {},
): SwupdateInstaller {
  const quietMs = changes.quietMs ?? 10_000;
  const scriptPath = join(board.directory, 'fw_setenv.script');
  const slot = (name: 'a' | 'b') => ({
    mode: MODES[name],
    devices: [board.slots[name]],
    bootedWord: BOOTED[name],
  });
  return new SwupdateInstaller({
    daemon: { socketPath: board.socketPath, answerMs: Math.min(quietMs, 5000), quietMs },
    softwareSet: changes.softwareSet ?? 'stable',
    slots: { a: slot('a'), b: slot('b') },
    bootedPath: board.cmdline,
    recordPath: join(board.directory, 'slots'),
    boot: new BootVariables(board.fwEnv, scriptPath, {
      a: { attempt: assigned(TRY.a), keep: assigned(KEEP.a) },
      b: { attempt: assigned(TRY.b), keep: assigned(KEEP.b) },
    }),
  });
}

function assigned(list: readonly string[]): ReadonlyMap<string, string> {
  return new Map(list.map((one) => one.split('=') as [string, string]));
}
