import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { InstanceObjects } from '../../../tee/secure-world/objects/instance-objects.ts';
import { openMemoryStorage } from '../../../tee/secure-world/storage/memory-storage.ts';
import {
  ACCESS_CONFLICT,
  ALL,
  answers,
  BAD_PARAMETERS,
  BAD_STATE,
  BYTES,
  CORRUPT_OBJECT,
  FailingStorage,
  hex,
  id,
  instanceOn,
  ITEM_NOT_FOUND,
  META,
  NO_SPACE,
  NOT_AVAILABLE,
  NOT_SUPPORTED,
  OUT_OF_MEMORY,
  outcomeOf,
  OVERFLOW,
  OVERWRITE,
  panics,
  PRIVATE,
  READ,
  SHARED,
} from './fixture.ts';

const SECURITY = 0xffff_000f;
const COMMUNICATION = 0xffff_000e;
/** What a storage might say, allowed or not. */
const EVERY_RESULT = [
  ACCESS_CONFLICT,
  BAD_PARAMETERS,
  BAD_STATE,
  ITEM_NOT_FOUND,
  NOT_SUPPORTED,
  OUT_OF_MEMORY,
  COMMUNICATION,
  SECURITY,
  OVERFLOW,
  NO_SPACE,
  CORRUPT_OBJECT,
  NOT_AVAILABLE,
];

interface Row {
  readonly name: string;
  /** What the storage is asked to do when the function is called, and then fails. */
  readonly method: string;
  readonly call: (ta: InstanceObjects, handle: number, enumerator: number) => void;
  readonly permitted: readonly number[];
}

/** OP-TEE 4.10 lib/libutee/tee_api_objects.c, function by function. */
const ROWS: readonly Row[] = [
  {
    name: 'TEE_OpenPersistentObject',
    method: 'read',
    call: (ta) => ta.persistent.open(PRIVATE, id('closed'), READ),
    permitted: [ITEM_NOT_FOUND, ACCESS_CONFLICT, OUT_OF_MEMORY, CORRUPT_OBJECT, NOT_AVAILABLE],
  },
  {
    name: 'TEE_CreatePersistentObject',
    method: 'write',
    call: (ta) => ta.persistent.create(PRIVATE, id('new'), { flags: READ }),
    permitted: [
      ...[ITEM_NOT_FOUND, ACCESS_CONFLICT, OUT_OF_MEMORY],
      ...[NO_SPACE, CORRUPT_OBJECT, NOT_AVAILABLE],
    ],
  },
  {
    name: 'TEE_CloseAndDeletePersistentObject1',
    method: 'remove',
    call: (ta, handle) => {
      ta.persistent.closeAndDelete(handle);
    },
    permitted: [NOT_AVAILABLE],
  },
  {
    name: 'TEE_RenamePersistentObject',
    method: 'rename',
    call: (ta, handle) => {
      ta.persistent.rename(handle, id('renamed'));
    },
    permitted: [ACCESS_CONFLICT, CORRUPT_OBJECT, NOT_AVAILABLE],
  },
  {
    name: 'TEE_RestrictObjectUsage1',
    method: 'write',
    call: (ta, handle) => {
      ta.persistent.restrictUsage(handle, 0);
    },
    permitted: [CORRUPT_OBJECT, NOT_AVAILABLE],
  },
  {
    name: 'TEE_ReadObjectData',
    method: 'read',
    call: (ta, handle) => ta.streams.read(handle, 4),
    permitted: [CORRUPT_OBJECT, NOT_AVAILABLE],
  },
  {
    name: 'TEE_WriteObjectData',
    method: 'write',
    call: (ta, handle) => {
      ta.streams.write(handle, id('changed'));
    },
    permitted: [NO_SPACE, OVERFLOW, CORRUPT_OBJECT, NOT_AVAILABLE],
  },
  {
    name: 'TEE_TruncateObjectData',
    method: 'write',
    call: (ta, handle) => {
      ta.streams.truncate(handle, 3);
    },
    permitted: [NO_SPACE, OVERFLOW, CORRUPT_OBJECT, NOT_AVAILABLE],
  },
  {
    name: 'TEE_StartPersistentObjectEnumerator',
    method: 'list',
    call: (ta, _handle, enumerator) => {
      ta.enumerators.start(enumerator, PRIVATE);
    },
    permitted: [ITEM_NOT_FOUND, CORRUPT_OBJECT, NOT_AVAILABLE],
  },
  {
    name: 'TEE_GetNextPersistentObject',
    method: 'read',
    call: (ta, _handle, enumerator) => {
      ta.enumerators.next(enumerator);
    },
    permitted: [ITEM_NOT_FOUND, CORRUPT_OBJECT, NOT_AVAILABLE],
  },
];

