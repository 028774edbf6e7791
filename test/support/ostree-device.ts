/**
 * A device that booted from an OSTree deployment, in a directory.
 *
 * What its boot loader and initramfs do is done by hand: the newest entry below `boot/loader` names a
 * deployment, and that becomes `/` of a mount namespace. In there `ostree admin` finds itself booted
 * as on a real device, because it compares `/` with its deployments. Nothing of ostree is replaced.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';

import { endChild } from './end-child.ts';
import { OS, OSTREE, ostree, type OstreeRepo } from './ostree-repo.ts';

/** Ends with its standard input, so that it does not outlive the test. */
const BOOT = `set -e
mount --bind "$ROOT" "$NEW"
mount --bind /usr "$NEW/usr"
mount --rbind /dev "$NEW/dev"
mount -t proc proc "$NEW/proc"
mount --rbind /sys "$NEW/sys"
mount --bind "$SYSROOT" "$NEW/sysroot"
mount --bind "$SYSROOT/boot" "$NEW/boot"
mount --bind "$RUN" "$NEW/run"
echo booted
exec chroot "$NEW" cat
`;

/** \`fault\` may hang, crash or kill, as a test says; it knows the arguments. */
const program = (device: OstreeDevice): string => `#!/bin/sh
echo "$*" >> '${device.logPath}'
[ ! -e '${device.faultPath}' ] || . '${device.faultPath}'
[ "$1" = admin ] || exec $TRACE ${OSTREE} "$@"
for one do
	shift
	case $one in --sysroot=*) one=--sysroot=/ ;; esac
	set -- "$@" "$one"
done
exec nsenter -t $(cat '${device.pidPath}') -m -p -r -w -- $TRACE ${OSTREE} "$@"
`;

/** Every step of ostree syncs: on a disk that others use, tests of it would take minutes. */
export function useMemory(): void {
  if (existsSync('/dev/shm')) process.env['TMPDIR'] = '/dev/shm';
}

/** Mount namespaces are root's. */
export function canBootOstree(): boolean {
  try {
    execFileSync('unshare', ['-m', '--pid', '--fork', 'true'], { stdio: 'ignore' });
    return existsSync(OSTREE);
  } catch {
    return false;
  }
}

export class OstreeDevice {
  readonly directory: string;
  readonly sysroot: string;
  readonly repo: string;
  /** Where the program is that stands before ostree in PATH. */
  readonly bin: string;
  /** Arguments of every call, one a line. */
  readonly logPath: string;
  readonly faultPath: string;
  readonly pidPath: string;
  readonly #path = process.env['PATH'] ?? '';
  #system: ChildProcess | undefined;

  /** Runs `repo.factory`. */
  static async open(directory: string, repo: OstreeRepo): Promise<OstreeDevice> {
    const device = OstreeDevice.make(directory, repo);
    process.env['PATH'] = [device.bin, process.env['PATH'] ?? ''].join(delimiter);
    await device.boot();
    return device;
  }

  /** As the factory leaves it, and switched off. */
  static make(directory: string, repo: OstreeRepo): OstreeDevice {
    const device = new OstreeDevice(directory);
    device.#install(repo);
    return device;
  }

  /** One that another process has made. */
  static existing(directory: string): OstreeDevice {
    return new OstreeDevice(directory);
  }

  private constructor(directory: string) {
    this.directory = directory;
    this.sysroot = join(directory, 'sysroot');
    this.repo = join(this.sysroot, 'ostree/repo');
    this.bin = join(directory, 'bin');
    this.logPath = join(directory, 'calls');
    this.faultPath = join(directory, 'fault');
    this.pidPath = join(directory, 'pid');
  }

