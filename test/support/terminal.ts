/** A program as in a terminal window: a group of processes that Ctrl-C ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export interface Terminal {
  /** What it has printed so far, errors too. */
  readonly output: () => string;
  /** Waits for a line that it prints. @throws Error with its output when it ends without */
  line(pattern: RegExp): Promise<string>;
  /** Its exit code once it has ended; `null` when a signal ended it. */
  readonly ended: Promise<number | null>;
  /** Ctrl-C; waits until everything in the terminal has ended. */
  interrupt(): Promise<void>;
}

const CHECKOUT = join(import.meta.dirname, '..', '..');

/** Runs a script of `package.json`. */
export function typeNpmRun(script: string, ...args: readonly string[]): Terminal {
  const child = spawn('npm', ['run', '--silent', script, '--', ...args], {
    cwd: CHECKOUT,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const ended = once(child, 'close').then(([exit]) => exit as number | null);
  let output = '';
  let hasEnded = false;
  const heard = new Set<() => void>();
  const tell = (): void => {
    for (const listener of heard) listener();
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      tell();
    });
  }
  child.once('close', () => {
    hasEnded = true;
    tell();
  });
  return {
    output: () => output,
    ended,
    line: async (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          // The last line may be incomplete.
          const found = output
            .split('\n')
            .slice(0, -1)
            .find((one) => pattern.test(one));
          if (found === undefined && !hasEnded) return;
          heard.delete(look);
          if (found === undefined) reject(new Error(`${script} has ended:\n${output}`));
          else resolve(found);
        };
        heard.add(look);
        look();
      }),
    interrupt: async () => {
      if (!hasEnded && child.pid !== undefined) process.kill(-child.pid, 'SIGINT');
      await ended;
    },
  };
}
