/**
 * Calls that a real libckteec made of a real OP-TEE, turned back into the Cryptoki calls behind them.
 *
 * Only what those recordings hold can be turned back; anything else throws.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

export interface RecordedParam {
  readonly d: 'in' | 'out' | 'inout';
  readonly size: number;
  readonly in?: string;
  readonly osize?: number;
  readonly out?: string;
}

export interface Recorded {
  readonly pid: number;
  readonly op: 'open' | 'invoke' | 'close';
  readonly cmd?: number;
  /** TEEC_Result, hexadecimal. */
  readonly res?: string;
  readonly p?: readonly (RecordedParam | null)[];
}

export function readRecorded(name: 'p11' | 'quirks'): readonly Recorded[] {
  const path = join(import.meta.dirname, `../vectors/optee/${name}.jsonl.gz`);
  const lines = gunzipSync(readFileSync(path)).toString().trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Recorded);
}

/** Attributes whose CK_ULONG crosses as 32 bits. */
const NARROWED = new Set([0x0, 0x80, 0x87, 0x8c, 0x100, 0x300, 0x500, 0x166, 0x161, 0x121]);
const TEMPLATES = new Set([0x40000211, 0x40000212, 0x40000213]);
const ALLOWED_MECHANISMS = 0x40000600;

const widen = (bytes: Buffer): Buffer =>
  Buffer.concat(
    Array.from({ length: bytes.length / 4 }, (_, index) =>
      Buffer.concat([bytes.subarray(4 * index, 4 * index + 4), Buffer.alloc(4)]),
    ),
  );

const literal = (bytes: Buffer): string => `x${bytes.toString('hex')}`;

/** Reads a ctrl parameter and writes words of the driver's language. */
class CtrlReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(hex: string) {
    this.#bytes = Buffer.from(hex, 'hex');
  }

  u32(): number {
    this.#at += 4;
    return this.#bytes.readUInt32LE(this.#at - 4);
  }

  take(size: number): Buffer {
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }

  number(): string {
    return `0x${this.u32().toString(16)}`;
  }

  #attributes(write: (type: number, value: Buffer) => string): string {
    this.u32();
    const attributes = Array.from({ length: this.u32() }, () => {
      const type = this.u32();
      return `0x${type.toString(16)}=${write(type, this.take(this.u32()))}`;
    });
    return attributes.join(',') || 'null';
  }

  template(): string {
    return this.#attributes((type, value) => {
      if (value.length === 0) return 'null';
      if (TEMPLATES.has(type)) return `[${new CtrlReader(value.toString('hex')).template()}]`;
      const isWide = NARROWED.has(type) || type === ALLOWED_MECHANISMS;
      return literal(isWide ? widen(value) : value);
    });
  }

  rooms(): string {
    return this.#attributes((type, { length }) => {
      if (length === 0) return 'null';
      return String(NARROWED.has(type) || type === ALLOWED_MECHANISMS ? 2 * length : length);
    });
  }

  mechanism(): string {
    const type = this.u32();
    const value = this.take(this.u32());
    const name = `0x${type.toString(16)}`;
    if (value.length === 0) return name;
    // EdDSA's parameter, left out: no prehash, no context.
    if (type === 0x1057 && value.equals(Buffer.alloc(8))) return name;
    if (type === 0x1050) {
      const shared = 8 + value.readUInt32LE(4);
      return `${name}:ecdh:${String(value.readUInt32LE(0))}:${literal(value.subarray(8, shared))}:${literal(value.subarray(shared + 4))}`;
    }
    if (type === 0x1086) {
      return `${name}:${literal(Buffer.concat([widen(value.subarray(0, 4)), value.subarray(4)]))}`;
    }
    if (value.length === 12) return `${name}:${literal(widen(value))}`;
    if (value.length === 16) return `${name}:${literal(value)}`;
    throw new Error(`mechanism ${name} with ${value.toString('hex')}`);
  }
}

/** What a driver call is made of: the ctrl parameter, P1 and P2 as words, in any order. */
interface Words {
  readonly ctrl: CtrlReader;
  readonly input: string;
  /** P2 that was sent: a signature. */
  readonly signature: string;
  /** P2 that was received: its room in bytes, and in CK_ULONGs. */
  readonly room: string;
  readonly listRoom: string;
}

const plain =
  (name: string, numbers: number) =>
  ({ ctrl }: Words): string =>
    [name, ...Array.from({ length: numbers }, () => ctrl.number())].join(' ');
const init =
  (name: string) =>
  ({ ctrl }: Words): string => {
    const [session, key] = [ctrl.number(), ctrl.number()];
    return `init ${name} ${session} ${ctrl.mechanism()} ${key}`;
  };
const transform =
  (name: string) =>
  ({ ctrl, input, room }: Words): string =>
    `${name} ${ctrl.number()} ${input} ${room}`;
const absorb =
  (name: string) =>
  ({ ctrl, input }: Words): string =>
    `${name} ${ctrl.number()} ${input}`;
const finish =
  (name: string) =>
  ({ ctrl, room }: Words): string =>
    `${name} ${ctrl.number()} ${room}`;

