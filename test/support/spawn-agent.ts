/** `ota-agent` as a process: arguments in, exit code and what it wrote out. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '../../agent/main.ts');
const NODE_COMPILE_CACHE = join(import.meta.dirname, '../.cache/compile');

export interface Spawned {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Ends within a minute, one way or the other. */
export function spawnAgent(args: readonly string[]): Promise<Spawned> {
  const env = { ...process.env, NODE_COMPILE_CACHE };
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [MAIN, ...args],
      { env, timeout: 60_000 },
      (error, stdout, stderr) => {
        const exit = error === null ? 0 : error.code;
        if (typeof exit === 'number') resolve({ exit, stdout, stderr });
        else reject(new Error(`ota-agent ${args.join(' ')}: ${String(error?.message)}`));
      },
    );
  });
}
