/**
 * The festore TA: keeps a buffer under a tag, encrypted so that only the TEE can read it.
 *
 * The smallest TA that is of use. What it keeps is the TA's, not a client's: whoever may open a
 * session may read, replace and delete everything.
 */
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NO_SPACE,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
  type TrustedStorage,
} from '../storage/trusted-storage.ts';
import { TA_FLAG, type TaInstance, type TrustedApp } from '../ta.ts';
import { Memory, packTypes, PARAM, type Operation } from '../world/operation.ts';
import { TEE } from '../world/results.ts';
import {
  FESTORE_CMD,
  FESTORE_TA_UUID,
  MAX_OBJECTS,
  MAX_TAG_BYTES,
  MAX_VALUE_BYTES,
  TEE_ERROR_EXCESS_DATA,
} from './abi.ts';
import { TaggedObjects } from './objects.ts';

interface Command {
  /** The only parameter types it takes. */
  readonly types: number;
  run(objects: TaggedObjects, first: Memory, second: Memory): number;
}

const { NONE, MEMREF_INPUT, MEMREF_OUTPUT } = PARAM;
const COMMANDS: ReadonlyMap<number, Command> = new Map([
  [
    FESTORE_CMD.WRITE_OBJECT,
    { types: packTypes(MEMREF_INPUT, MEMREF_INPUT, NONE, NONE), run: write },
  ],
  [
    FESTORE_CMD.READ_OBJECT,
    { types: packTypes(MEMREF_INPUT, MEMREF_OUTPUT, NONE, NONE), run: read },
  ],
  [FESTORE_CMD.DELETE_OBJECT, { types: packTypes(MEMREF_INPUT, NONE, NONE, NONE), run: remove }],
  [FESTORE_CMD.LIST_OBJECTS, { types: packTypes(MEMREF_OUTPUT, NONE, NONE, NONE), run: list }],
]);

/** Stands for a parameter that a command does not have. */
const NO_MEMORY = new Memory(new Uint8Array(), 0, true);

/** Failures of storage that a TA may survive; any other is a panic (TEE_ReadObjectData and others). */
const SURVIVABLE: readonly number[] = [
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NO_SPACE,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
];

const FLAGS = TA_FLAG.SINGLE_INSTANCE | TA_FLAG.MULTI_SESSION;

export function festoreApp(storage: TrustedStorage): TrustedApp {
  return { uuid: FESTORE_TA_UUID, flags: FLAGS, create: () => new FestoreTa(storage) };
}

class FestoreTa implements TaInstance {
  readonly #objects: TaggedObjects;

  constructor(storage: TrustedStorage) {
    this.#objects = new TaggedObjects(storage);
  }

  open(): number {
    return TEE.SUCCESS;
  }

  invoke(_session: number, commandId: number, { types, parameters }: Operation): number {
    const command = COMMANDS.get(commandId);
    if (command?.types !== types) return TEE.BAD_PARAMETERS;
    const [first, second] = parameters;
    try {
      return command.run(this.#objects, memoryOf(first), memoryOf(second));
    } catch (failure) {
      if (failure instanceof StorageFailure && SURVIVABLE.includes(failure.result)) {
        return failure.result;
      }
      throw failure;
    }
  }

  close(): void {
    // A session holds nothing.
  }

  destroy(): void {
    // Nor does the instance: every value is in storage when its command is answered.
  }
}

function memoryOf(parameter: Operation['parameters'][number]): Memory {
  return parameter instanceof Memory ? parameter : NO_MEMORY;
}

function isTag({ input }: Memory): boolean {
  return input.byteLength >= 1 && input.byteLength <= MAX_TAG_BYTES;
}

function write(objects: TaggedObjects, tag: Memory, value: Memory): number {
  if (!isTag(tag)) return TEE.BAD_PARAMETERS;
  if (value.input.byteLength > MAX_VALUE_BYTES) return TEE_ERROR_EXCESS_DATA;
  const tags = objects.tags();
  const isNew = !tags.some((known) => Buffer.compare(known, tag.input) === 0);
  if (isNew && tags.length >= MAX_OBJECTS) return TEE_ERROR_STORAGE_NO_SPACE;
  objects.write(tag.input, value.input);
  return TEE.SUCCESS;
}

function read(objects: TaggedObjects, tag: Memory, value: Memory): number {
  if (!isTag(tag)) return TEE.BAD_PARAMETERS;
  const stored = objects.read(tag.input);
  if (stored === undefined) return TEE.ITEM_NOT_FOUND;
  return value.fill(stored) ? TEE.SUCCESS : TEE.SHORT_BUFFER;
}

function remove(objects: TaggedObjects, tag: Memory): number {
  if (!isTag(tag)) return TEE.BAD_PARAMETERS;
  return objects.remove(tag.input) ? TEE.SUCCESS : TEE.ITEM_NOT_FOUND;
}

/** For each tag one byte of length, then the tag. */
function list(objects: TaggedObjects, tags: Memory): number {
  const entries = objects.tags().flatMap((tag) => [Uint8Array.of(tag.byteLength), tag]);
  return tags.fill(Buffer.concat(entries)) ? TEE.SUCCESS : TEE.SHORT_BUFFER;
}
