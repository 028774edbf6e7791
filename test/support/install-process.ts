/** Steps of one installer in a process of their own, to be killed at a system call or at an instant. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import type { InstallerSettings } from '../../agent/config-installer.ts';
import type { Target, TrustedTarget } from '../../agent/uptane/plan.ts';
import { trust } from '../../agent/uptane/trust.ts';

export interface InstallRun {
  readonly settings: InstallerSettings;
  readonly target: TrustedTarget;
  readonly staged: string;
  readonly steps: readonly ('check' | 'write' | 'activate' | 'confirm' | 'rollBack')[];
  /** For strace, such as `fsync:signal=SIGKILL:when=3`: system calls of one thread, in order. */
  readonly inject?: string;
  /** Kills it then, with all that it started. */
  readonly killAfterMs?: number;
}

export interface InstallEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

const DRIVER = join(import.meta.dirname, 'install-driver.ts');
const NODE_COMPILE_CACHE = join(import.meta.dirname, '../.cache/compile');

/** Runs the steps to their end, or to the end that `inject` and `killAfterMs` give them. */
export async function runInstall(run: InstallRun): Promise<InstallEnd> {
  const { settings, target, staged, steps, inject, killAfterMs } = run;
  const hashes = [...target.hashes];
  const args = [JSON.stringify(settings), JSON.stringify({ ...target, hashes }), staged, ...steps];
  const command = [process.execPath, DRIVER, ...args];
  const call = inject?.slice(0, inject.indexOf(':')) ?? '';
  const trace = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e'];
  const [program = '', ...rest] =
    inject === undefined ? command : [...trace, `inject=${inject}`, ...command];
  // One thread makes all system calls, so that strace counts them in their order.
  const env = { ...process.env, NODE_COMPILE_CACHE, UV_THREADPOOL_SIZE: '1' };
  const child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'], env, detached: true });
  const timer = setTimeout(() => {
    process.kill(-(child.pid ?? 0), 'SIGKILL');
  }, killAfterMs ?? 60_000);
  const [stderr, [code, signal]] = await Promise.all([
    text(child.stderr),
    once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  clearTimeout(timer);
  return { code, signal, stderr };
}

/** The other direction, for the driver. */
export function targetFrom(json: string): TrustedTarget {
  const { hashes, ...rest } = JSON.parse(json) as Omit<Target, 'hashes'> & {
    readonly hashes: readonly (readonly [string, string])[];
  };
  return trust({ ...rest, hashes: new Map(hashes) });
}
