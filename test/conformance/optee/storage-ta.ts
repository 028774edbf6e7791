/**
 * The trusted application that OP-TEE's storage suite talks to: each command is one function of the
 * Trusted Storage API, and what the client sends is what the function is given.
 *
 * Numbers and parameters are those of Debian's build of the real one (package optee-test-qemu,
 * b689f2a7-8adf-477a-9f99-32e90c0ad0a2.ta).
 */
import { createCipheriv } from 'node:crypto';

import {
  appWithObjects,
  type InstanceObjects,
} from '../../tee/secure-world/objects/instance-objects.ts';
import type { ObjectInfo } from '../../tee/secure-world/objects/persistent-objects.ts';
import {
  TEE_STORAGE_PRIVATE_REE,
  TEE_STORAGE_PRIVATE_RPMB,
} from '../../tee/secure-world/objects/place.ts';
import { DATA_FLAG } from '../../tee/secure-world/objects/sharing.ts';
import type { StorageBackends } from '../../tee/secure-world/storage/backends.ts';
import { StorageFailure } from '../../tee/secure-world/storage/trusted-storage.ts';
import { TA_FLAG, type TaInstance, type TrustedApp } from '../../tee/secure-world/ta.ts';
import {
  packTypes,
  PARAM,
  typeAt,
  type Operation,
} from '../../tee/secure-world/world/operation.ts';
import { TEE } from '../../tee/secure-world/world/results.ts';
import { Parameters } from './parameters.ts';

const { NONE, VALUE_INPUT, VALUE_OUTPUT, VALUE_INOUT, MEMREF_INPUT, MEMREF_OUTPUT } = PARAM;
const { ACCESS_READ, ACCESS_WRITE, ACCESS_WRITE_META, SHARE_READ, SHARE_WRITE, OVERWRITE } =
  DATA_FLAG;
const ONE_VALUE = packTypes(VALUE_INPUT, NONE, NONE, NONE);
const OPEN = packTypes(MEMREF_INPUT, VALUE_INOUT, VALUE_INPUT, NONE);
const CREATE = packTypes(MEMREF_INPUT, VALUE_INOUT, VALUE_INPUT, MEMREF_INPUT);
const OVERWRITING = packTypes(MEMREF_INPUT, VALUE_INPUT, NONE, NONE);
const RENAME = packTypes(VALUE_INPUT, MEMREF_INPUT, NONE, NONE);

const AES = 0xa000_0010;
const AES_BITS = 256;
const MAX_ID_BYTES = 64;

interface Command {
  /** `any` where the command looks at them itself. */
  readonly types: number | 'any';
  /** @throws StorageFailure with the result that the client gets */
  readonly run: (objects: InstanceObjects, parameters: Parameters) => void;
}

const openWith = (id: 'own' | 'client'): Command => ({
  types: OPEN,
  run: ({ persistent }, parameters) => {
    const [{ a: flags }, { a: storage }] = [parameters.value(1), parameters.value(2)];
    parameters.setValue(1, { b: 0 });
    parameters.setValue(1, { b: persistent.open(storage, parameters.id(0, id), flags) });
  },
});

const createWith = (id: 'own' | 'client'): Command => ({
  types: CREATE,
  run: ({ persistent }, parameters) => {
    const { a: flags } = parameters.value(1);
    const { a: attributes, b: storage } = parameters.value(2);
    parameters.setValue(1, { b: 0 });
    const created = { flags, attributes, data: parameters.bytes(3) };
    parameters.setValue(1, { b: persistent.create(storage, parameters.id(0, id), created) });
  },
});

const createOverwriting = (id: 'own' | 'client'): Command => ({
  types: OVERWRITING,
  run: ({ persistent }, parameters) => {
    const { a: storage } = parameters.value(1);
    persistent.close(persistent.create(storage, parameters.id(0, id), { flags: OVERWRITE }));
  },
});

const renameWith = (id: 'own' | 'client'): Command => ({
  types: RENAME,
  run: ({ persistent }, parameters) => {
    persistent.rename(parameters.value(0).a, parameters.id(1, id));
  },
});

