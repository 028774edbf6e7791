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

type Env = Readonly<Record<string, string>>;

/** Hundreds of short processes run the same files; compiling them is half of their time. */
const NODE_COMPILE_CACHE = join(import.meta.dirname, '../.cache/compile');

/**
 * @param module - absolute path of the file that exports `name`
 * @param args - passed on as one JSON value
 */
export async function inChild(
  module: string,
  name: string,
  args: unknown,
  env: Env,
): Promise<Outcome> {
  const child = start([module, name, args], env);
  const { outcome, output, ended } = await result(child);
  if (outcome !== undefined) return { details: {}, ...outcome, output };
  throw new Error(`${name} ended with ${ended} and said nothing: ${output}`);
}

/**
 * Ends the process `delayMs` after it has sent the message `begun`, as a power cut would.
 *
 * @returns whether it was still running then
 */
export async function killInChild(
  call: readonly [module: string, name: string, args: unknown],
  env: Env,
  delayMs: number,
): Promise<'killed' | 'finished'> {
  const child = start(call, env);
  child.on('message', (message) => {
    if (message === 'begun') setTimeout(() => child.kill('SIGKILL'), delayMs);
  });
  const { ended } = await result(child);
  return ended === 'SIGKILL' ? 'killed' : 'finished';
}

/**
 * Ends the process as soon as something can be seen from outside, as a power cut then would.
 *
 * @param delayMs - how much later
 */
export async function killInChildWhen(
  call: readonly [module: string, name: string, args: unknown],
  env: Env,
  isTime: () => boolean,
  delayMs: number,
): Promise<'killed' | 'finished'> {
  const child = start(call, env);
  const watch = setInterval(() => {
    if (!isTime()) return;
    clearInterval(watch);
    setTimeout(() => child.kill('SIGKILL'), delayMs);
  }, 1);
  const { ended } = await result(child);
  clearInterval(watch);
  return ended === 'SIGKILL' ? 'killed' : 'finished';
}

type Child = ReturnType<typeof fork>;

function start([module, name, args]: readonly [string, string, unknown], env: Env): Child {
  const runner = join(import.meta.dirname, 'child-main.ts');
  return fork(runner, [module, name, JSON.stringify(args ?? null)], {
    env: { NODE_COMPILE_CACHE, ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    timeout: 60_000,
  });
}

async function result(
  child: Child,
): Promise<{ outcome: object | undefined; output: string; ended: string }> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  let outcome: object | undefined;
  child.on('message', (message) => {
    if (typeof message === 'object') outcome = message;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { outcome, output, ended: signal ?? String(code) };
}
