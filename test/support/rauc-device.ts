/**
 * A device with RAUC: its service on a D-Bus of its own, two slots, and U-Boot's environment in a file.
 *
 * RAUC, the bus and `fw_setenv` are the real ones; the boot loader's script is written from U-Boot's
 * side: `BOOT_ORDER` and `BOOT_x_LEFT`, counted down at each boot.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import type { RaucSettings } from '../../agent/io/installers/rauc/installer.ts';
import { loopProblem } from './loop-device.ts';
import { COMPATIBLE } from './rauc-bundle.ts';

/** Of the boot loader's script. */
export const TRIES = '3';

const BUS_CONFIG = (socket: string, services: string): string => `<!DOCTYPE busconfig PUBLIC
 "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>${services}</servicedir>
  <policy context="default">
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
`;

export interface RaucOptions {
  readonly keyring: string;
  /** The content of slot A, which runs. */
  readonly factory: Buffer;
  /** Lines of `[system]`. */
  readonly system?: string;
  /** Instead of a file each. */
  readonly slots?: Readonly<Record<BootName, string>>;
}

type BootName = 'A' | 'B';

export class RaucDevice {
  readonly directory: string;
  readonly slots: Readonly<Record<BootName, string>>;
  readonly bootId: string;
  #bus: ChildProcess | undefined;

  /** @param options - absent: one that another process has made, with files for slots */
  constructor(directory: string, options?: RaucOptions) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
    this.bootId = this.#at('boot-id');
    this.slots = options?.slots ?? { A: this.#at('slot-a.img'), B: this.#at('slot-b.img') };
    if (options === undefined) return;
    for (const slot of Object.values(this.slots)) {
      if (!existsSync(slot)) writeFileSync(slot, Buffer.alloc(options.factory.length));
    }
    writeFileSync(this.slots.A, options.factory, { flag: 'r+' });
    this.configure(options);
    this.#writePrograms();
    this.#writeEnvironment();
    this.#choose();
  }

  /** Writes RAUC's configuration; it reads that when it starts. */
  configure({ keyring, system = 'activate-installed=false' }: Omit<RaucOptions, 'factory'>): void {
    const slot = (index: number, name: BootName): string =>
      `[slot.rootfs.${String(index)}]\ndevice=${this.slots[name]}\ntype=raw\nbootname=${name}\n`;
    const status = `statusfile=${this.#at('rauc.status')}\nmountprefix=${this.#at('mount')}`;
    writeFileSync(
      this.systemConf,
      `[system]\ncompatible=${COMPATIBLE}\nbootloader=uboot\n${status}\n${system}\n[keyring]\npath=${keyring}\n${slot(0, 'A')}${slot(1, 'B')}`,
    );
  }

