/**
 * A client of the PKCS#11 TA, in process: what libckteec does to a command, and nothing more.
 */
import assert from 'node:assert/strict';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKF_SESSION, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import type { Mode } from '../../../tee/secure-world/pkcs11/mode.ts';
import { pkcs11App } from '../../../tee/secure-world/pkcs11/ta.ts';
import { openMemoryStorage } from '../../../tee/secure-world/storage/memory-storage.ts';
import type { TrustedStorage } from '../../../tee/secure-world/storage/trusted-storage.ts';
import {
  Memory,
  PARAM,
  packTypes,
  type Operation,
} from '../../../tee/secure-world/world/operation.ts';
import type { Credentials } from '../../../tee/secure-world/world/wire.ts';
import { World } from '../../../tee/secure-world/world/world.ts';
import { PromptClient } from '../prompt-client.ts';

export const SO_PIN = '12345678';
export const USER_PIN = '1234';
const PKCS11_TA = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';
const NOBODY: Credentials = { pid: 1, uid: 0, gid: 0, groups: [] };

export interface Reply {
  /** TEE_Result. */
  readonly result: number;
  /** Where it comes from: 3 the TEE, 4 the TA. */
  readonly origin: number;
  /** CKR value; `undefined` when the TA wrote none. */
  readonly rv: number | undefined;
  /** What parameter 2 was filled with. */
  readonly output: Buffer;
  /** What parameter 2's size was set to. */
  readonly size: number;
}

export interface Extras {
  readonly input?: Uint8Array;
  /** Room for output; with `signature`, there is none. */
  readonly room?: number;
  readonly signature?: Uint8Array;
}

/** A TEE with one PKCS#11 TA, and as many clients as a test wants. */
export class TestTee {
  readonly storage: TrustedStorage;
  readonly panics: unknown[] = [];
  readonly #mode: Mode;
  #world: World;

  constructor(storage: TrustedStorage = openMemoryStorage(), mode: Mode = 'default') {
    this.storage = storage;
    this.#mode = mode;
    this.#world = this.#boot();
  }

  static strict(): TestTee {
    return new TestTee(openMemoryStorage(), 'strict');
  }

  /** The instance ends as if the power had gone; storage is what it was. */
  restart(): void {
    this.#world = this.#boot();
  }

  connect(credentials = NOBODY, login = 0, loginData = 0): TaClient {
    const { client, result, session } = this.open(credentials, login, loginData);
    assert.equal(result, 0);
    return new TaClient(client, session);
  }

