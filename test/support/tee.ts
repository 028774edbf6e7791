/** The emulated TEE for tests: its secure world as a child process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import { endChild } from './end-child.ts';

export interface Tee {
  readonly socket: string;
  readonly storage: string;
  readonly pid: number;
  /** PKCS#11 module and environment for whoever uses the token. */
  readonly module: string;
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const TEE = join(import.meta.dirname, '..', 'tee');

/** What every secure world of a test run is given besides, such as `--rpmb --private rpmb`. */
export function moreTeeArguments(): readonly string[] {
  const given = process.env['OTA_TEE_TEST_ARGUMENTS'] ?? '';
  return given.split(' ').filter((argument) => argument !== '');
}

/** Starts a secure world of its own under `directory` and waits until it serves. */
export async function startTee(directory: string, ...more: readonly string[]): Promise<Tee> {
  return start(directory, more, 'here');
}

/** Out of reach of Ctrl-C, for whoever still needs the token then, and ends it afterwards. */
export async function startTeeApart(directory: string): Promise<Tee> {
  return start(directory, [], 'apart');
}

async function start(
  directory: string,
  more: readonly string[],
  place: 'here' | 'apart',
): Promise<Tee> {
  const socket = join(directory, 'tee.sock');
  const storage = join(directory, 'tee');
  const main = join(TEE, 'secure-world', 'main.ts');
  const args = ['--storage', storage, '--socket', socket, ...moreTeeArguments(), ...more];
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: place === 'apart',
  });
  const [ready] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])) as [
    unknown,
  ];
  if (!Buffer.isBuffer(ready) || child.pid === undefined) {
    throw new Error(`the secure world did not start: ${String(ready)}`);
  }
  return {
    socket,
    storage,
    pid: child.pid,
    module: join(TEE, 'build', 'libtee-cryptoki.so'),
    env: { OTA_TEE_SOCKET: socket },
    stop: () => endChild(child, 'SIGTERM'),
  };
}
