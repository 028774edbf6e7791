import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import fc from 'fast-check';

import * as abi from '../../tee/secure-world/festore/abi.ts';
import { festoreApp } from '../../tee/secure-world/festore/ta.ts';
import { openMemoryStorage } from '../../tee/secure-world/storage/memory-storage.ts';
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_SECURITY,
  TEE_ERROR_STORAGE_NO_SPACE,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
  type TrustedStorage,
} from '../../tee/secure-world/storage/trusted-storage.ts';
import type { TaInstance } from '../../tee/secure-world/ta.ts';
import { Cancellation } from '../../tee/secure-world/world/cancellation.ts';
import {
  Memory,
  packTypes,
  PARAM,
  type Operation,
  type Parameter,
} from '../../tee/secure-world/world/operation.ts';

const SUCCESS = 0;
const EXCESS_DATA = 0xffff_0004;
const BAD_PARAMETERS = 0xffff_0006;
const ITEM_NOT_FOUND = 0xffff_0008;
const SHORT_BUFFER = 0xffff_0010;
const PUT = 0;
const GET = 1;
const DELETE = 2;
const LIST = 3;
const SESSION = 1;
const MEBIBYTE = 1024 * 1024;
const { NONE, VALUE_INPUT, MEMREF_INPUT: IN, MEMREF_OUTPUT: OUT, MEMREF_INOUT } = PARAM;

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const input = (data: Uint8Array): Memory => new Memory(data, data.byteLength, false);
const room = (size: number): Memory => new Memory(new Uint8Array(), size, size === 0);

/** What a session of the TA does, over storage of its own. */
class Client {
  readonly storage: TrustedStorage;
  #ta: TaInstance;

  constructor(storage: TrustedStorage = openMemoryStorage()) {
    this.storage = storage;
    this.#ta = festoreApp(storage).create();
  }

  restart(): void {
    this.#ta = festoreApp(this.storage).create();
  }

  invoke(command: number, types: number, ...given: readonly Parameter[]): number {
    const none: Parameter = { kind: 'none' };
    const [first = none, second = none] = given;
    const operation: Operation = { types, parameters: [first, second, none, none] };
    const result = this.#ta.invoke(SESSION, command, operation, new Cancellation());
    assert.ok(typeof result === 'number', 'it answers at once');
    return result;
  }

  put(tag: Uint8Array, value: Uint8Array): number {
    return this.invoke(PUT, packTypes(IN, IN, NONE, NONE), input(tag), input(value));
  }

  /** The value, or the result that refuses it. */
  get(tag: Uint8Array): Buffer | number {
    const memory = room(2 * MEBIBYTE);
    const result = this.invoke(GET, packTypes(IN, OUT, NONE, NONE), input(tag), memory);
    return result === SUCCESS ? Buffer.from(memory.output ?? []) : result;
  }

  delete(tag: Uint8Array): number {
    return this.invoke(DELETE, packTypes(IN, NONE, NONE, NONE), input(tag));
  }

  tags(): readonly string[] {
    const memory = room(MEBIBYTE);
    assert.equal(this.invoke(LIST, packTypes(OUT, NONE, NONE, NONE), memory), SUCCESS);
    const list = Buffer.from(memory.output ?? []);
    const tags: string[] = [];
    for (let at = 0; at < list.length; at += 1 + list.readUInt8(at)) {
      tags.push(list.toString('latin1', at + 1, at + 1 + list.readUInt8(at)));
    }
    return tags;
  }
}

test('keeps, replaces and deletes a value under a tag, across instances', () => {
  const client = new Client();
  assert.equal(client.put(bytes('wifi'), bytes('first')), SUCCESS);
  assert.equal(client.put(bytes('wifi'), bytes('second')), SUCCESS);
  assert.equal(client.put(bytes('empty'), new Uint8Array()), SUCCESS);
  client.restart();

  assert.deepEqual(client.get(bytes('wifi')), Buffer.from('second'));
  assert.deepEqual(client.get(bytes('empty')), Buffer.alloc(0));
  assert.deepEqual(client.tags(), ['wifi', 'empty']);
  assert.equal(client.delete(bytes('wifi')), SUCCESS);
  assert.equal(client.get(bytes('wifi')), ITEM_NOT_FOUND);
  assert.equal(client.delete(bytes('wifi')), ITEM_NOT_FOUND);
  assert.deepEqual(client.tags(), ['empty']);
});

test('says how much room a value needs, writes nothing, and takes exactly that', () => {
  const client = new Client();
  client.put(bytes('tag'), bytes('12345'));
  for (const size of [0, 4]) {
    const memory = room(size);
    const types = packTypes(IN, OUT, NONE, NONE);
    assert.equal(client.invoke(GET, types, input(bytes('tag')), memory), SHORT_BUFFER);
    assert.deepEqual([memory.size, memory.output], [5, undefined]);
  }
  const exact = room(5);
  client.invoke(GET, packTypes(IN, OUT, NONE, NONE), input(bytes('tag')), exact);
  assert.deepEqual(Buffer.from(exact.output ?? []), Buffer.from('12345'));
});

test('says how much room the list of tags needs', () => {
  const client = new Client();
  client.put(bytes('ab'), bytes('1'));
  client.put(bytes('c'), bytes('2'));
  const memory = room(0);
  assert.equal(client.invoke(LIST, packTypes(OUT, NONE, NONE, NONE), memory), SHORT_BUFFER);
  assert.deepEqual([memory.size, memory.output], [5, undefined]);
});

