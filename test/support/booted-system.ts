/** A second system on this machine: its root file system as a copy-on-write layer, its own systemd. */
import {
  execFile,
  spawn,
  spawnSync,
  type ChildProcess,
  type ChildProcessWithoutNullStreams,
} from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Answer {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface BootedSystem {
  /** Its file system, seen from here. */
  readonly root: string;
  /** Directories, seen from here, below which everything is that was written in there. */
  readonly written: readonly string[];
  /** Starts a program in there as root; `stop` kills it. */
  start(...argv: readonly string[]): ChildProcessWithoutNullStreams;
  /** Runs a program in there as root. */
  run(program: string, ...args: readonly string[]): Promise<Answer>;
  write(path: string, content: string | Uint8Array, mode?: number): void;
  stop(): Promise<void>;
}

export interface SystemFile {
  readonly path: string;
  readonly text: string;
  readonly mode?: number;
}

export interface SystemOptions {
  /** Loopback and nothing else: ports are its own. By default the network is this machine's. */
  readonly privateNetwork?: boolean;
  /** Directories of this machine that are seen in there too; what is written in there is forgotten. */
  readonly directories?: readonly string[];
}

const ABILITIES = ['overlay', 'systemd-nspawn', 'nsenter'];

/** @returns why this machine cannot do it, or `undefined` if it probably can */
export function whyNotBootable(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can boot a second system';
  const filesystems = readFileSync('/proc/filesystems', 'utf8');
  if (!filesystems.includes(`\t${ABILITIES[0] ?? ''}\n`)) return 'this kernel has no overlay';
  for (const program of ABILITIES.slice(1)) {
    const { error } = spawnSync(program, ['--version']);
    if (error !== undefined) return `${program} is not installed`;
  }
  // A chroot, as some build machines are, may have root and yet no user namespaces.
  if (spawnSync('unshare', ['--user', 'true']).status !== 0) return 'no user namespaces here';
  return undefined;
}

/** Only what every boot needs: this machine's own services stay out of it. */
const TARGET = `[Unit]
Requires=basic.target
After=basic.target
AllowIsolate=yes
`;

const BOOT_TIMEOUT_MS = 60_000;

/**
 * Boots a layer laid over this machine's root file system. Nothing on this machine changes: the layer
 * and all writes are in memory.
 *
 * @param install - fills the layer, given its root directory
 * @returns the system, or the reason why this machine does not let it boot
 */
export async function bootSystem(
  install: (layer: string) => Promise<unknown>,
  files: readonly SystemFile[],
  options: SystemOptions = {},
): Promise<BootedSystem | string> {
  const base = mkdtempSync(join(tmpdir(), 'ota-agent-system-'));
  const [layer, upper, work, root] = ['layer', 'upper', 'work', 'root'].map((name) =>
    join(base, name),
  ) as [string, string, string, string];
  const remove = (): void => {
    spawnSync('umount', ['--recursive', base]);
    rmSync(base, { recursive: true });
  };
  const refuse = (why: string): string => {
    remove();
    return why;
  };
  // Not on the disk: a layer may not lie below another one, and the other one is `/`.
  const inMemory = mount('-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', base);
  if (inMemory !== undefined) return refuse(inMemory);
  for (const path of [layer, upper, work, root]) mkdirSync(path);
  await install(layer);
  const layers = `lowerdir=${layer}:/,upperdir=${upper},workdir=${work}`;
  const overlaid = mount('-t', 'overlay', '-o', layers, 'overlay', root);
  if (overlaid !== undefined) return refuse(overlaid);

  const write = (path: string, content: string | Uint8Array, mode = 0o644): void => {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    chmodSync(file, mode);
  };
  // An agent of this machine has its own state and configuration.
  for (const path of ['var/lib/ota-agent', 'etc/ota-agent']) {
    rmSync(join(root, path), { recursive: true, force: true });
  }
  write('/etc/machine-id', '');
  write('/etc/systemd/system/ota-test.target', TARGET);
  for (const { path, text, mode } of files) write(path, text, mode);

  const machine = startMachine(root, options);
  const leader = await reachTarget(machine);
  const started: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    // The shutdown in there stops every process before it kills them, and nsenter stops with its own.
    for (const child of started) child.kill('SIGKILL');
    await stopMachine(machine);
    remove();
  };
  if (leader !== undefined) {
    const seen = `/proc/${leader}/root`;
    return {
      root: seen,
      written: [upper, ...['run', 'tmp', 'dev/shm'].map((path) => join(seen, path))],
      start: (...argv) => {
        const child = spawn('nsenter', [...inside(leader), ...argv], { env: ENVIRONMENT });
        started.push(child);
        return child;
      },
      run: (...argv) => enter(leader, argv),
      write,
      stop,
    };
  }
  await stop();
  return `systemd-nspawn does not boot here: ${machine.said().trim().slice(-300)}`;
}

/** @returns why not */
function mount(...args: readonly string[]): string | undefined {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
  return status === 0 ? undefined : stderr.trim();
}

interface Machine {
  readonly process: ChildProcess;
  said(): string;
}

function startMachine(root: string, options: SystemOptions): Machine {
  const name = `--machine=ota-agent-test-${String(process.pid)}`;
  const flags = ['--register=no', '--keep-unit', '--boot', '--quiet', name];
  if (options.privateNetwork === true) flags.push('--private-network');
  for (const path of options.directories ?? []) flags.push(`--overlay=${path}::${path}`);
  const machine = spawn(
    'systemd-nspawn',
    [`--directory=${root}`, ...flags, 'systemd.unit=ota-test.target'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  machine.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  machine.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return { process: machine, said: () => said };
}

async function stopMachine({ process }: Machine): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return;
  const exited = once(process, 'exit');
  process.kill('SIGTERM');
  const timer = setTimeout(() => process.kill('SIGKILL'), 20_000);
  await exited;
  clearTimeout(timer);
}

/** @returns the process id, here, of the init process in there */
async function reachTarget({ process }: Machine): Promise<string | undefined> {
  const deadline = performance.now() + BOOT_TIMEOUT_MS;
  while (process.exitCode === null && performance.now() < deadline) {
    const leader = firstChild(process.pid);
    const question = ['systemctl', 'is-active', 'ota-test.target'];
    if (leader !== undefined && (await enter(leader, question)).exit === 0) return leader;
    await sleep(100);
  }
  return undefined;
}

function firstChild(pid: number | undefined): string | undefined {
  const id = String(pid);
  const children = readFileSync(`/proc/${id}/task/${id}/children`, 'utf8');
  return children.split(' ').find((child) => child !== '');
}

const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

function inside(leader: string): readonly string[] {
  return ['-t', leader, '-m', '-p', '-u', '-i', '-n', '-r', '-w', '--'];
}

function enter(leader: string, argv: readonly string[]): Promise<Answer> {
  const options = { timeout: 60_000, env: ENVIRONMENT, maxBuffer: 64 * 1024 * 1024 };
  return new Promise((resolve) => {
    const child = execFile(
      'nsenter',
      [...inside(leader), ...argv],
      options,
      (error, stdout, stderr) => {
        const exit = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ exit, stdout, stderr });
      },
    );
    child.stdin?.end();
  });
}