  /** As `connect`, where it may be refused. */
  open(
    credentials = NOBODY,
    login = 0,
    loginData = 0,
  ): { readonly client: PromptClient; readonly result: number; readonly session: number } {
    const client = new PromptClient(this.#world, credentials);
    const opened = client.open(PKCS11_TA, login, loginData, operationOf(undefined, {}));
    return { client, ...opened };
  }

  /** A token in slot 0 with both PINs set, and a read-write session with the user logged in. */
  connectUser(): { readonly client: TaClient; readonly session: number } {
    const client = this.connect();
    client.prepareToken();
    const session = client.openSession();
    client.ok(CMD.LOGIN, pinArguments(session, 1, USER_PIN));
    return { client, session };
  }

  #boot(): World {
    const app = pkcs11App(this.storage, { mode: this.#mode });
    return new World([app], (_uuid, cause) => this.panics.push(cause));
  }
}

export class TaClient {
  readonly #client: PromptClient;
  readonly #session: number;

  constructor(client: PromptClient, session: number) {
    this.#client = client;
    this.#session = session;
  }

  call(command: number, control: Uint8Array, extras: Extras = {}): Reply {
    return this.raw(command, operationOf(control, extras));
  }

  raw(command: number, operation: Operation): Reply {
    const { result, origin } = this.#client.invoke(this.#session, command, operation);
    const [control, , data] = operation.parameters;
    const answer = control instanceof Memory ? control.output : undefined;
    return {
      result,
      origin,
      rv: answer === undefined ? undefined : Buffer.from(answer).readUInt32LE(),
      output: Buffer.from((data instanceof Memory ? data.output : undefined) ?? []),
      size: data instanceof Memory ? data.size : 0,
    };
  }

  /** @returns the output of a command that has to succeed */
  ok(command: number, control: Uint8Array, extras: Extras = {}): Buffer {
    const reply = this.call(command, control, extras);
    assert.equal(hex(reply.rv), hex(CKR.OK));
    return reply.output;
  }

  /** Asserts the return value of a command that is refused. */
  refused(rv: number, command: number, control: Uint8Array, extras: Extras = {}): void {
    assert.equal(hex(this.call(command, control, extras).rv), hex(rv));
  }

  prepareToken(slot = 0): void {
    this.ok(CMD.INIT_TOKEN, initTokenArguments(slot, SO_PIN));
    const session = this.openSession(slot);
    this.ok(CMD.LOGIN, pinArguments(session, 0, SO_PIN));
    this.ok(CMD.INIT_PIN, Buffer.concat([u32(session, USER_PIN.length), Buffer.from(USER_PIN)]));
    this.ok(CMD.CLOSE_SESSION, u32(session));
  }

  openSession(slot = 0, kind: 'read-write' | 'read-only' = 'read-write'): number {
    const flags = CKF_SESSION.SERIAL | (kind === 'read-write' ? CKF_SESSION.RW : 0);
    return this.ok(CMD.OPEN_SESSION, u32(slot, flags), { room: 4 }).readUInt32LE();
  }

  create(session: number, template: Uint8Array): number {
    const control = Buffer.concat([u32(session), template]);
    return this.ok(CMD.CREATE_OBJECT, control, { room: 4 }).readUInt32LE();
  }

  generatePair(
    session: number,
    mechanism: number,
    publicTemplate: Uint8Array,
    privateTemplate: Uint8Array,
  ): { readonly publicKey: number; readonly privateKey: number } {
    const control = Buffer.concat([u32(session, mechanism, 0), publicTemplate, privateTemplate]);
    const handles = this.ok(CMD.GENERATE_KEY_PAIR, control, { room: 8 });
    return { publicKey: handles.readUInt32LE(0), privateKey: handles.readUInt32LE(4) };
  }

  /** @returns the value, or `undefined` when it is not given out */
  attribute(session: number, object: number, id: number): Buffer | undefined {
    const room = 1024;
    const control = Buffer.concat([u32(session, object), attributes([id, Buffer.alloc(room)])]);
    const { rv, output } = this.call(CMD.GET_ATTRIBUTE_VALUE, control, { room: room + 16 });
    if (rv !== CKR.OK) return undefined;
    return output.subarray(16, 16 + output.readUInt32LE(12));
  }

  find(session: number, template: Uint8Array): readonly number[] {
    this.ok(CMD.FIND_OBJECTS_INIT, Buffer.concat([u32(session), template]));
    const found = this.ok(CMD.FIND_OBJECTS, u32(session), { room: 400 });
    this.ok(CMD.FIND_OBJECTS_FINAL, u32(session));
    return Array.from({ length: found.byteLength / 4 }, (_, index) =>
      found.readUInt32LE(4 * index),
    );
  }

  tokenFlags(slot = 0): number {
    return this.ok(CMD.TOKEN_INFO, u32(slot), { room: 160 }).readUInt32LE(96);
  }

  sign(session: number, key: number, mechanism: Uint8Array, data: Uint8Array): Buffer {
    this.ok(CMD.SIGN_INIT, Buffer.concat([u32(session, key), mechanism]));
    return this.ok(CMD.SIGN_ONESHOT, u32(session), { input: data, room: 1024 });
  }

  /** @returns the return value of the verification */
  verify(
    session: number,
    key: number,
    mechanism: Uint8Array,
    { data, signature }: { readonly data: Uint8Array; readonly signature: Uint8Array },
  ): number | undefined {
    this.ok(CMD.VERIFY_INIT, Buffer.concat([u32(session, key), mechanism]));
    return this.call(CMD.VERIFY_ONESHOT, u32(session), { input: data, signature }).rv;
  }

  /** CK_STATE. */
  state(session: number): number {
    return this.ok(CMD.SESSION_INFO, u32(session), { room: 16 }).readUInt32LE(4);
  }

  close(): void {
    this.#client.disconnect();
  }
}

export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32LE(value >>> 0, 4 * index));
  return bytes;
}

