/** Objects and the life of the instance that holds them, in a world of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { app } from '../../../conformance/optee/storage-ta.ts';
import { openMemoryStorage } from '../../../tee/secure-world/storage/memory-storage.ts';
import type { StorageBackends } from '../../../tee/secure-world/storage/backends.ts';
import { TA_FLAG, type TrustedApp } from '../../../tee/secure-world/ta.ts';
import { appWithObjects } from '../../../tee/secure-world/objects/instance-objects.ts';
import {
  Memory,
  packTypes,
  PARAM,
  type Operation,
  type Parameter,
} from '../../../tee/secure-world/world/operation.ts';
import { World, WorldClient } from '../../../tee/secure-world/world/world.ts';
import {
  ACCESS_CONFLICT,
  id,
  ITEM_NOT_FOUND,
  META,
  PRIVATE,
  READ,
  SUCCESS,
  TA,
  WRITE,
} from './fixture.ts';

const { NONE, VALUE_INPUT, VALUE_INOUT, MEMREF_INPUT } = PARAM;
const TARGET_DEAD = 0xffff_3024;
const NOTHING: Operation = {
  types: 0,
  parameters: [{ kind: 'none' }, { kind: 'none' }, { kind: 'none' }, { kind: 'none' }],
};
const [OPEN, READING, WRITING] = [0, 2, 3];

class Session {
  readonly #client: WorldClient;
  readonly #session: number;

  constructor(world: World) {
    this.#client = new WorldClient(world, { pid: 1, uid: 0, gid: 0, groups: [] });
    const opened = this.#client.open(TA, 0, 0, NOTHING);
    assert.ok('result' in opened && opened.result === SUCCESS);
    this.#session = opened.session;
  }

  openObject(name: string, flags: number): { readonly result: number; readonly handle: number } {
    const handle = { kind: 'value' as const, a: flags, b: 0 };
    const result = this.#invoke(OPEN, packTypes(MEMREF_INPUT, VALUE_INOUT, VALUE_INPUT, NONE), [
      new Memory(id(name), name.length, false),
      handle,
      { kind: 'value', a: PRIVATE, b: 0 },
    ]);
    return { result, handle: handle.b };
  }

  create(name: string): number {
    return this.#invoke(4, packTypes(MEMREF_INPUT, VALUE_INOUT, VALUE_INPUT, MEMREF_INPUT), [
      new Memory(id(name), name.length, false),
      { kind: 'value', a: META, b: 0 },
      { kind: 'value', a: 0, b: PRIVATE },
      new Memory(new Uint8Array(0), 0, false),
    ]);
  }

  write(handle: number): number {
    return this.#invoke(WRITING, packTypes(MEMREF_INPUT, VALUE_INPUT, NONE, NONE), [
      new Memory(id('x'), 1, false),
      { kind: 'value', a: handle, b: 0 },
    ]);
  }

  /** With parameters of other types than the command has. */
  misuse(): number {
    return this.#invoke(READING, 0, []);
  }

  close(): void {
    this.#client.disconnect();
  }

  #invoke(command: number, types: number, given: readonly Parameter[]): number {
    const at = (index: number): Parameter => given[index] ?? { kind: 'none' };
    const operation = { types, parameters: [at(0), at(1), at(2), at(3)] as const };
    const answer = this.#client.invoke(this.#session, command, operation);
    assert.ok('result' in answer, 'the TA answers at once');
    return answer.result;
  }
}

function start(of: (backends: StorageBackends) => TrustedApp = app): {
  readonly world: World;
  readonly panics: unknown[];
} {
  const panics: unknown[] = [];
  const backends = { ree: openMemoryStorage(), private: 'ree' as const };
  return { world: new World([of(backends)], (_uuid, cause) => panics.push(cause)), panics };
}

test('a panic ends one session and gives its objects back; the others go on', () => {
  const { world, panics } = start();
  const [one, other] = [new Session(world), new Session(world)];
  one.create('a');
  one.create('b');
  const theirs = other.openObject('b', READ);
  assert.equal(theirs.result, ACCESS_CONFLICT);
  const handle = one.openObject('c', READ);
  assert.equal(handle.result, ITEM_NOT_FOUND);

  assert.equal(one.write(1), TARGET_DEAD, 'the object is not open for writing');

  assert.equal(panics.length, 1);
  assert.equal(one.openObject('a', READ).result, TARGET_DEAD);
  const again = other.openObject('a', READ | WRITE);
  assert.equal(again.result, SUCCESS);
  assert.equal(other.write(again.handle), SUCCESS);
  assert.equal(new Session(world).openObject('b', META).result, SUCCESS);
});

test('a session that is closed gives its objects back', () => {
  const { world } = start();
  const one = new Session(world);
  one.create('a');
  const other = new Session(world);
  assert.equal(other.openObject('a', READ).result, ACCESS_CONFLICT);
  one.close();
  assert.equal(other.openObject('a', READ).result, SUCCESS);
});

test('a world that kills a TA takes its objects back too', () => {
  const { world } = start();
  const one = new Session(world);
  one.create('a');
  assert.equal(world.panic(TA, new Error('killed by the test')), 1);
  assert.equal(new Session(world).openObject('a', META).result, SUCCESS);
});

test('a TA that panics as it starts keeps nothing', () => {
  let isBroken = true;
  const { world, panics } = start((backends) => {
    const flags = TA_FLAG.SINGLE_INSTANCE;
    return appWithObjects(
      {
        uuid: TA,
        flags,
        create: ({ persistent }) => {
          persistent.create(PRIVATE, id('a'), { flags: isBroken ? META : READ | 0x400 });
          if (isBroken) throw new Error('broken by the test');
          return {
            open: () => SUCCESS,
            invoke: () => SUCCESS,
            close: () => undefined,
            destroy: () => undefined,
          };
        },
      },
      backends,
    );
  });
  assert.throws(() => new Session(world));
  assert.equal(panics.length, 1);
  isBroken = false;
  new Session(world);
});

test('wrong parameter types are TEE_ERROR_BAD_PARAMETERS, not a panic', () => {
  const { world, panics } = start();
  assert.equal(new Session(world).misuse(), 0xffff_0006);
  assert.deepEqual(panics, []);
});
