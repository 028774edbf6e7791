/** One step of the installer in a process of its own, to be killed or to meet what root can make. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { download, ignore, openAbSlot } from './ab-slot.ts';
import { targetFor } from './targets.ts';

export interface StepOptions {
  readonly directory: string;
  /** What the device has to do. */
  readonly steps: readonly ('receive' | 'prove' | 'activate' | 'confirm')[];
  /** How long the download takes at least, so that there is something to interrupt. */
  readonly pauseMs: number;
  /** Whether a thread hashes. */
  readonly inThread: boolean;
}

export const CHECKPOINT_BYTES = 512 * 1024;

/** @returns the offsets at which the download was opened */
export async function runSteps(options: StepOptions): Promise<number[]> {
  const { directory, steps, pauseMs, inThread } = options;
  const at = (name: string): string => join(directory, name);
  const content = readFileSync(at('update'));
  const target = targetFor(content);
  const slots = { a: at('slot-a'), b: at('slot-b') };
  const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
  const installer = openAbSlot(slots, board, {
    checkpointBytes: CHECKPOINT_BYTES,
    threadFromBytes: inThread ? 0 : Infinity,
  });
  const offsets: number[] = [];
  const chunks = content.byteLength / (16 * 1024);
  const slowly = async function* (offset: number): AsyncGenerator<Uint8Array> {
    offsets.push(offset);
    let sent = 0;
    for await (const chunk of download(content, offset)) {
      sent += 1;
      if (sent % Math.ceil(chunks / 20) === 0) await setTimeout(pauseMs / 20);
      yield chunk;
    }
  };
  process.send?.('begun');
  for (const step of steps) {
    if (step === 'receive') await installer.receive(target, slowly, ignore);
    if (step === 'prove') await installer.prove(target, ignore);
    if (step === 'activate') await installer.activate(target);
    if (step === 'confirm') await installer.confirm(target);
  }
  return offsets;
}
