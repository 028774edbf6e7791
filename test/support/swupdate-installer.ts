/** The swupdate installer on a board of the tests. */
import { join } from 'node:path';

import { BootVariables } from '../../agent/io/installers/swupdate/boot-variables.ts';
import { SwupdateInstaller } from '../../agent/io/installers/swupdate/installer.ts';
import type { SlotSettings } from '../../agent/io/installers/swupdate/which-slot.ts';
import { BOOTED, KEEP, TRY, type SwupdateBoard } from './swupdate-board.ts';

export const MODES = { a: 'copy-a', b: 'copy-b' } as const;

/** Where each mode of a .swu for `board` writes. */
export function devicesOf(board: SwupdateBoard): Record<string, string> {
  return { [MODES.a]: board.slots.a, [MODES.b]: board.slots.b };
}

export interface InstallerChanges {
  readonly quietMs?: number;
  readonly softwareSet?: string;
  readonly recordPath?: string;
  /** One more that each choice of a slot sets, to always the same. */
  readonly variable?: { readonly name: string; readonly value: string };
}

export function installerOn(
  board: SwupdateBoard,
  changes: InstallerChanges = {},
): SwupdateInstaller {
  const { quietMs = 10_000, softwareSet = 'stable', variable } = changes;
  const scriptPath = join(board.directory, 'fw_setenv.script');
  const more = variable === undefined ? [] : [`${variable.name}=${variable.value}`];
  const slot = (name: 'a' | 'b'): SlotSettings => ({
    mode: MODES[name],
    devices: [board.slots[name]],
    bootedWord: BOOTED[name],
  });
  return new SwupdateInstaller({
    daemon: { socketPath: board.socketPath, answerMs: Math.min(quietMs, 5000), quietMs },
    softwareSet,
    slots: { a: slot('a'), b: slot('b') },
    bootedPath: board.cmdline,
    recordPath: changes.recordPath ?? join(board.directory, 'slots'),
    boot: new BootVariables(board.fwEnv, scriptPath, {
      a: { attempt: assigned([...TRY.a, ...more]), keep: assigned([...KEEP.a, ...more]) },
      b: { attempt: assigned([...TRY.b, ...more]), keep: assigned([...KEEP.b, ...more]) },
    }),
  });
}

function assigned(list: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    list.map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)]),
  );
}