/** A command that passes one or two numbers on. */
const passing = (run: (objects: InstanceObjects, a: number, b: number) => void): Command => ({
  types: ONE_VALUE,
  run: (objects, parameters) => {
    const { a, b } = parameters.value(0);
    run(objects, a, b);
  },
});

const COMMANDS: readonly Command[] = [
  openWith('own'),
  passing(({ persistent }, handle) => {
    persistent.close(handle);
  }),
  {
    types: packTypes(MEMREF_OUTPUT, VALUE_INOUT, NONE, NONE),
    run: ({ streams }, parameters) => {
      const bytes = streams.read(parameters.value(1).a, parameters.room(0));
      parameters.fill(0, bytes);
      parameters.setValue(1, { b: bytes.byteLength });
    },
  },
  {
    types: packTypes(MEMREF_INPUT, VALUE_INPUT, NONE, NONE),
    run: ({ streams }, parameters) => {
      streams.write(parameters.value(1).a, parameters.bytes(0));
    },
  },
  createWith('own'),
  {
    types: packTypes(VALUE_INPUT, VALUE_INOUT, NONE, NONE),
    run: ({ persistent, streams }, parameters) => {
      const { a: handle, b: offset } = parameters.value(0);
      streams.seek(handle, offset | 0, parameters.value(1).a);
      parameters.setValue(1, { b: persistent.info(handle).dataPosition });
    },
  },
  passing(({ persistent }, handle) => {
    persistent.closeAndDelete(handle);
  }),
  renameWith('own'),
  passing(({ streams }, handle, sizeBytes) => {
    streams.truncate(handle, sizeBytes);
  }),
  {
    types: packTypes(VALUE_OUTPUT, NONE, NONE, NONE),
    run: ({ enumerators }, parameters) => {
      parameters.setValue(0, { a: enumerators.allocate() });
    },
  },
  passing(({ enumerators }, handle) => {
    enumerators.free(handle);
  }),
  passing(({ enumerators }, handle) => {
    enumerators.reset(handle);
  }),
  passing(({ enumerators }, handle, storage) => {
    enumerators.start(handle, storage);
  }),
  { types: 'any', run: nextObject },
  createOverwriting('own'),
  passing(keyInPersistentObject),
  passing(({ persistent }, storage) => {
    for (let each = 0; each < 20; each += 1) {
      const flags = OVERWRITE | ACCESS_WRITE_META;
      persistent.closeAndDelete(persistent.create(storage, word(each), { flags }));
    }
  }),
  passing(({ persistent }, handle, usage) => {
    persistent.restrictUsage(handle, usage);
  }),
  {
    types: packTypes(VALUE_INPUT, VALUE_OUTPUT, NONE, NONE),
    run: ({ transient }, parameters) => {
      const { a: objectType, b: maxSizeBits } = parameters.value(0);
      parameters.setValue(1, { a: transient.allocate(objectType, maxSizeBits) });
    },
  },
  passing(({ transient }, handle) => {
    transient.free(handle);
  }),
  passing(({ transient }, handle) => {
    transient.reset(handle);
  }),
  {
    types: packTypes(VALUE_INPUT, MEMREF_OUTPUT, NONE, NONE),
    run: ({ persistent }, parameters) => {
      parameters.assertRoom(1, 28);
      parameters.fill(1, encodeInfo(persistent.info(parameters.value(0).a), 'short'));
    },
  },
  openWith('client'),
  createWith('client'),
  createOverwriting('client'),
  renameWith('client'),
  { types: 'any', run: clearStorage },
];

/** `app` of a module that the secure world loads with --ta. */
export function app(backends: StorageBackends): TrustedApp {
  return storageApp('b689f2a7-8adf-477a-9f99-32e90c0ad0a2', backends);
}

export function storageApp(uuid: string, backends: StorageBackends): TrustedApp {
  // As the real one says: an instance for each session.
  const flags = TA_FLAG.MULTI_SESSION;
  const create = (objects: InstanceObjects): TaInstance => ({
    open: () => TEE.SUCCESS,
    invoke: (_session, command, operation) => invoke(objects, command, operation),
    close: () => undefined,
    destroy: () => undefined,
  });
  return appWithObjects({ uuid, flags, create }, backends);
}