test('takes tags of 1 to 64 bytes and no others, in every command that has one', () => {
  const client = new Client();
  const longest = new Uint8Array(64).fill(0xff);
  assert.equal(client.put(longest, bytes('x')), SUCCESS);
  assert.deepEqual(client.get(longest), Buffer.from('x'));
  for (const tag of [new Uint8Array(), new Uint8Array(65)]) {
    assert.equal(client.put(tag, bytes('y')), BAD_PARAMETERS);
    assert.equal(client.get(tag), BAD_PARAMETERS);
    assert.equal(client.delete(tag), BAD_PARAMETERS);
  }
  assert.equal(client.tags().length, 1);
});

test('takes a value of 1 MiB and not one byte more, and keeps the old value then', () => {
  const client = new Client();
  const largest = new Uint8Array(MEBIBYTE).fill(7);
  assert.equal(client.put(bytes('big'), largest), SUCCESS);
  assert.equal(client.put(bytes('big'), new Uint8Array(MEBIBYTE + 1)), EXCESS_DATA);
  assert.deepEqual(client.get(bytes('big')), Buffer.from(largest));
});

test('takes 256 tags; when they are taken, replaces and makes room still', () => {
  const client = new Client();
  const tag = (index: number): Uint8Array => bytes(String(index));
  for (let index = 0; index < 256; index += 1) assert.equal(client.put(tag(index), tag(index)), 0);
  assert.equal(client.put(tag(256), bytes('x')), TEE_ERROR_STORAGE_NO_SPACE);
  assert.equal(client.get(tag(256)), ITEM_NOT_FOUND);
  assert.equal(client.put(tag(0), bytes('new')), SUCCESS);
  assert.equal(client.delete(tag(1)), SUCCESS);
  assert.equal(client.put(tag(256), bytes('x')), SUCCESS);
  assert.equal(client.tags().length, 256);
});

test('refuses other commands and other parameter types, and changes nothing', () => {
  const client = new Client();
  client.put(bytes('tag'), bytes('value'));
  const right: readonly (readonly [number, number])[] = [
    [PUT, packTypes(IN, IN, NONE, NONE)],
    [GET, packTypes(IN, OUT, NONE, NONE)],
    [DELETE, packTypes(IN, NONE, NONE, NONE)],
    [LIST, packTypes(OUT, NONE, NONE, NONE)],
  ];
  const types = [
    ...right.map(([, each]) => each),
    packTypes(IN, MEMREF_INOUT, NONE, NONE),
    packTypes(VALUE_INPUT, IN, NONE, NONE),
    packTypes(IN, IN, IN, NONE),
    0,
  ];
  const first = input(bytes('tag'));
  for (const command of [PUT, GET, DELETE, LIST, 4, 0xffff_ffff]) {
    for (const wrong of types) {
      if (right.some(([known, each]) => known === command && each === wrong)) continue;
      assert.equal(client.invoke(command, wrong, first, input(bytes('x'))), BAD_PARAMETERS);
    }
  }
  assert.deepEqual(client.get(bytes('tag')), Buffer.from('value'));
});

/** Storage whose every operation fails with `result`. */
function failing(result: number): TrustedStorage {
  const fail = (): never => {
    throw new StorageFailure(result, 'as the test wants it');
  };
  return { ...openMemoryStorage(), read: fail, write: fail, remove: fail, list: () => [] };
}

for (const result of [
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NO_SPACE,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
]) {
  test(`answers what storage says: 0x${result.toString(16)}`, () => {
    const client = new Client(failing(result));
    assert.equal(client.put(bytes('tag'), bytes('x')), result);
    assert.equal(client.get(bytes('tag')), result);
    assert.equal(client.delete(bytes('tag')), result);
  });
}

test('panics at what no TA may survive', () => {
  const client = new Client(failing(TEE_ERROR_SECURITY));
  assert.throws(() => client.get(bytes('tag')), StorageFailure);
});

test('is a map from tags to values, whatever the bytes', () => {
  const tag = fc.uint8Array({ minLength: 1, maxLength: 3, max: 2 });
  const step = fc.record({ tag, value: fc.option(fc.uint8Array({ maxLength: 20 })) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const client = new Client();
      const model = new Map<string, Buffer>();
      for (const { tag: at, value } of steps) {
        const key = Buffer.from(at).toString('latin1');
        if (value === null) assert.equal(client.delete(at) === SUCCESS, model.delete(key));
        else assert.equal(client.put(at, value), SUCCESS);
        if (value !== null) model.set(key, Buffer.from(value));
      }
      assert.deepEqual([...client.tags()].sort(), [...model.keys()].sort());
      for (const [key, value] of model) {
        assert.deepEqual(client.get(new Uint8Array(Buffer.from(key, 'latin1'))), value);
      }
    }),
  );
});

test('has the same numbers in C', () => {
  const path = join(import.meta.dirname, '../../tee/normal-world/include/festore_ta.h');
  const header = readFileSync(path, 'utf8');
  for (const [name, id] of Object.entries(abi.FESTORE_CMD)) {
    assert.match(header, new RegExp(`FESTORE_CMD_${name}\\s+${String(id)}$`, 'm'));
  }
  assert.match(header, new RegExp(`MAX_TAG_BYTES\\s+${String(abi.MAX_TAG_BYTES)}u$`, 'm'));
  assert.equal(abi.MAX_VALUE_BYTES, MEBIBYTE);
  assert.match(header, /MAX_VALUE_BYTES\s+\(1024u \* 1024\)$/m);
  const digits = [...header.matchAll(/0x([0-9a-f]+)/g)].map(([, hex]) => hex).join('');
  assert.equal(digits, abi.FESTORE_TA_UUID.replaceAll('-', ''));
});