  /** While this file is there, the hook of a bundle waits. */
  get #hold(): string {
    return this.#at('hold');
  }

  get systemConf(): string {
    return this.#at('system.conf');
  }

  get address(): string {
    return `unix:path=${this.#at('bus')}`;
  }

  get settings(): RaucSettings {
    return {
      busAddress: this.address,
      systemConf: this.systemConf,
      recordPath: this.#at('rauc-slots.json'),
      callTimeoutMs: 5000,
      installTimeoutMs: 30_000,
    };
  }

  /** RAUC is not installed, as far as the bus knows. */
  removeRauc(): void {
    rmSync(this.#at('services/de.pengutronix.rauc.service'));
  }

  async startBus(): Promise<void> {
    rmSync(this.#at('bus'), { force: true });
    const args = ['--nofork', `--config-file=${this.#at('bus.conf')}`];
    const bus = spawn('dbus-daemon', args, { stdio: 'ignore' });
    this.#bus = bus;
    while (!existsSync(this.#at('bus'))) {
      if (bus.exitCode !== null) throw new Error('dbus-daemon does not start');
      await setTimeout(10);
    }
  }

  /** RAUC ends with it. */
  async stopBus(): Promise<void> {
    const bus = this.#bus;
    this.#bus = undefined;
    if (bus?.exitCode !== null) return;
    const ended = once(bus, 'exit');
    bus.kill('SIGKILL');
    await ended;
    this.killRauc();
  }

  /** Power fails, and comes back. */
  boot(): BootName {
    this.killRauc();
    this.releaseHooks();
    return this.#choose();
  }

  killRauc(signal: NodeJS.Signals = 'SIGKILL'): void {
    try {
      process.kill(Number(readFileSync(this.#at('rauc.pid'), 'utf8')), signal);
    } catch {
      // It has not been started, or is gone.
    }
  }

  /** What RAUC does now, asked of itself. */
  operation(): string {
    const property = ['de.pengutronix.rauc', '/', 'de.pengutronix.rauc.Installer', 'Operation'];
    const args = [`--address=${this.address}`, '--json=short', 'get-property', ...property];
    const { data } = JSON.parse(execFileSync('busctl', args).toString()) as {
      readonly data: string;
    };
    return data;
  }

  /** What RAUC has mounted, where it alone sees it. */
  mounts(): readonly string[] {
    const pid = readFileSync(this.#at('rauc.pid'), 'utf8').trim();
    const lines = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n');
    return lines.filter((line) => line.includes(` ${this.#at('mount')}/`));
  }

  get booted(): BootName {
    return readFileSync(this.#at('booted'), 'utf8').trim() === 'A' ? 'A' : 'B';
  }

  running(): Buffer {
    return readFileSync(this.slots[this.booted]);
  }

  /** U-Boot's variables. */
  environment(): Record<string, string> {
    const lines = execFileSync('fw_printenv', ['-c', this.#at('fw_env.config')]).toString();
    return Object.fromEntries(
      lines.split('\n').flatMap((line) => {
        const at = line.indexOf('=');
        return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
      }),
    );
  }

  /** As a person would, with RAUC's own program. */
  mark(state: 'active' | 'good' | 'bad', slot: string): void {
    const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: this.address };
    execFileSync('rauc', ['status', `mark-${state}`, slot], { env, stdio: 'ignore' });
  }

  /** Waits until a bundle's hook waits: the image is written, and RAUC has not noted it. */
  async held(): Promise<void> {
    const held = `${this.#hold}.held`;
    for (let attempt = 0; attempt < 500; attempt += 1) {
      if (existsSync(held)) {
        rmSync(held);
        return;
      }
      await setTimeout(20);
    }
    throw new Error('no hook was called');
  }

  /** From now on the hook of a bundle waits. */
  holdHooks(): void {
    writeFileSync(this.#hold, '');
  }

  releaseHooks(): void {
    rmSync(this.#hold, { force: true });
  }

  async close(): Promise<void> {
    this.releaseHooks();
    await this.stopBus();
    this.killRauc();
  }

  /** What U-Boot's script does. */
  #choose(): BootName {
    const variables = this.environment();
    for (const name of (variables['BOOT_ORDER'] ?? '').split(' ')) {
      const left = Number.parseInt(variables[`BOOT_${name}_LEFT`] ?? '0', 16);
      if (left === 0 || (name !== 'A' && name !== 'B')) continue;
      this.#set(`BOOT_${name}_LEFT`, (left - 1).toString(16));
      writeFileSync(this.#at('booted'), `${name}\n`);
      writeFileSync(this.bootId, `${randomUUID()}\n`);
      return name;
    }
    throw new Error(`this device does not boot any more: ${JSON.stringify(variables)}`);
  }

  #set(name: string, value: string): void {
    const where = ['-c', this.#at('fw_env.config'), '-f', this.#at('no-defaults')];
    execFileSync('fw_setenv', [...where, name, value], { stdio: 'pipe' });
  }

  #writeEnvironment(): void {
    writeFileSync(this.#at('no-defaults'), '');
    const copies = ['0x0', '0x4000'].map((offset) => `${this.#at('uboot.env')} ${offset} 0x4000\n`);
    writeFileSync(this.#at('uboot.env'), Buffer.alloc(0x8000));
    writeFileSync(this.#at('fw_env.config'), copies.join(''));
    this.#set('BOOT_ORDER', 'A B');
    this.#set('BOOT_A_LEFT', TRIES);
    this.#set('BOOT_B_LEFT', TRIES);
  }

  #writePrograms(): void {
    for (const directory of ['bin', 'mount', 'services']) {
      mkdirSync(this.#at(directory), { recursive: true });
    }
    for (const tool of ['fw_setenv', 'fw_printenv']) {
      this.#program(`bin/${tool}`, `exec /usr/bin/${tool} -c ${this.#at('fw_env.config')} "$@"`);
    }
    const conf = `--conf=${this.systemConf} --mount=${this.#at('mount')}`;
    // As rauc.service does: what it has mounted goes with it.
    const rauc = `exec unshare -m --propagation slave rauc ${conf}`;
    this.#program(
      'start-rauc',
      `echo $$ >${this.#at('rauc.pid')}
export PATH=${this.#at('bin')}:$PATH OTA_TEST_HOLD=${this.#hold} DBUS_SYSTEM_BUS_ADDRESS=${this.address}
${rauc} --override-boot-slot="$(cat ${this.#at('booted')})" service >>${this.#at('rauc.log')} 2>&1`,
    );
    writeFileSync(
      this.#at('services/de.pengutronix.rauc.service'),
      `[D-BUS Service]\nName=de.pengutronix.rauc\nExec=${this.#at('start-rauc')}\n`,
    );
    writeFileSync(this.#at('bus.conf'), BUS_CONFIG(this.#at('bus'), this.#at('services')));
  }

  #program(name: string, text: string): void {
    writeFileSync(this.#at(name), `#!/bin/sh\n${text}\n`);
    chmodSync(this.#at(name), 0o755);
  }

  #at(name: string): string {
    return join(this.directory, name);
  }
}

/** Why RAUC cannot install on this machine; `undefined` where it can. */
export function raucProblem(): string | undefined {
  const problem = loopProblem();
  if (problem !== undefined) return `RAUC mounts a bundle: ${problem}`;
  try {
    execFileSync('unshare', ['-m', 'true'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `RAUC needs a mount namespace of its own: ${String(error)}`;
  }
}
