/**
 * A board that SWUpdate updates: two slots, a U-Boot environment, its boot script, and the daemon.
 *
 * The boot script is the usual one: while `upgrade_available` is 1 it counts `bootcount` up, and over
 * the limit it takes the other slot. Written from U-Boot's documentation and not from the agent's code.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const ENVIRONMENT_BYTES = 0x4000;
const BOOT_LIMIT = 2;
const VARIABLES = { boot_slot: 'a', upgrade_available: '0', bootcount: '0' };

export type SlotName = 'a' | 'b';

/** What the agent's settings say of this board. */
export const TRY = {
  a: ['boot_slot=a', 'upgrade_available=1', 'bootcount=0'],
  b: ['boot_slot=b', 'upgrade_available=1', 'bootcount=0'],
} as const;
export const KEEP = {
  a: ['boot_slot=a', 'upgrade_available=0', 'bootcount=0'],
  b: ['boot_slot=b', 'upgrade_available=0', 'bootcount=0'],
} as const;
export const BOOTED = { a: 'root=/dev/board-a', b: 'root=/dev/board-b' } as const;

export class SwupdateBoard {
  readonly directory: string;
  readonly slots: Record<SlotName, string>;
  readonly socketPath: string;
  readonly fwEnv: string;
  readonly cmdline: string;
  readonly bootId: string;
  readonly #certificate: string;
  #daemon: ChildProcess | undefined;
  /** What the daemon printed. */
  log = '';

  private constructor(directory: string) {
    const at = (name: string): string => join(directory, name);
    this.directory = directory;
    this.slots = { a: at('slot-a'), b: at('slot-b') };
    this.fwEnv = at('fw_env.config');
    this.cmdline = at('cmdline');
    this.bootId = at('boot-id');
    this.socketPath = at('run/sockinstctrl');
    this.#certificate = at('vendor.pem');
  }

  /** @param certificate - whose .swu files the daemon takes */
  static create(directory: string, factory: Uint8Array, certificate: string): SwupdateBoard {
    const board = new SwupdateBoard(directory);
    const at = (name: string): string => join(directory, name);
    mkdirSync(at('run'), { recursive: true });
    copyFileSync(certificate, board.#certificate);
    writeFileSync(board.slots.a, factory);
    writeFileSync(board.slots.b, '');
    const copies = ['env-1', 'env-2'].map(at);
    for (const copy of copies) writeFileSync(copy, Buffer.alloc(ENVIRONMENT_BYTES));
    writeFileSync(board.fwEnv, copies.map((copy) => `${copy} 0x0 0x4000\n`).join(''));
    writeFileSync(at('env-initial'), asLines({ ...VARIABLES, bootcmd: 'run distro' }));
    board.#fwSetenv(VARIABLES, ['-f', at('env-initial')]);
    board.boot();
    return board;
  }

  /** One that another process has made. */
  static existing(directory: string): SwupdateBoard {
    return new SwupdateBoard(directory);
  }

  /** Switches it on, as after a power cut. */
  boot(): SlotName {
    const now = this.variables();
    let slot = now['boot_slot'] === 'b' ? ('b' as const) : ('a' as const);
    if (now['upgrade_available'] === '1') {
      const bootcount = Number(now['bootcount'] ?? '0') + 1;
      if (bootcount > BOOT_LIMIT) {
        slot = slot === 'a' ? 'b' : 'a';
        this.#fwSetenv({ boot_slot: slot, upgrade_available: '0', bootcount: '0' });
      } else this.#fwSetenv({ bootcount: String(bootcount) });
    }
    writeFileSync(this.cmdline, `console=ttyS0 ${BOOTED[slot]} ro\n`);
    writeFileSync(this.bootId, `${randomUUID()}\n`);
    return slot;
  }

  /** The whole environment. */
  variables(): Readonly<Record<string, string>> {
    const text = execFileSync('fw_printenv', ['-c', this.fwEnv]).toString();
    const lines = text.trim().split('\n');
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  /** The first bytes of the slot that runs. */
  running(lengthBytes: number): Buffer {
    return readFileSync(this.slots[this.bootedSlot]).subarray(0, lengthBytes);
  }

  get bootedSlot(): SlotName {
    return readFileSync(this.cmdline, 'utf8').includes(BOOTED.b) ? 'b' : 'a';
  }

  /** @param wrapper - a program that runs the daemon */
  async startDaemon(
    args: readonly string[] = ['-H', 'board:1.0'],
    wrapper: readonly string[] = [],
  ): Promise<void> {
    const accepted = ['-q', 'stable,copy-a', '-q', 'stable,copy-b'];
    const command = [...wrapper, 'swupdate', '-l', '5', '-k', this.#certificate, ...accepted];
    const [program = '', ...rest] = [...command, ...args];
    const env = { ...process.env, TMPDIR: join(this.directory, 'run') };
    // A group of its own: it starts others.
    const daemon = spawn(program, rest, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.#daemon = daemon;
    for (const stream of [daemon.stdout, daemon.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.log += chunk.toString()));
    }
    for (
      let tries = 0;
      !(existsSync(this.socketPath) && this.log.includes('sockinstctrl'));
      tries += 1
    ) {
      if (tries > 500 || daemon.exitCode !== null) throw new Error(`no swupdate: ${this.log}`);
      await sleep(20);
    }
  }

  /** `undefined` where none runs. */
  get daemonPid(): number | undefined {
    const daemon = this.#daemon;
    return daemon?.exitCode === null && daemon.signalCode === null ? daemon.pid : undefined;
  }

  signalDaemon(signal: NodeJS.Signals): void {
    const pid = this.#daemon?.pid;
    if (pid !== undefined) process.kill(-pid, signal);
  }

  /** As a crash does it: at once, and its sockets stay. */
  async killDaemon(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined) return;
    this.#daemon = undefined;
    if (daemon.exitCode !== null || daemon.signalCode !== null) return;
    const ended = once(daemon, 'close');
    if (daemon.pid !== undefined) process.kill(-daemon.pid, 'SIGKILL');
    await ended;
    this.log = '';
  }

  #fwSetenv(values: Record<string, string>, args: readonly string[] = []): void {
    const script = join(this.directory, 'boot-script-env');
    writeFileSync(script, asLines(values));
    execFileSync('fw_setenv', ['-c', this.fwEnv, ...args, '-s', script], { stdio: 'pipe' });
  }
}

function asLines(values: Record<string, string>): string {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}\n`);
  return lines.join('');
}
