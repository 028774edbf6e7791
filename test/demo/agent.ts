/** The agent's commands, as a person would type them. */
import { once } from 'node:events';

import type { Device } from '../support/device.ts';
import { show } from './narration.ts';

/** Runs a command of the agent on this terminal and holds it to its exit code. */
export async function agent(device: Device, args: readonly string[], want: number): Promise<void> {
  show(`$ ota-agent ${args.join(' ')}`);
  const child = device.start(args, {}, 'inherit');
  const [exit] = (await once(child, 'close')) as [number | null];
  if (exit !== want) {
    throw new Error(`ota-agent ${args.join(' ')} ended with ${String(exit)}, not ${String(want)}`);
  }
  if (want !== 0) show(`exit code ${String(exit)}`);
}