/** A call with a bad argument, which makes the library release the operation of this command. */
function badCall(session: string, command: number): string {
  const calls: Record<number, string> = {
    19: `encrypt_update ${session} null*1 1`,
    20: `decrypt_update ${session} null*1 1`,
    23: `encrypt ${session} null*1 1`,
    24: `decrypt ${session} null*1 1`,
    47: `digest_update ${session} null*1`,
    48: `digest_final ${session} absent`,
    49: `digest ${session} null*1 1`,
  };
  const call = calls[command];
  if (call === undefined) throw new Error(`released command ${String(command)}`);
  return call;
}

const CALLS: Readonly<Record<number, (words: Words) => string>> = {
  1: ({ listRoom }) => `get_slot_list ${listRoom}`,
  2: plain('get_slot_info', 1),
  3: plain('get_token_info', 1),
  4: ({ ctrl, listRoom }) => `get_mechanism_list ${ctrl.number()} ${listRoom}`,
  5: plain('get_mechanism_info', 2),
  6: plain('open_session', 2),
  7: plain('close_session', 1),
  8: plain('close_all_sessions', 1),
  9: plain('get_session_info', 1),
  10: ({ ctrl }) => {
    const [slot, size] = [ctrl.number(), ctrl.u32()];
    const label = literal(ctrl.take(32));
    return `init_token ${slot} ${literal(ctrl.take(size))} ${label}`;
  },
  11: ({ ctrl }) => `init_pin ${ctrl.number()} ${literal(ctrl.take(ctrl.u32()))}`,
  12: ({ ctrl }) => {
    const [session, before, after] = [ctrl.number(), ctrl.u32(), ctrl.u32()];
    return `set_pin ${session} ${literal(ctrl.take(before))} ${literal(ctrl.take(after))}`;
  },
  13: ({ ctrl }) => {
    const [session, user] = [ctrl.number(), ctrl.number()];
    return `login ${session} ${user} ${literal(ctrl.take(ctrl.u32()))}`;
  },
  14: plain('logout', 1),
  15: ({ ctrl }) => `create_object ${ctrl.number()} ${ctrl.template()}`,
  16: plain('destroy_object', 2),
  17: init('encrypt'),
  18: init('decrypt'),
  19: transform('encrypt_update'),
  20: transform('decrypt_update'),
  23: transform('encrypt'),
  24: transform('decrypt'),
  25: init('sign'),
  26: init('verify'),
  27: absorb('sign_update'),
  28: absorb('verify_update'),
  29: finish('sign_final'),
  30: ({ ctrl, signature }) => `verify_final ${ctrl.number()} ${signature}`,
  31: transform('sign'),
  32: ({ ctrl, input, signature }) => `verify ${ctrl.number()} ${input} ${signature}`,
  33: ({ ctrl }) => `generate_key ${ctrl.number()} ${ctrl.mechanism()} ${ctrl.template()}`,
  34: ({ ctrl }) => `find_objects_init ${ctrl.number()} ${ctrl.template()}`,
  35: ({ ctrl, listRoom }) => `find_objects ${ctrl.number()} ${listRoom}`,
  36: plain('find_objects_final', 1),
  37: plain('get_object_size', 2),
  38: ({ ctrl }) => `get_attribute_value ${ctrl.number()} ${ctrl.number()} ${ctrl.rooms()}`,
  39: ({ ctrl }) => `set_attribute_value ${ctrl.number()} ${ctrl.number()} ${ctrl.template()}`,
  40: ({ ctrl }) => `copy_object ${ctrl.number()} ${ctrl.number()} ${ctrl.template()}`,
  41: absorb('seed_random'),
  42: finish('generate_random'),
  43: ({ ctrl }) => {
    const [session, base] = [ctrl.number(), ctrl.number()];
    return `derive_key ${session} ${ctrl.mechanism()} ${base} ${ctrl.template()}`;
  },
  44: ({ ctrl }) => badCall(ctrl.number(), ctrl.u32()),
  45: ({ ctrl }) => `init digest ${ctrl.number()} ${ctrl.mechanism()}`,
  46: plain('digest_key', 2),
  47: absorb('digest_update'),
  48: finish('digest_final'),
  49: transform('digest'),
  50: ({ ctrl }) =>
    `generate_key_pair ${ctrl.number()} ${ctrl.mechanism()} ${ctrl.template()} ${ctrl.template()}`,
};

/** `size` in what the script counts it in; no buffer when there was no room. */
const roomOf = (size: number, factor: number): string =>
  size === 0 ? 'null' : String(factor * size);

/** The line for the driver that makes this call. */
export function callBehind({ cmd = -1, p = [] }: Recorded): string {
  const [ctrl, input, p2] = p;
  const write = CALLS[cmd];
  if (write === undefined) throw new Error(`command ${String(cmd)}`);
  const { size = 0, in: signature = '' } = p2 ?? {};
  return write({
    ctrl: new CtrlReader(ctrl?.in ?? ''),
    input: input?.in === undefined ? 'null' : `x${input.in}`,
    signature: `x${signature}`,
    room: roomOf(size, 1),
    listRoom: roomOf(size, 2),
  });
}