function invoke(objects: InstanceObjects, id: number, operation: Operation): number {
  const command = COMMANDS[id];
  if (command === undefined) return TEE.BAD_PARAMETERS;
  const { types, run } = command;
  if (types !== 'any' && types !== operation.types) return TEE.BAD_PARAMETERS;
  try {
    run(objects, new Parameters(operation));
    return TEE.SUCCESS;
  } catch (failure) {
    if (failure instanceof StorageFailure) return failure.result;
    throw failure;
  }
}

/** Parameter 1 is optional: where the object's description goes. */
function nextObject({ enumerators }: InstanceObjects, parameters: Parameters): void {
  const hasInfo = typeAt(parameters.types, 1) === MEMREF_OUTPUT;
  const infoType = hasInfo ? MEMREF_OUTPUT : NONE;
  if (parameters.types !== packTypes(VALUE_INPUT, infoType, MEMREF_OUTPUT, NONE)) {
    throw new StorageFailure(TEE.BAD_PARAMETERS, 'the parameters are of other types');
  }
  parameters.assertRoom(2, MAX_ID_BYTES);
  if (hasInfo) parameters.assertRoom(1, 40);
  const { id, info } = enumerators.next(parameters.value(0).a);
  parameters.fill(2, id);
  if (hasInfo) parameters.fill(1, encodeInfo(info, 'long'));
}

/** Makes a key, an object of it, that object once more from the first, and uses what was stored. */
function keyInPersistentObject({ persistent, transient }: InstanceObjects, storage: number): void {
  const flags = ACCESS_READ | ACCESS_WRITE | ACCESS_WRITE_META | SHARE_READ | SHARE_WRITE;
  const key = transient.allocate(AES, AES_BITS);
  transient.generateKey(key, AES_BITS);
  const made = persistent.info(key);
  const copy = persistent.create(storage, word(1), { flags, attributes: key });
  assertAlike(made, persistent.info(copy));
  persistent.closeAndDelete(copy);
  persistent.persist(storage, word(1), { flags, attributes: key, data: new Uint8Array(0) });
  assertAlike(made, persistent.info(key));
  persistent.close(key);
  const stored = persistent.open(storage, word(1), flags);
  assertAlike(made, persistent.info(stored));
  createCipheriv('aes-256-cbc', transient.operationKey(stored), new Uint8Array(16)).final();
  persistent.closeAndDelete(stored);
}

function assertAlike(one: ObjectInfo, other: ObjectInfo): void {
  const [first, second] = [one, other].map((info) => encodeInfo(info, 'short').subarray(0, 16));
  if (Buffer.compare(first ?? word(0), second ?? word(1)) === 0) return;
  throw new StorageFailure(TEE.GENERIC, 'a stored key is not described as it was');
}

function clearStorage({ persistent, enumerators }: InstanceObjects): void {
  for (const storage of [TEE_STORAGE_PRIVATE_REE, TEE_STORAGE_PRIVATE_RPMB]) {
    const enumerator = enumerators.allocate();
    try {
      enumerators.start(enumerator, storage);
      for (;;) {
        const { id } = enumerators.next(enumerator);
        persistent.closeAndDelete(persistent.open(storage, id, ACCESS_WRITE_META));
      }
    } catch (end) {
      if (!(end instanceof StorageFailure && end.result === TEE.ITEM_NOT_FOUND)) throw end;
    } finally {
      enumerators.free(enumerator);
    }
  }
}

/** TEE_ObjectInfo of a 64-bit TA, and what the suite takes for it, where sizes have 32 bits. */
function encodeInfo(info: ObjectInfo, form: 'long' | 'short'): Buffer {
  const { objectType, objectSizeBits, maxObjectSizeBits, objectUsage } = info;
  const { dataSizeBytes, dataPosition, handleFlags } = info;
  const numbers = [objectType, objectSizeBits, maxObjectSizeBits, objectUsage];
  if (form === 'short') numbers.push(dataSizeBytes, dataPosition, handleFlags);
  else numbers.push(dataSizeBytes, 0, dataPosition, 0, handleFlags, 0);
  return Buffer.concat(numbers.map(word));
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
