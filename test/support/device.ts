/**
 * A device on this machine: two slots, a boot loader, a configuration, and the agent as a process.
 *
 * Nothing of the agent is imported: what it does is judged from outside, as its users see it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { bootBoard, readMarkerValues, type Board } from './boot-loader.ts';

export interface DeviceOptions {
  readonly directory: string;
  readonly id: string;
  readonly hardwareId: string;
  readonly gateway: {
    readonly url: string;
    readonly enrolUrl: string;
    readonly caPath: string;
    readonly enrolSecretPath: string;
    readonly roots: readonly [string, string];
  };
  readonly token: { readonly module: string; readonly env: Readonly<Record<string, string>> };
  /** By default the sources. */
  readonly program?: string;
  /** Of each slot file. */
  readonly slotBytes?: number;
}

export interface AgentResult {
  readonly exit: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The document that `--json` printed; empty where it printed none. */
  readonly json: Record<string, unknown>;
}

const AGENT = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');
const PIN = '2718-user';
const SO_PIN = '31415-officer';

export type Settings = Record<string, Record<string, unknown>>;

export class Device {
  readonly options: DeviceOptions;
  readonly board: Board;
  readonly slots: { readonly a: string; readonly b: string };
  readonly configPath: string;
  readonly settings: Settings;

  constructor(options: DeviceOptions) {
    this.options = options;
    const at = (name: string): string => join(options.directory, name);
    mkdirSync(options.directory, { recursive: true });
    this.board = { marker: at('boot-marker'), booted: at('booted-slot'), bootId: at('boot-id') };
    this.slots = { a: at('slot-a.img'), b: at('slot-b.img') };
    for (const slot of Object.values(this.slots)) {
      // A directory that was used before is the same device, after its power was off.
      if (!existsSync(slot)) writeFileSync(slot, Buffer.alloc(options.slotBytes ?? 0));
    }
    writeFileSync(at('pin'), `${PIN}\n`, { mode: 0o600 });
    writeFileSync(at('so-pin'), `${SO_PIN}\n`, { mode: 0o600 });
    this.configPath = at('ota-agent.toml');
    this.settings = this.#defaultSettings();
    this.configure({});
    this.boot();
  }

  /** Writes the configuration again, with some keys changed; `undefined` removes one. */
  configure(changes: Settings): void {
    for (const [table, keys] of Object.entries(changes)) {
      this.settings[table] = { ...this.settings[table], ...keys };
    }
    writeFileSync(this.configPath, toToml(this.settings));
  }

  /** Power on, as after a power cut or a reboot. */
  boot(): 'a' | 'b' {
    return bootBoard(this.board);
  }

  marker(): Record<string, string> {
    return readMarkerValues(this.board.marker);
  }

  /** The first bytes of the slot that runs. */
  running(lengthBytes: number): Buffer {
    const slot = readFileSync(this.board.booted, 'utf8').trim() === 'a' ? 'a' : 'b';
    return readFileSync(this.slots[slot]).subarray(0, lengthBytes);
  }

  /** @param output - `inherit`: on the terminal of this process */
  start(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    output: 'pipe' | 'inherit' = 'pipe',
  ): ChildProcess {
    return spawn(
      process.execPath,
      [this.options.program ?? AGENT, ...args, '--config', this.configPath],
      {
        stdio: ['ignore', output, output],
        // In a group of its own, so that it can be ended with all that it started.
        detached: output === 'pipe',
        env: { ...process.env, ...this.options.token.env, ...env },
      },
    );
  }

  /** Runs one command with `--json` to its end. */
  async agent(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<AgentResult> {
    return collect(this.start([...args, '--json'], env));
  }

  #defaultSettings(): Settings {
    const { directory, gateway, id, hardwareId, token } = this.options;
    const at = (name: string): string => join(directory, name);
    return {
      gateway: { url: gateway.url, ca: gateway.caPath, timeout: '10s' },
      token: {
        module: token.module,
        uri: 'pkcs11:token=ota-agent',
        pin_file: at('pin'),
        so_pin_file: at('so-pin'),
      },
      device: { id },
      ecu: { serial: `${id}-primary`, hardware_id: hardwareId },
      provisioning: {
        mode: 'est',
        est_url: gateway.enrolUrl,
        est_ca: gateway.caPath,
        est_secret_file: gateway.enrolSecretPath,
      },
      uptane: { roots: gateway.roots },
      installer: {
        type: 'ab-slot',
        slot_a: this.slots.a,
        slot_b: this.slots.b,
        marker: this.board.marker,
        booted_file: this.board.booted,
      },
      boot: { boot_id_file: this.board.bootId },
      storage: { path: at('storage') },
      api: { socket: at('api.sock') },
      // Tests count requests; what these would tell is of the machine that runs them.
      telemetry: { system_info: false, network: false, packages: false },
    };
  }
}

/** Everything a process said, and how it ended. */
export async function collect(child: ChildProcess): Promise<AgentResult> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [exit, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { exit, signal, stdout, stderr, json: lastDocument(stdout) };
}

function lastDocument(stdout: string): Record<string, unknown> {
  const line = stdout.trim().split('\n').at(-1) ?? '';
  return line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : {};
}

/** Only what the tests need: tables of strings, numbers, booleans and arrays of strings. */
function toToml(settings: Settings): string {
  return Object.entries(settings)
    .map(([table, keys]) => {
      const lines = Object.entries(keys)
        .filter(([, value]) => value !== undefined)
        .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`);
      return `[${table}]\n${lines.join('')}`;
    })
    .join('\n');
}
