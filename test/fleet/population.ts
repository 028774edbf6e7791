/** Who is in the fleet: ids and hardware, and on whom the new image fails. */
import { createHash } from 'node:crypto';

import type { Arguments } from './arguments.ts';

/** Which hardware there is, and how much of the fleet has it. */
const HARDWARE: readonly (readonly [string, number])[] = [
  ['board-a', 0.6],
  ['board-b', 0.3],
  ['board-c', 0.1],
];
export const HARDWARE_IDS = HARDWARE.map(([id]) => id);

export interface Member {
  readonly id: string;
  readonly serial: string;
  readonly hardwareId: string;
  readonly key: 'token' | 'memory';
}

export function memberAt(at: number, { tokenDevices }: Pick<Arguments, 'tokenDevices'>): Member {
  const id = `fleet-${String(at).padStart(6, '0')}`;
  const key = at < tokenDevices ? 'token' : 'memory';
  return { id, serial: `${id}-primary`, hardwareId: hardwareOf(id), key };
}

/** Always the same for the same device and image: an image that is bad for a board stays so. */
export function isBadFor(
  { id, hardwareId }: Pick<Member, 'id' | 'hardwareId'>,
  image: string,
  { failPercent, failOn }: Pick<Arguments, 'failPercent' | 'failOn'>,
): boolean {
  return chance(`${id} ${image}`) * 100 < (failOn.get(hardwareId) ?? failPercent);
}

function hardwareOf(id: string): string {
  let left = chance(`${id} hardware`);
  const found = HARDWARE.find(([, share]) => {
    left -= share;
    return left < 0;
  });
  return (found ?? HARDWARE[0] ?? [''])[0];
}

/** From 0 to 1. */
function chance(of: string): number {
  return createHash('sha256').update(of).digest().readUInt32BE() / 2 ** 32;
}