  #install(repo: OstreeRepo): void {
    for (const path of [this.sysroot, this.bin]) mkdirSync(path, { recursive: true });
    const sysroot = `--sysroot=${this.sysroot}`;
    ostree('admin', 'init-fs', '--modern', this.sysroot);
    ostree('admin', 'os-init', sysroot, OS);
    ostree('config', `--repo=${this.repo}`, 'set', 'sysroot.bootloader', 'none');
    ostree('pull-local', `--repo=${this.repo}`, repo.path, repo.factory);
    // Deployments could not be removed with the directory otherwise.
    process.env['OSTREE_SYSROOT_DEBUG'] = 'mutable-deployments';
    ostree('admin', 'deploy', sysroot, `--os=${OS}`, '--karg=quiet', repo.factory);
    writeFileSync(join(this.bin, 'ostree'), program(this));
    chmodSync(join(this.bin, 'ostree'), 0o755);
  }

  /** A power cut and the boot after it. */
  async boot(): Promise<void> {
    await this.powerOff();
    const run = join(this.directory, 'run');
    const root = join(this.directory, 'root');
    rmSync(run, { recursive: true, force: true });
    for (const path of [run, root]) mkdirSync(path, { recursive: true });
    writeFileSync(join(run, 'ostree-booted'), '');
    const booted = this.nextRoot();
    writeFileSync(this.#rootPath, booted);
    const env = { ...process.env, ROOT: booted, NEW: root, SYSROOT: this.sysroot, RUN: run };
    const args = ['-m', '--pid', '--fork', '--kill-child', 'sh', '-c', BOOT];
    const system = spawn('unshare', args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#system = system;
    await once(system.stdout, 'data');
    const children = `/proc/${String(system.pid)}/task/${String(system.pid)}/children`;
    writeFileSync(this.pidPath, readFileSync(children, 'utf8').trim());
  }

  /** Goes down in order: what is staged is written, as systemd has it done. */
  async reboot(): Promise<void> {
    execFileSync(join(this.bin, 'ostree'), ['admin', 'finalize-staged', '--sysroot=/'], {
      stdio: 'ignore',
    });
    await this.boot();
  }

  /** What a boot loader and an initramfs would make `/`, from nothing but files. */
  nextRoot(): string {
    const entries = join(this.sysroot, 'boot/loader/entries');
    const texts = readdirSync(entries).map((name) => readFileSync(join(entries, name), 'utf8'));
    const version = (text: string): number => Number(/^version (\d+)$/mu.exec(text)?.[1]);
    const [newest = ''] = texts.toSorted((a, b) => version(b) - version(a));
    for (const line of ['linux', 'initrd']) {
      const file = new RegExp(`^${line} (.+)$`, 'mu').exec(newest)?.[1] ?? '';
      if (!existsSync(join(this.sysroot, 'boot', file))) throw new Error(`no ${line} ${file}`);
    }
    const path = /^options .*\bostree=(\S+)/mu.exec(newest)?.[1] ?? '';
    return realpathSync(join(this.sysroot, path));
  }

  /** Of the entry that boots next. */
  get kernelArguments(): string {
    const entries = join(this.sysroot, 'boot/loader/entries');
    const newest = readdirSync(entries).toSorted().at(-1) ?? '';
    return /^options (.*)$/mu.exec(readFileSync(join(entries, newest), 'utf8'))?.[1] ?? '';
  }

  get #rootPath(): string {
    return join(this.directory, 'booted-root');
  }

  get #root(): string {
    return readFileSync(this.#rootPath, 'utf8');
  }

  /** `VERSION` of the system that runs. */
  running(): string {
    const text = readFileSync(join(this.#root, 'usr/lib/os-release'), 'utf8');
    return /^VERSION=(.*)$/mu.exec(text)?.[1] ?? '';
  }

  /** A file of the system that runs. */
  file(path: string): string {
    return join(this.#root, path);
  }

  calls(): readonly string[] {
    return existsSync(this.logPath) ? readFileSync(this.logPath, 'utf8').trim().split('\n') : [];
  }

  /** Shell lines that run before each call; empty: none. */
  setFault(lines: string): void {
    if (lines === '') rmSync(this.faultPath, { force: true });
    else writeFileSync(this.faultPath, lines);
  }

  /** From now on its ostree has `admin set-default`, as newer ones do. */
  offerSetDefault(): void {
    const script = join(import.meta.dirname, 'ostree-set-default.py');
    this.setFault(`case "$*" in
'admin --help') ${OSTREE} admin --help; echo '  set-default    Make one the default'; exit ;;
'admin set-default'*)
	exec nsenter -t $(cat '${this.pidPath}') -m -p -r -w -- /usr/bin/python3 - "$3" < '${script}' ;;
esac
`);
  }

  /** Removes every deployment but the one that runs. */
  keepRunningOnly(): void {
    const admin = (...args: readonly string[]): string =>
      execFileSync(join(this.bin, 'ostree'), ['admin', ...args, '--sysroot=/'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      }).toString();
    for (;;) {
      const deployments = admin('status').match(/^[* ] \S+ [0-9a-f]{64}.*$/gmu) ?? [];
      const other = deployments.findIndex((line) => !line.startsWith('*'));
      if (other < 0) return;
      admin('undeploy', String(other));
    }
  }

  async close(): Promise<void> {
    await this.powerOff();
    process.env['PATH'] = this.#path;
  }

  async powerOff(): Promise<void> {
    const system = this.#system;
    this.#system = undefined;
    await endChild(system, 'SIGKILL');
  }
}
