/**
 * A process that works on a storage directory, to be killed and failed by the tests.
 *
 * Usage: tee-storage-writer.ts DIRECTORY OPERATIONS, where OPERATIONS is a JSON array of
 * `["write", id, size, fill]`, `["remove", id]` and `["hold"]`, which waits for the end of the input.
 * Prints one line per step as soon as it is done: `open` or the operation, and `ok` or a TEE_Result.
 */
import { readSync, writeSync } from 'node:fs';

import { openReeFs } from '../tee/secure-world/storage/ree-fs.ts';
import {
  StorageFailure,
  type TrustedStorage,
} from '../tee/secure-world/storage/trusted-storage.ts';
import { HUK, TA } from '../unit/tee/storage/fixture.ts';

type Operation = ['write', string, number, number] | ['remove', string] | ['hold'];

const [, , directory = '', operations = '[]'] = process.argv;

function perform(storage: TrustedStorage, operation: Operation): void {
  switch (operation[0]) {
    case 'write':
      storage.write(TA, Buffer.from(operation[1]), Buffer.alloc(operation[2], operation[3]));
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

const storage = report('open', () => openReeFs({ directory, huk: HUK }));
if (storage !== undefined) {
  for (const operation of JSON.parse(operations) as Operation[]) {
    report(operation[0], () => {
      perform(storage, operation);
    });
  }
}
