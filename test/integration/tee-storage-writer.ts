/**
 * A process that works on a storage directory, to be killed and failed by the tests.
 *
 * Usage: tee-storage-writer.ts DIRECTORY OPERATIONS [BACKEND], where OPERATIONS is a JSON array of
 * `["write", id, size, fill]`, `["rename", from, to]`, `["remove", id]` and `["hold"]`, which waits for
 * the end of the input.
 * Prints one line per step as soon as it is done: `open` or the operation, and `ok` or a TEE_Result.
 */
import { readSync, writeSync } from 'node:fs';

import { privateStorage } from '../tee/secure-world/storage/backends.ts';
import {
  StorageFailure,
  type TrustedStorage,
} from '../tee/secure-world/storage/trusted-storage.ts';
import { TA } from '../unit/tee/storage/fixture.ts';
import { openBackend, type Backend } from './tee-storage-backend.ts';

type Operation =
  ['write', string, number, number] | ['rename', string, string] | ['remove', string] | ['hold'];

const [, , directory = '', operations = '[]', backend = 'ree'] = process.argv;

function perform(storage: TrustedStorage, operation: Operation): void {
  switch (operation[0]) {
    case 'write':
      storage.write(TA, Buffer.from(operation[1]), Buffer.alloc(operation[2], operation[3]));
      return;
    case 'rename':
      storage.rename(TA, Buffer.from(operation[1]), Buffer.from(operation[2]));
      return;
    case 'remove':
      storage.remove(TA, Buffer.from(operation[1]));
      return;
    case 'hold':
      while (readSync(0, Buffer.alloc(100)) > 0);
  }
}

function report<T>(what: string, act: () => T): T | undefined {
  try {
    const value = act();
    writeSync(1, `${what} ok\n`);
    return value;
  } catch (error) {
    if (!(error instanceof StorageFailure)) throw error;
    writeSync(1, `${what} ${error.result.toString(16)}\n`);
    return undefined;
  }
}

const storage = report('open', () => privateStorage(openBackend(backend as Backend, directory)));
if (storage !== undefined) {
  for (const operation of JSON.parse(operations) as Operation[]) {
    report(operation[0], () => {
      perform(storage, operation);
    });
  }
}
