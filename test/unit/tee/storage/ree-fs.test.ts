import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { trustedStorageContract } from '../../../contract/trusted-storage.contract.ts';
import { openReeFsOn } from '../../../tee/secure-world/storage/ree-fs.ts';
import {
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NO_SPACE,
} from '../../../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk, type Step } from './crash-disk.ts';
import { bytes, contentsOf, HUK, id, openOn, TA, throwsResult } from './fixture.ts';

trustedStorageContract('REE-FS on a disk in memory', () => {
  const disk = new CrashDisk();
  let storage = openOn(disk);
  return {
    storage,
    reopen: () => {
      storage.close();
      storage = openOn(disk);
      return storage;
    },
    remove: () => undefined,
  };
});

describe('REE-FS', () => {
  test('numbers files from the lowest free number on, in lower-case hexadecimal', () => {
    const disk = new CrashDisk();
    const storage = openOn(disk);
    for (let each = 0; each < 18; each += 1) storage.write(TA, id(String(each)), bytes(1, each));
    storage.remove(TA, id('4'));
    storage.remove(TA, id('11'));
    storage.write(TA, id('x'), bytes(1, 0xff));
    const numbers = '0 1 2 3 4 5 6 7 8 9 a c d e f 10 11'.split(' ');
    assert.deepEqual(new Set(disk.names()), new Set(['dirf.db', ...numbers]));
  });

  test('makes an object durable before the commit of dirf.db, in four syncs', () => {
    const { disk, storage } = withObject();
    const steps = stepsOf(disk, () => {
      storage.write(TA, id('new'), bytes(50, 2));
    });
    assert.deepEqual(steps, [
      'create 1',
      'write 1 head',
      'sync 1',
      'sync-names',
      'write dirf.db block',
      'write dirf.db node',
      'sync dirf.db',
      'write dirf.db head',
      'sync dirf.db',
    ]);
  });

  test('changes an object beside its old version, in three syncs', () => {
    const { disk, storage } = withObject();
    const steps = stepsOf(disk, () => {
      storage.write(TA, id('a'), bytes(60, 2));
    });
    assert.deepEqual(steps, [
      'write 0 block',
      'write 0 node',
      'write 0 head',
      'sync 0',
      'write dirf.db block',
      'write dirf.db node',
      'sync dirf.db',
      'write dirf.db head',
      'sync dirf.db',
    ]);
  });

  test('writes several objects with one commit, and only their data one by one', () => {
    const { disk, storage } = withObject();
    const steps = stepsOf(disk, () => {
      storage.writeAll?.(TA, [
        { id: id('new'), data: bytes(50, 2) },
        { id: id('other'), data: bytes(50, 3) },
        { id: id('a'), data: bytes(60, 4) },
      ]);
    });
    assert.deepEqual(
      steps.filter((step) => step.startsWith('sync')),
      ['sync 1', 'sync 2', 'sync 0', 'sync-names', 'sync dirf.db', 'sync dirf.db'],
    );
    assert.equal(steps.at(-2), 'write dirf.db head');
    assert.deepEqual([...contentsOf(openOn(disk)).keys()], ['a', 'new', 'other']);
  });

  test('commits a removal before the file goes, in three syncs', () => {
    const { disk, storage } = withObject();
    const steps = stepsOf(disk, () => {
      storage.remove(TA, id('a'));
    });
    assert.deepEqual(steps, [
      'write dirf.db block',
      'write dirf.db node',
      'sync dirf.db',
      'write dirf.db head',
      'sync dirf.db',
      'unlink 0',
      'sync-names',
    ]);
  });

  test('does not grow a file when an object of the same size is written again', () => {
    const { disk, storage } = withObject();
    const sizes = (): readonly number[] =>
      Array.from(disk.files().values(), (file) => file.byteLength);
    const before = sizes();
    for (let each = 0; each < 10; each += 1) storage.write(TA, id('a'), bytes(40, each));
    assert.deepEqual(sizes(), before);
  });

  test('packs dirf.db, so that it does not grow for ever', () => {
    const disk = new CrashDisk();
    const storage = openOn(disk);
    storage.write(TA, id('first'), bytes(1, 1));
    for (let each = 0; each < 400; each += 1) {
      storage.write(TA, id(`new ${String(each)}`), bytes(1, 1));
      storage.remove(TA, id(`new ${String(each - 1)}`));
    }
    const size = disk.files().get('dirf.db')?.byteLength ?? 0;
    assert.ok(size <= 6 * 4096, `${String(size)} bytes for three objects at a time`);
    assert.deepEqual([...contentsOf(storage).keys()], ['first', 'new 399']);
    assert.deepEqual([...contentsOf(openOn(disk)).keys()], ['first', 'new 399']);
  });

  test('puts neither contents nor identifiers nor TA on the disk in clear', () => {
    const disk = new CrashDisk();
    const storage = openOn(disk);
    const [secret, name] = ['a secret of sixteen bytes or more', 'an identifier to be hidden'];
    storage.write(TA, id(name), id(secret.repeat(300)));
    storage.write(TA, id(name), id(secret.repeat(200)));
    const uuid = Buffer.from(TA.replaceAll('-', ''), 'hex');
    for (const file of disk.files().values()) {
      for (const clear of [Buffer.from(secret), Buffer.from(name), uuid.subarray(8), HUK]) {
        assert.equal(Buffer.from(file).includes(clear), false);
      }
    }
  });

  test('encrypts equal contents differently every time', () => {
    const { disk, storage } = withObject();
    const first = disk.files().get('0') ?? assert.fail();
    storage.write(TA, id('b'), bytes(40, 1));
    const second = disk.files().get('1') ?? assert.fail();
    assert.notDeepEqual(first.subarray(3 * 4096), second.subarray(3 * 4096));
  });

  test('refuses another hardware unique key and leaves the files alone', () => {
    const { disk } = withObject();
    const before = disk.files();
    const huk = new Uint8Array(16);
    throwsResult(() => openReeFsOn(disk, { huk }), TEE_ERROR_CORRUPT_OBJECT);
    assert.deepEqual(disk.files(), before);
  });

  test('refuses a hardware unique key that is not 16 bytes', () => {
    assert.throws(() => openReeFsOn(new CrashDisk(), { huk: new Uint8Array(32) }), RangeError);
  });

  test('refuses a TA that is not a UUID in lower case', () => {
    const { storage } = withObject();
    for (const ta of ['', TA.toUpperCase(), `${TA}0`, TA.replaceAll('-', '')]) {
      assert.throws(() => storage.read(ta, id('a')), RangeError);
    }
  });

  test('refuses an object that no file may hold, and changes nothing', () => {
    const { disk, storage } = withObject();
    const before = disk.files();
    const huge = new Uint8Array(40 * 1024 * 1024);
    throwsResult(() => {
      storage.write(TA, id('a'), huge);
    }, TEE_ERROR_STORAGE_NO_SPACE);
    assert.deepEqual(disk.files(), before);
  });

  test('sweeps what a crash left and leaves names of others alone', () => {
    const { disk } = withObject();
    const leftovers = new Map(disk.files());
    for (const name of ['1', 'ff', '1.new', 'dirf.db.new', 'lock', 'notes.txt']) {
      leftovers.set(name, bytes(10, 1));
    }
    const swept = CrashDisk.holding(leftovers);
    assert.deepEqual([...contentsOf(openOn(swept)).keys()], ['a']);
    assert.deepEqual(new Set(swept.names()), new Set(['dirf.db', '0', 'lock', 'notes.txt']));
  });

  test('refuses object files without a dirf.db instead of sweeping them all', () => {
    const { disk } = withObject();
    const files = new Map(disk.files());
    files.delete('dirf.db');
    const headless = CrashDisk.holding(files);
    throwsResult(() => openOn(headless), TEE_ERROR_CORRUPT_OBJECT);
    assert.deepEqual(headless.files(), files);
  });

  test('lists and removes an object whose file is missing, but does not read or replace it', () => {
    const { disk } = withObject();
    const files = new Map(disk.files());
    files.delete('0');
    const storage = openOn(CrashDisk.holding(files));
    throwsResult(() => storage.read(TA, id('a')), TEE_ERROR_CORRUPT_OBJECT);
    throwsResult(() => {
      storage.write(TA, id('a'), bytes(1, 1));
    }, TEE_ERROR_CORRUPT_OBJECT);
    assert.deepEqual(storage.list(TA), [id('a')]);
    assert.equal(storage.remove(TA, id('a')), true);
    storage.write(TA, id('a'), bytes(2, 2));
    assert.deepEqual(storage.read(TA, id('a')), bytes(2, 2));
  });
});

function withObject(): { disk: CrashDisk; storage: ReturnType<typeof openOn> } {
  const disk = new CrashDisk();
  const storage = openOn(disk);
  storage.write(TA, id('a'), bytes(40, 1));
  return { disk, storage };
}

function stepsOf(disk: CrashDisk, act: () => void): readonly string[] {
  const from = disk.steps.length;
  act();
  return disk.steps.slice(from).map(describeStep);
}

function describeStep(step: Step): string {
  if (step.do === 'sync-names') return step.do;
  if (step.do !== 'write' || step.name.endsWith('.new')) return `${step.do} ${step.name}`;
  const place = step.offsetBytes < 4096 ? 'head' : step.offsetBytes < 8192 ? 'node' : 'block';
  return `${step.do} ${step.name} ${place}`;
}
