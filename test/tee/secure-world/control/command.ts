/** One line of the control socket, taken apart: test/tee/CONTROL.md. */
import { BACKENDS, type BackendName } from '../storage/backends.ts';
import type { Moment, Room } from './disk-faults.ts';
import type { Which } from './reply-faults.ts';

export type ControlCommand =
  | {
      readonly do: 'panic';
      readonly ta: string;
      readonly nth: number | undefined;
      readonly code: number;
    }
  | { readonly do: 'kill'; readonly step: number; readonly when: Moment }
  | { readonly do: 'snapshot'; readonly name: string }
  | { readonly do: 'restore'; readonly name: string; readonly disk: BackendName | undefined }
  | { readonly do: 'no-space'; readonly room: Room }
  | {
      readonly do: 'delay';
      readonly which: Which;
      readonly ms: number;
      readonly times: number | undefined;
    }
  | { readonly do: 'drop'; readonly which: Which; readonly nth: number }
  | { readonly do: 'swallow'; readonly which: Which }
  | { readonly do: 'status' | 'clear' };

/** What is wrong with a line, and what would be right. */
export class ControlFailure extends Error {
  override readonly name = 'ControlFailure';
}

/** TEE_ERROR_GENERIC: a panic that a test asks for without saying which. */
const DEFAULT_PANIC_CODE = 0xffff_0000;
const MAX_U32 = 0xffff_ffff;
const MAX_DELAY_MS = 600_000;
const MOMENTS: readonly Moment[] = ['before', 'half-way', 'after'];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u;

/** @throws ControlFailure */
export function parseCommand(line: string): ControlCommand {
  const fields = new Fields(parseObject(line));
  const what = fields.text('do');
  const read = READERS.get(what);
  if (read === undefined) {
    throw new ControlFailure(`no command "${what}"; there are ${[...READERS.keys()].join(', ')}`);
  }
  const command = read(fields);
  fields.assertAllRead();
  return command;
}

type Reader = (fields: Fields) => ControlCommand;

const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  [
    'panic',
    (fields) => ({
      do: 'panic',
      ta: readUuid(fields),
      nth: fields.optional('command', 1, MAX_U32),
      code: fields.optional('code', 0, MAX_U32) ?? DEFAULT_PANIC_CODE,
    }),
  ],
  [
    'kill',
    (fields) => ({
      do: 'kill',
      step: fields.number('step', 1, MAX_U32),
      when: readMoment(fields),
    }),
  ],
  ['snapshot', (fields) => ({ do: 'snapshot', name: fields.text('name') })],
  ['restore', (fields) => ({ do: 'restore', name: fields.text('name'), disk: readDisk(fields) })],
  ['no-space', (fields) => ({ do: 'no-space', room: readRoom(fields) })],
  [
    'delay',
    (fields) => ({
      do: 'delay',
      which: readWhich(fields),
      ms: fields.number('ms', 0, MAX_DELAY_MS),
      times: fields.optional('times', 1, MAX_U32),
    }),
  ],
  [
    'drop',
    (fields) => ({
      do: 'drop',
      which: readWhich(fields),
      nth: fields.optional('request', 1, MAX_U32) ?? 1,
    }),
  ],
  ['swallow', (fields) => ({ do: 'swallow', which: readWhich(fields) })],
  ['status', () => ({ do: 'status' })],
  ['clear', () => ({ do: 'clear' })],
]);

function readUuid(fields: Fields): string {
  const uuid = fields.text('ta').toLowerCase();
  if (UUID.test(uuid)) return uuid;
  throw new ControlFailure(`"ta" is "${uuid}"; give a UUID with its hyphens`);
}

function readDisk(fields: Fields): BackendName | undefined {
  const disk = fields.text('disk', 'all');
  if (disk === 'all') return undefined;
  const backend = BACKENDS.find((each) => each === disk);
  if (backend !== undefined) return backend;
  throw new ControlFailure(`"disk" is "${disk}"; give ${BACKENDS.join(', ')} or all`);
}

function readMoment(fields: Fields): Moment {
  const when = fields.text('when', 'before');
  const moment = MOMENTS.find((each) => each === when);
  if (moment !== undefined) return moment;
  throw new ControlFailure(`"when" is "${when}"; give ${MOMENTS.join(', ')}`);
}

function readRoom(fields: Fields): Room {
  const bytes = fields.optional('bytes', 0, Number.MAX_SAFE_INTEGER);
  const write = fields.optional('write', 1, MAX_U32);
  if (bytes !== undefined && write === undefined) return { bytes };
  if (bytes === undefined) return { writes: (write ?? 1) - 1 };
  throw new ControlFailure('"write" and "bytes" together; give one of them');
}

function readWhich(fields: Fields): Which {
  return { command: fields.optional('command', 0, MAX_U32) };
}

function parseObject(line: string): ReadonlyMap<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new ControlFailure(`not JSON: ${String(cause)}; give one object on one line`, { cause });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return new Map(Object.entries(value));
  }
  throw new ControlFailure('not an object; give one such as {"do":"status"}');
}

/** Reads by name and type; what nobody read was a mistake of who wrote it. */
class Fields {
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #unread: Set<string>;

  constructor(values: ReadonlyMap<string, unknown>) {
    this.#values = values;
    this.#unread = new Set(values.keys());
  }

  text(name: string, missing?: string): string {
    const value = this.#read(name) ?? missing;
    if (typeof value === 'string' && value !== '') return value;
    throw new ControlFailure(`"${name}" is ${JSON.stringify(value)}; give a text`);
  }

  number(name: string, min: number, max: number): number {
    const value = this.#read(name);
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
      return value;
    }
    const range = `${String(min)} to ${String(max)}`;
    throw new ControlFailure(`"${name}" is ${JSON.stringify(value)}; give a number from ${range}`);
  }

  optional(name: string, min: number, max: number): number | undefined {
    return this.#values.has(name) ? this.number(name, min, max) : undefined;
  }

  assertAllRead(): void {
    const [unknown] = this.#unread;
    if (unknown !== undefined) throw new ControlFailure(`no field "${unknown}"; leave it out`);
  }

  #read(name: string): unknown {
    this.#unread.delete(name);
    return this.#values.get(name);
  }
}
