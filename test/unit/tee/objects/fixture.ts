/** What the tests of trusted objects have in common. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach } from 'node:test';

import type { TrustedStorageFixture } from '../../../contract/trusted-storage.contract.ts';
import { InstanceObjects } from '../../../tee/secure-world/objects/instance-objects.ts';
import { OpenObjects } from '../../../tee/secure-world/objects/sharing.ts';
import {
  StorageFailure,
  type TrustedStorage,
} from '../../../tee/secure-world/storage/trusted-storage.ts';
import { TaPanic } from '../../../tee/secure-world/ta.ts';

export const TA = 'b689f2a7-8adf-477a-9f99-32e90c0ad0a2';
export const PRIVATE = 1;
export const PRIVATE_REE = 0x8000_0000;
export const PRIVATE_RPMB = 0x8000_0100;

export const READ = 0x01;
export const WRITE = 0x02;
export const META = 0x04;
export const SHARE_READ = 0x10;
export const SHARE_WRITE = 0x20;
export const OVERWRITE = 0x400;

export const ALL = READ | WRITE | META;
export const SHARED = READ | WRITE | SHARE_READ | SHARE_WRITE;
export const BYTES: Uint8Array = Uint8Array.from({ length: 32 }, (_, at) => at);

export const SUCCESS = 0;
export const ACCESS_DENIED = 0xffff_0001;
export const ACCESS_CONFLICT = 0xffff_0003;
export const BAD_PARAMETERS = 0xffff_0006;
export const BAD_STATE = 0xffff_0007;
export const ITEM_NOT_FOUND = 0xffff_0008;
export const NOT_SUPPORTED = 0xffff_000a;
export const OUT_OF_MEMORY = 0xffff_000c;
export const OVERFLOW = 0xffff_300f;
export const NO_SPACE = 0xffff_3041;
export const CORRUPT_OBJECT = 0xf010_0001;
export const NOT_AVAILABLE = 0xf010_0003;

/** An instance of the test TA whose only storage is this one. */
export function instanceOn(
  ree: TrustedStorage,
  open = new OpenObjects(),
  ta = TA,
): InstanceObjects {
  return new InstanceObjects(ta, { ree, private: 'ree' }, open);
}

/** A TA on a storage that each test gets anew, and what most tests do with it. */
export class ObjectsUnderTest {
  claims = new OpenObjects();
  ta: InstanceObjects;
  readonly fixture: TrustedStorageFixture;

  constructor(fixture: TrustedStorageFixture) {
    this.fixture = fixture;
    this.ta = instanceOn(fixture.storage, this.claims);
  }

  create(object: string, flags = ALL, data: Uint8Array = BYTES): number {
    return this.ta.persistent.create(PRIVATE, id(object), { flags, data });
  }

  closed(object: string): void {
    this.ta.persistent.close(this.create(object));
  }

  open(object: string, flags: number, storageId = PRIVATE): number {
    return this.ta.persistent.open(storageId, id(object), flags);
  }

  /** The TA starts again, with nothing in its hands. */
  restart(): void {
    this.claims = new OpenObjects();
    this.ta = instanceOn(this.fixture.reopen(), this.claims);
  }

  /** Through a handle of its own, from the storage as it is after a restart. */
  stored(object: string): Uint8Array {
    const fresh = instanceOn(this.fixture.reopen());
    return fresh.streams.read(fresh.persistent.open(PRIVATE, id(object), READ), 1000);
  }

  dataOf(handle: number): Uint8Array {
    this.ta.streams.seek(handle, 0, 0);
    return this.ta.streams.read(handle, 1000);
  }
}

/** @returns what gives the current test's */
export function eachTest(open: () => TrustedStorageFixture): () => ObjectsUnderTest {
  let current: ObjectsUnderTest | undefined;
  beforeEach(() => {
    current = new ObjectsUnderTest(open());
  });
  afterEach(() => {
    current?.fixture.storage.close();
    current?.fixture.remove();
  });
  return () => current ?? assert.fail('used outside a test');
}

export function id(name: string): Uint8Array {
  return new TextEncoder().encode(name);
}

/** A result that the function may answer: the TA lives. */
export function answers(act: () => unknown, result: number): void {
  assert.throws(act, (error: unknown) => {
    assert.ok(error instanceof StorageFailure, String(error));
    assert.equal(hex(error.result), hex(result), error.message);
    return true;
  });
}

export function panics(act: () => unknown, code: number): void {
  assert.throws(act, (error: unknown) => {
    assert.ok(error instanceof TaPanic, String(error));
    assert.equal(hex(error.code), hex(code), error.message);
    return true;
  });
}

/** The result that is answered, or `panic`. */
export function outcomeOf(act: () => void): number | 'panic' {
  try {
    act();
    return SUCCESS;
  } catch (error) {
    if (error instanceof TaPanic) return 'panic';
    assert.ok(error instanceof StorageFailure, String(error));
    return error.result;
  }
}

export function hex(result: number): string {
  return `0x${result.toString(16).padStart(8, '0')}`;
}

/** A storage that fails where a test says so, before it does anything. */
export class FailingStorage implements TrustedStorage {
  fails: (method: string) => number | undefined = () => undefined;
  readonly calls: string[] = [];
  readonly #storage: TrustedStorage;

  constructor(storage: TrustedStorage) {
    this.#storage = storage;
  }

  read(...given: Parameters<TrustedStorage['read']>): Uint8Array | undefined {
    this.#enter('read');
    return this.#storage.read(...given);
  }

  write(...given: Parameters<TrustedStorage['write']>): void {
    this.#enter('write');
    this.#storage.write(...given);
  }

  rename(...given: Parameters<TrustedStorage['rename']>): ReturnType<TrustedStorage['rename']> {
    this.#enter('rename');
    return this.#storage.rename(...given);
  }

  remove(...given: Parameters<TrustedStorage['remove']>): boolean {
    this.#enter('remove');
    return this.#storage.remove(...given);
  }

  list(ta: string): readonly Uint8Array[] {
    this.#enter('list');
    return this.#storage.list(ta);
  }

  close(): void {
    this.#storage.close();
  }

  #enter(method: string): void {
    this.calls.push(method);
    const result = this.fails(method);
    if (result !== undefined) throw new StorageFailure(result, `${method} fails: the test says so`);
  }
}
