/** Who is in the fleet: ids and hardware, and on whom the new image fails. */
import { createHash } from 'node:crypto';

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

/** On whom the new image fails, in percent. */
interface Failures {
  readonly failPercent: number;
  /** By hardware. */
  readonly failOn: ReadonlyMap<string, number>;
}

/** @param tokenDevices - how many have their key in the token: the first ones */
export function memberAt(at: number, { tokenDevices }: { readonly tokenDevices: number }): Member {
  const id = `fleet-${String(at).padStart(6, '0')}`;
  const key = at < tokenDevices ? 'token' : 'memory';
  return { id, serial: `${id}-primary`, hardwareId: hardwareOf(id), key };
}

/** Always the same for the same device and image: an image that is bad for a board stays so. */
export function isBadFor(
  { id, hardwareId }: Pick<Member, 'id' | 'hardwareId'>,
  image: string,
  { failPercent, failOn }: Failures,
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
