/**
 * Runs a function in a process of its own: Cryptoki's state and OpenSSL's engines belong to a process,
 * and a test must not see what an earlier one left there.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** What became of the function: its value, or the failure it ended with. */
export interface Outcome {
  readonly value?: unknown;
  readonly code?: string;
  readonly details: Readonly<Record<string, unknown>>;
  /** The failure with its whole cause chain, as a log would show it. */
  readonly text?: string;
  /** Everything the process wrote, by itself or through a C library. */
  readonly output: string;
}

/**
 * @param module - absolute path of the file that exports `name`
 * @param args - passed on as one JSON value
 */
export async function inChild(
  module: string,
  name: string,
  args: unknown,
  env: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const runner = join(import.meta.dirname, 'child-main.ts');
  const child = fork(runner, [module, name, JSON.stringify(args ?? null)], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    timeout: 60_000,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  let outcome: object | undefined;
  child.on('message', (message: object) => {
    outcome = message;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (outcome === undefined) {
    throw new Error(`${name} ended with ${String(signal ?? code)} and said nothing: ${output}`);
  }
  return { details: {}, ...outcome, output };
}