describe('a result of the storage', () => {
  for (const { name, method, call, permitted } of ROWS) {
    for (const result of EVERY_RESULT) {
      const isPermitted = permitted.includes(result);
      test(`${hex(result)} is ${isPermitted ? 'answered' : 'a panic'} in ${name}`, () => {
        const storage = new FailingStorage(openMemoryStorage());
        const ta = instanceOn(storage);
        ta.persistent.close(ta.persistent.create(PRIVATE, id('closed'), { flags: 0, data: BYTES }));
        const handle = ta.persistent.create(PRIVATE, id('open'), { flags: ALL, data: BYTES });
        const enumerator = ta.enumerators.allocate();
        ta.enumerators.start(enumerator, PRIVATE);
        storage.fails = (each) => (each === method ? result : undefined);

        const act = (): void => {
          call(ta, handle, enumerator);
        };
        if (isPermitted) answers(act, result);
        else panics(act, result);

        storage.fails = () => undefined;
        const other = instanceOn(storage);
        for (const each of ['closed', 'open']) {
          const again = other.persistent.open(PRIVATE, id(each), READ);
          assert.deepEqual(other.streams.read(again, 100), BYTES);
        }
        answers(() => other.persistent.open(PRIVATE, id('new'), READ), ITEM_NOT_FOUND);
      });
    }
  }
});

test('a corrupt object closes the handle it is read through, and is kept', () => {
  for (const call of [
    (ta: InstanceObjects, handle: number) => ta.streams.read(handle, 1),
    (ta: InstanceObjects, handle: number) => {
      ta.streams.write(handle, id('x'));
    },
    (ta: InstanceObjects, handle: number) => {
      ta.streams.truncate(handle, 1);
    },
    (ta: InstanceObjects, handle: number) => {
      ta.persistent.restrictUsage(handle, 1);
    },
  ]) {
    const storage = new FailingStorage(openMemoryStorage());
    const ta = instanceOn(storage);
    const handle = ta.persistent.create(PRIVATE, id('a'), { flags: ALL, data: BYTES });
    storage.fails = (method) => (method === 'read' ? CORRUPT_OBJECT : undefined);
    answers(() => {
      call(ta, handle);
    }, CORRUPT_OBJECT);
    panics(() => ta.persistent.info(handle), BAD_PARAMETERS);
    for (const flags of [READ, META]) {
      answers(() => ta.persistent.open(PRIVATE, id('a'), flags), CORRUPT_OBJECT);
    }
    answers(() => ta.persistent.create(PRIVATE, id('a'), { flags: 0 }), ACCESS_CONFLICT);
    storage.fails = () => undefined;
    assert.deepEqual(ta.streams.read(ta.persistent.open(PRIVATE, id('a'), READ), 100), BYTES);
  }
});

test('a corrupt object that can not be written over is replaced by OVERWRITE all the same', () => {
  const storage = new FailingStorage(openMemoryStorage());
  const ta = instanceOn(storage);
  ta.persistent.close(ta.persistent.create(PRIVATE, id('a'), { flags: 0, data: BYTES }));
  let isCorrupt = true;
  storage.fails = (method) => {
    if (method === 'remove') isCorrupt = false;
    return isCorrupt && method === 'write' ? CORRUPT_OBJECT : undefined;
  };
  const given = { flags: READ | OVERWRITE, data: id('new') };
  assert.deepEqual(
    ta.streams.read(ta.persistent.create(PRIVATE, id('a'), given), 100),
    new Uint8Array(id('new')),
  );
});

test('an object that goes behind its handle is corrupt, not missing', () => {
  const storage = openMemoryStorage();
  const ta = instanceOn(storage);
  const handle = ta.persistent.create(PRIVATE, id('a'), { flags: SHARED });
  storage.remove('b689f2a7-8adf-477a-9f99-32e90c0ad0a2', id('a'));
  answers(() => ta.streams.read(handle, 1), CORRUPT_OBJECT);
});

