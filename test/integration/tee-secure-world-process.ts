/** The secure world as a process of its own, for tests. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { moreTeeArguments } from '../support/tee.ts';

const MAIN = join(import.meta.dirname, '../tee/secure-world/main.ts');
/** A world that says nothing for this long is not going to. */
const START_TIMEOUT_MS = 20_000;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

export class SecureWorld {
  readonly process: ChildProcess;
  readonly readyLine: string;
  readonly #ended: Promise<Ended>;

  private constructor(process: ChildProcess, readyLine: string, ended: Promise<Ended>) {
    this.process = process;
    this.readyLine = readyLine;
    this.#ended = ended;
  }

  /** @throws Error with what it said when it ends instead of getting ready */
  static async start(...args: readonly string[]): Promise<SecureWorld> {
    const child = spawnMain(args);
    const ended = endOf(child);
    const lines = createInterface({ input: child.stdout });
    const ready = once(lines, 'line', { signal: AbortSignal.timeout(START_TIMEOUT_MS) });
    const failed = ended.then(({ stderr }) => {
      throw new Error(`the secure world ended: ${stderr}`);
    });
    const [line] = (await Promise.race([ready, failed])) as [string];
    failed.catch(() => undefined);
    return new SecureWorld(child, line, ended);
  }

  /** Resolves when it has ended, by itself or by others. */
  get ended(): Promise<Ended> {
    return this.#ended;
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.process.kill(signal);
    return this.#ended;
  }
}

/** Runs the secure world with arguments that it does not accept. */
export async function runToEnd(...args: readonly string[]): Promise<Ended> {
  return endOf(spawnMain(args));
}

function spawnMain(args: readonly string[]) {
  const env = { ...process.env };
  delete env['OTA_TEE_SOCKET'];
  return spawn(process.execPath, [MAIN, ...moreTeeArguments(), ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function endOf(child: ReturnType<typeof spawnMain>): Promise<Ended> {
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, stderr };
}
