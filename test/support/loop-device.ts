/** Files as block devices. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { temporaryDirectory } from './temporary.ts';

const TRIES = 50;
const WAIT_MS = 200;

/**
 * Attaches `path`; whoever calls detaches it.
 *
 * There are few loop devices, and other tests use them too: it waits for one to be free.
 *
 * @returns the device, `/dev/loopN`
 */
export function attachLoop(path: string, ...options: readonly string[]): string {
  for (let left = TRIES; ; left -= 1) {
    try {
      const args = [...options, '-f', '--show', path];
      const device = execFileSync('losetup', args, { stdio: 'pipe' }).toString().trim();
      // A device that was attached read-only once stays so on some kernels.
      if (!options.includes('-r')) execFileSync('blockdev', ['--setrw', device]);
      return device;
    } catch (error) {
      if (left === 0) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS);
    }
  }
}

export function detachLoop(device: string): void {
  execFileSync('losetup', ['-d', device]);
}

let problem: string | undefined;
let isKnown = false;

/** Why there are no loop devices for us; `undefined` where there are. */
export function loopProblem(): string | undefined {
  if (isKnown) return problem;
  const directory = temporaryDirectory('loop');
  try {
    const path = join(directory.path, 'disk');
    writeFileSync(path, Buffer.alloc(1024 * 1024));
    if (process.geteuid?.() !== 0) problem = 'attaching loop devices needs root';
    else detachLoop(attachLoop(path));
  } catch (error) {
    problem = `there are no loop devices: ${String(error)}`;
  } finally {
    directory.remove();
  }
  isKnown = true;
  return problem;
}
