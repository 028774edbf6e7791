/** What the isolation tests do, each in a process of its own. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';

import { UPTANE_KEY } from '../../agent/io/token/cryptoki.ts';
import { initialiseToken, initialiseUserPin } from '../../agent/io/token/initialise.ts';
import { generateKey } from '../../agent/io/token/keys.ts';
import { openModule, privateDirectory } from '../../agent/io/token/module.ts';
import { probeModule } from '../../agent/io/token/probe-module.ts';
import { signInToken } from '../../agent/io/token/sign.ts';
import { openToken, type TokenSettings } from '../../agent/io/token/token.ts';

interface Args {
  readonly settings: TokenSettings;
}

export function prepare({ settings }: Args): void {
  initialiseToken(settings, process.env);
  initialiseUserPin(settings, process.env);
  generateKey(openToken(settings, 'read-write', process.env), UPTANE_KEY, 'rsa-2048');
}

export function lookAround({ settings }: Args): unknown {
  openModule(settings);
  return {
    mapsLibrary: maps(process.pid, settings.module),
    serverMapsLibrary: remotes().some((pid) => maps(pid, settings.module)),
    directoryMode: statSync(privateDirectory(settings) ?? '/').mode & 0o777,
  };
}

/** @param victim - `remote`: the library, as from a fault of its own; `server`: who would start it again */
export async function signAfterCrash({
  settings,
  victim,
}: Args & { victim: string }): Promise<unknown> {
  const token = openToken(settings, 'read-only', process.env);
  const signatures: number[] = [];
  const servers: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    signatures.push(
      signInToken(token, UPTANE_KEY, 'rsassa-pss-sha256', Buffer.from('manifest')).length,
    );
    const serving = remotes();
    servers.push(...serving);
    const parents = victim === 'server' ? serving.map((pid) => Number(statOf(pid)[1])) : [];
    const victims = [...parents, ...serving];
    for (const pid of victims) process.kill(pid, 'SIGSEGV');
    await gone(victims);
  }
  return { signatures, servers };
}

/** What there is of the PIN while libp11 reads it, and afterwards. */
export function lendPin({ settings }: Args): unknown {
  const token = openToken(settings, 'read-only', process.env);
  const during = token.withPinFile((path = '/') => ({
    mode: statSync(path).mode & 0o777,
    text: readFileSync(path, 'utf8'),
  }));
  return { ...during, after: readdirSync(privateDirectory(settings) ?? '/').includes('pin') };
}

/** As the agent starts: another process tries the library, then this one uses it. */
export async function probeAndLoad({ settings }: Args): Promise<void> {
  await probeModule(settings, 2000);
  openModule(settings);
}

/** Stays until somebody ends it. */
export async function stay({ settings }: Args): Promise<void> {
  openToken(settings, 'read-only', process.env);
  const directory = privateDirectory(settings);
  const [remote = 0] = remotes();
  const group = Number(statOf(remote)[2]);
  process.stdout.write(JSON.stringify({ group, directory }));
  await new Promise((resolve) => setTimeout(resolve, 60_000));
}

function maps(pid: number, library: string): boolean {
  return readFileSync(`/proc/${String(pid)}/maps`, 'utf8').includes(basename(library));
}

/** Processes of p11-kit-remote that descend from this one. */
function remotes(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/u.test(name))
    .map(Number)
    .filter((pid) => statOf(pid)[0] !== 'Z' && commandOf(pid) === 'p11-kit-remote')
    .filter((pid) => isBelow(pid));
}

function isBelow(pid: number): boolean {
  if (pid <= 1) return false;
  return pid === process.pid || isBelow(Number(statOf(pid)[1]));
}

function commandOf(pid: number): string {
  return basename(read(`/proc/${String(pid)}/cmdline`).split('\0')[0] ?? '');
}

/** From the state on (proc(5)): state, parent, group. */
function statOf(pid: number): string[] {
  return read(`/proc/${String(pid)}/stat`)
    .replace(/^.*\) /su, '')
    .split(' ');
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

async function gone(pids: readonly number[]): Promise<void> {
  for (let waitedMs = 0; waitedMs < 5000; waitedMs += 10) {
    if (pids.every((pid) => !['R', 'S', 'D'].includes(statOf(pid)[0] ?? ''))) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