/** A value of a template: a boolean, a number, or bytes. */
export type TemplateValue = boolean | number | string | Uint8Array;

/** A serialized template. */
export function attributes(...entries: readonly (readonly [number, TemplateValue])[]): Buffer {
  const body = entries.map(([id, value]) => {
    const bytes = bytesOf(value);
    return Buffer.concat([u32(id, bytes.byteLength), bytes]);
  });
  const size = body.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return Buffer.concat([u32(size, entries.length), ...body]);
}

export function mechanism(id: number, parameter: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([u32(id, parameter.byteLength), parameter]);
}

export function pinArguments(session: number, user: number, pin: string): Buffer {
  return Buffer.concat([u32(session, user, Buffer.byteLength(pin)), Buffer.from(pin)]);
}

export function setPinArguments(session: number, oldPin: string, newPin: string): Buffer {
  const pins = Buffer.from(oldPin + newPin);
  return Buffer.concat([u32(session, oldPin.length, newPin.length), pins]);
}

export function initPinArguments(session: number, pin: string): Buffer {
  return Buffer.concat([u32(session, pin.length), Buffer.from(pin)]);
}

export function initTokenArguments(slot: number, pin: string, label = 'demo'): Buffer {
  const padded = Buffer.from(label.padEnd(32, ' '));
  return Buffer.concat([u32(slot, Buffer.byteLength(pin)), padded, Buffer.from(pin)]);
}

export const P192 = Buffer.from('06082a8648ce3d030101', 'hex');
export const P224 = Buffer.from('06052b81040021', 'hex');
export const P256 = Buffer.from('06082a8648ce3d030107', 'hex');
export const P384 = Buffer.from('06052b81040022', 'hex');
export const P521 = Buffer.from('06052b81040023', 'hex');
export const ED25519 = Buffer.from('130c656477617264733235353139', 'hex');

/** Templates of a session pair that signs and verifies. */
export function signingPair(
  ...kind: readonly (readonly [number, TemplateValue])[]
): readonly [Buffer, Buffer] {
  const type = kind.filter(([id]) => id === CKA.KEY_TYPE);
  return [attributes(...kind, [CKA.VERIFY, true]), attributes(...type, [CKA.SIGN, true])];
}

export function hex(value: number | undefined): string {
  return value === undefined ? 'none' : `0x${value.toString(16)}`;
}

function bytesOf(value: TemplateValue): Uint8Array {
  if (typeof value === 'boolean') return Buffer.of(value ? 1 : 0);
  if (typeof value === 'number') return u32(value);
  return typeof value === 'string' ? Buffer.from(value) : value;
}

function operationOf(control: Uint8Array | undefined, extras: Extras): Operation {
  const none = { kind: 'none' } as const;
  const { input, room, signature } = extras;
  const data = signature === undefined ? room : undefined;
  return {
    types: packTypes(
      control === undefined ? PARAM.NONE : PARAM.MEMREF_INOUT,
      input === undefined ? PARAM.NONE : PARAM.MEMREF_INPUT,
      signature !== undefined
        ? PARAM.MEMREF_INPUT
        : data === undefined
          ? PARAM.NONE
          : PARAM.MEMREF_OUTPUT,
      PARAM.NONE,
    ),
    parameters: [
      control === undefined ? none : new Memory(control, control.byteLength, false),
      input === undefined ? none : new Memory(input, input.byteLength, false),
      signature !== undefined
        ? new Memory(signature, signature.byteLength, false)
        : data === undefined
          ? none
          : new Memory(Buffer.alloc(0), data, false),
      none,
    ],
  };
}
