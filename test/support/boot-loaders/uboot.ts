/**
 * U-Boot's side of its environment, written from its documentation and from the script that RAUC gives
 * integrators: reads the redundant environment, runs the script, and saves what `saveenv` would.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

const COPY_BYTES = 0x2000;
const HEADER_BYTES = 5;
const DEFAULT_TRIES = '3';

type Variables = Map<string, string>;

export class Uboot {
  readonly config: string;
  readonly #copies: readonly [string, string];

  constructor(directory: string, variables: Readonly<Record<string, string>>) {
    this.#copies = [join(directory, 'uboot.env'), join(directory, 'uboot-redundant.env')];
    this.config = join(directory, 'fw_env.config');
    // Another process goes on with what is there.
    if (existsSync(this.config)) return;
    const lines = this.#copies.map((path) => `${path} 0x0 0x${COPY_BYTES.toString(16)}\n`);
    writeFileSync(this.config, lines.join(''));
    const values = new Map(Object.entries(variables));
    for (const [flag, path] of this.#copies.entries()) writeFileSync(path, packed(values, flag));
  }

  /** RAUC's script; resets where it does. */
  bootByOrder(): 'a' | 'b' {
    for (let power = 0; power < 2; power += 1) {
      const env = this.#load().values;
      for (const slot of (env.get('BOOT_ORDER') ?? 'A B').split(' ')) {
        const left = Number(env.get(`BOOT_${slot}_LEFT`) ?? DEFAULT_TRIES);
        if (left <= 0) continue;
        env.set(`BOOT_${slot}_LEFT`, String(left - 1));
        this.#save(env);
        return asSlot(slot.toLowerCase());
      }
      for (const slot of ['A', 'B']) env.set(`BOOT_${slot}_LEFT`, DEFAULT_TRIES);
      this.#save(env);
    }
    throw new Error('no slot boots');
  }

  /** The boot counter, and an `altbootcmd` that changes the slot. */
  bootByCount(): 'a' | 'b' {
    const env = this.#load().values;
    if (env.get('upgrade_available') !== '1') return asSlot(env.get('ota_slot'));
    const count = Number(env.get('bootcount')) + 1;
    env.set('bootcount', String(count));
    if (count > Number(env.get('bootlimit'))) {
      env.set('ota_slot', env.get('ota_slot') === 'a' ? 'b' : 'a');
      env.set('upgrade_available', '0').set('bootcount', '0');
    }
    this.#save(env);
    return asSlot(env.get('ota_slot'));
  }

  values(): ReadonlyMap<string, string> {
    return this.#load().values;
  }

  #load(): { values: Variables; flag: number; at: 0 | 1 } {
    const copies = this.#copies.flatMap((path, at) => {
      const bytes = readFileSync(path);
      const isGood = bytes.readUInt32LE(0) === crc32(bytes.subarray(HEADER_BYTES));
      return isGood ? [{ values: unpacked(bytes), flag: bytes.readUInt8(4), at: at as 0 | 1 }] : [];
    });
    const [newest] = copies.sort((x, y) => y.flag - x.flag);
    if (newest === undefined) throw new Error('both copies of the environment are bad');
    return newest;
  }

  #save(values: Variables): void {
    const { flag, at } = this.#load();
    writeFileSync(this.#copies[at === 0 ? 1 : 0], packed(values, (flag + 1) % 256));
  }
}

function packed(values: Variables, flag: number): Buffer {
  const bytes = Buffer.alloc(COPY_BYTES);
  const text = Array.from(values, ([name, value]) => `${name}=${value}\0`).join('');
  bytes.write(text, HEADER_BYTES);
  bytes.writeUInt8(flag, 4);
  bytes.writeUInt32LE(crc32(bytes.subarray(HEADER_BYTES)), 0);
  return bytes;
}

function unpacked(bytes: Buffer): Variables {
  const text = bytes.subarray(HEADER_BYTES).toString('latin1');
  const lines = text.slice(0, text.indexOf('\0\0')).split('\0');
  return new Map(
    lines
      .filter((line) => line.includes('='))
      .map((line) => {
        const at = line.indexOf('=');
        return [line.slice(0, at), line.slice(at + 1)];
      }),
  );
}

function asSlot(text: string | undefined): 'a' | 'b' {
  if (text === 'a' || text === 'b') return text;
  throw new Error(`the environment names no slot: ${String(text)}`);
}
