/** The process that tries a PKCS#11 library, and may be lost: without any library in this one. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { extname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

import { withoutPins } from './pin.ts';

const MAIN = join(import.meta.dirname, `probe-module-main${extname(import.meta.filename)}`);

export type Ended = readonly [status: number | null, signal: NodeJS.Signals | null];

/** A process that waits to be told which library to try. */
export interface Probe {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  /** Rejects if it could not be started. */
  readonly ended: Promise<Ended>;
}

/** Beforehand, where there is something else to do: it takes longer to start than to try a library. */
export function startProbe(): Probe {
  const child = spawn(process.execPath, [MAIN], {
    env: withoutPins(process.env),
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  // What is written to one that has gone; its end says more.
  child.stdin.on('error', () => undefined);
  const ended = once(child, 'close').then(([status, signal]): Ended => [
    status as Ended[0],
    signal as Ended[1],
  ]);
  ended.catch(() => undefined);
  return { child, ended };
}

/** Whether it was used or not. */
export function endProbe({ child }: Probe): void {
  // A call that hangs inside the kernel outlives even this, and must not keep us.
  child.kill('SIGKILL');
  child.unref();
  child.stdin.destroy();
  child.stdout.destroy();
}