test('what changes an object is one durable write, and what does not is none', () => {
  const storage = new FailingStorage(openMemoryStorage());
  const ta = instanceOn(storage);
  const changesOf = (act: () => unknown): readonly string[] => {
    storage.calls.length = 0;
    act();
    return storage.calls.filter((method) => ['write', 'rename', 'remove'].includes(method));
  };
  let handle = 0;
  const create = (flags: number) => () => {
    handle = ta.persistent.create(PRIVATE, id('a'), { flags, data: BYTES });
  };
  assert.deepEqual(changesOf(create(ALL)), ['write']);
  assert.deepEqual(
    changesOf(() => {
      ta.streams.write(handle, BYTES);
    }),
    ['write'],
  );
  assert.deepEqual(
    changesOf(() => {
      ta.streams.truncate(handle, 5);
    }),
    ['write'],
  );
  assert.deepEqual(
    changesOf(() => {
      ta.persistent.rename(handle, id('b'));
    }),
    ['rename'],
  );
  assert.deepEqual(
    changesOf(() => {
      ta.streams.seek(handle, 100, 0);
      ta.streams.read(handle, 100);
      ta.persistent.info(handle);
      ta.persistent.close(handle);
    }),
    [],
  );
  create(META)();
  ta.persistent.close(handle);
  assert.deepEqual(changesOf(create(ALL | OVERWRITE)), ['write']);
});

test('an instance can hold 1024 objects and 1024 enumerators, and no more', () => {
  const ta = instanceOn(openMemoryStorage());
  ta.persistent.close(ta.persistent.create(PRIVATE, id('a'), { flags: 0 }));
  for (let each = 0; each < 1024; each += 1) {
    ta.persistent.open(PRIVATE, id('a'), 0);
    ta.enumerators.allocate();
  }
  const open = (): number => ta.persistent.open(PRIVATE, id('a'), 0);
  answers(open, OUT_OF_MEMORY);
  answers(() => ta.persistent.create(PRIVATE, id('b'), { flags: 0 }), OUT_OF_MEMORY);
  answers(() => ta.transient.allocate(0xa000_0010, 128), OUT_OF_MEMORY);
  answers(() => ta.enumerators.allocate(), OUT_OF_MEMORY);
  ta.persistent.close(2);
  open();
  ta.persistent.close(3);
  answers(() => ta.persistent.open(PRIVATE, id('b'), 0), ITEM_NOT_FOUND);
});

test('a transient object has a size of its type, one key, and no place in storage', () => {
  const ta = instanceOn(openMemoryStorage());
  for (const [objectType, sizeBits] of [
    [0xa000_0010, 127],
    [0xa000_0010, 320],
    [0xa000_0000, 4104],
    [0xa000_00bf, 0],
    [0xa100_0030, 2048],
    [0, 0],
  ] as const) {
    answers(() => ta.transient.allocate(objectType, sizeBits), NOT_SUPPORTED);
  }
  const key = ta.transient.allocate(0xa000_0004, 512);
  const flags = { flags: 0, attributes: key };
  panics(() => ta.persistent.create(PRIVATE, id('a'), flags), BAD_PARAMETERS);
  panics(() => ta.transient.operationKey(key), BAD_PARAMETERS);
  assert.equal(
    outcomeOf(() => {
      ta.transient.generateKey(key, 520);
    }),
    'panic',
  );
  ta.transient.generateKey(key, 256);
  panics(() => {
    ta.transient.generateKey(key, 256);
  }, BAD_STATE);
  ta.persistent.restrictUsage(key, 3);
  assert.equal(ta.persistent.info(key).objectUsage, 3);
  panics(() => ta.streams.read(key, 1), BAD_STATE);
  ta.transient.reset(key);
  assert.deepEqual(ta.persistent.info(key), {
    objectType: 0xa000_0004,
    objectSizeBits: 0,
    maxObjectSizeBits: 512,
    objectUsage: 0xffff_ffff,
    dataSizeBytes: 0,
    dataPosition: 0,
    handleFlags: 0,
  });
  const object = ta.persistent.create(PRIVATE, id('a'), { flags: ALL });
  panics(() => {
    ta.transient.free(object);
  }, BAD_STATE);
  panics(() => {
    ta.transient.reset(object);
  }, BAD_STATE);
  ta.transient.free(key);
  panics(() => ta.persistent.info(key), BAD_PARAMETERS);
  ta.transient.free(0);
  ta.transient.reset(0);
});
