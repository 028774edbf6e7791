/**
 * A TPM 2.0 for tests: swtpm, and a resource manager before it as the kernel has one in /dev/tpmrm0. Without
 * it, what a process that was killed had loaded would stay in the TPM, which holds three objects.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { endChild } from './end-child.ts';

export interface Tpm {
  /** For tpm2-pkcs11 and for tpm2-tools. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const START_MS = 20_000;

/** Starts a TPM of its own under `directory`: Unix sockets only, and a D-Bus that nobody else is on. */
export async function startTpm(directory: string): Promise<Tpm> {
  const at = (name: string): string => join(directory, name);
  mkdirSync(at('tpm-state'), { recursive: true });
  const children: ChildProcess[] = [];
  const env = {
    DBUS_SESSION_BUS_ADDRESS: `unix:path=${at('bus')}`,
    TSS2_LOG: 'all+NONE',
  };
  const start = (program: string, ...args: readonly string[]): void => {
    children.push(spawn(program, args, { stdio: 'ignore', env: { ...process.env, ...env } }));
  };
  start(
    'swtpm',
    'socket',
    '--tpm2',
    ...['--tpmstate', `dir=${at('tpm-state')}`],
    ...['--server', `type=unixio,path=${at('swtpm')}`],
    ...['--ctrl', `type=unixio,path=${at('swtpm.ctrl')}`],
    ...['--flags', 'not-need-init,startup-clear'],
  );
  start('dbus-daemon', '--session', `--address=${env.DBUS_SESSION_BUS_ADDRESS}`, '--nofork');
  await until(() => ['swtpm', 'swtpm.ctrl', 'bus'].every((name) => existsSync(at(name))));
  const bus = 'com.example.OtaAgentTest';
  start(
    'tpm2-abrmd',
    ...['--allow-root', '--session', `--dbus-name=${bus}`],
    `--tcti=swtpm:path=${at('swtpm')}`,
  );
  const tcti = `tabrmd:bus_type=session,bus_name=${bus}`;
  const all = { ...env, TPM2_PKCS11_TCTI: tcti, TPM2TOOLS_TCTI: tcti };
  await until(() => answers(all));
  return {
    env: all,
    stop: async () => {
      for (const child of children.reverse()) await endChild(child, 'SIGKILL');
    },
  };
}

function answers(env: Readonly<Record<string, string>>): boolean {
  try {
    execFileSync('tpm2_getrandom', ['1'], { stdio: 'ignore', env: { ...process.env, ...env } });
    return true;
  } catch {
    return false;
  }
}

async function until(holds: () => boolean): Promise<void> {
  for (const deadline = Date.now() + START_MS; Date.now() < deadline;) {
    if (holds()) return;
    await setTimeout(20);
  }
  throw new Error('the TPM did not start');
}
