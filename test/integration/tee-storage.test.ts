import assert from 'node:assert/strict';
import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { trustedStorageContract } from '../contract/trusted-storage.contract.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { openReeFs } from '../tee/secure-world/storage/ree-fs.ts';
import {
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
  type TrustedStorage,
} from '../tee/secure-world/storage/trusted-storage.ts';
import { bytes, contentsOf, HUK, id, TA, throwsResult } from '../unit/tee/storage/fixture.ts';

/** Fails and kills at chosen system calls. */
const TRACER = 'strace';
const WRITER = fileURLToPath(new URL('./tee-storage-writer.ts', import.meta.url));
const ORIGINAL = fileURLToPath(new URL('../vectors/optee-storage/huk-zero/', import.meta.url));

trustedStorageContract('REE-FS on a file system', () => {
  const temporary = temporaryDirectory('tee-storage');
  const directory = join(temporary.path, 'tee');
  const open = (): TrustedStorage => openReeFs({ directory, huk: HUK });
  let storage = open();
  return {
    storage,
    reopen: () => {
      storage.close();
      storage = open();
      return storage;
    },
    remove: () => {
      temporary.remove();
    },
  };
});

describe('REE-FS on a file system', () => {
  let temporary: ReturnType<typeof temporaryDirectory>;
  let directory: string;

  beforeEach(() => {
    temporary = temporaryDirectory('tee-storage');
    directory = join(temporary.path, 'tee');
  });
  afterEach(() => {
    temporary.remove();
  });

  test('opens a directory that OP-TEE wrote', () => {
    cpSync(ORIGINAL, directory, { recursive: true });
    const storage = openReeFs({ directory, huk: new Uint8Array(16) });
    const ids = storage.list(TA).map((each) => Buffer.from(each).toString());
    assert.deepEqual(
      ids,
      [0, 1, 2].map((slot) => `token.db.${String(slot)}`.padEnd(32, '\0')),
    );
    storage.close();
  });

  test('lets nobody but its owner read the directory and its files', () => {
    const storage = openReeFs({ directory, huk: HUK });
    storage.write(TA, id('a'), bytes(1, 1));
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    for (const name of ['dirf.db', '0']) {
      assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600);
    }
    storage.close();
  });

  test('refuses a second opening in the same process, and opens again after close', () => {
    const storage = openReeFs({ directory, huk: HUK });
    throwsResult(() => openReeFs({ directory, huk: HUK }), TEE_ERROR_STORAGE_NOT_AVAILABLE);
    storage.write(TA, id('a'), bytes(1, 1));
    storage.close();
    const again = openReeFs({ directory, huk: HUK });
    assert.deepEqual(again.list(TA), [id('a')]);
    again.close();
  });

  test('gives the lock back when it can not open the storage', () => {
    openReeFs({ directory, huk: HUK }).close();
    assert.throws(() => openReeFs({ directory, huk: new Uint8Array(16) }));
    openReeFs({ directory, huk: HUK }).close();
  });

  test('refuses a second process, and sweeps nothing of the first', () => {
    const storage = openReeFs({ directory, huk: HUK });
    writeFileSync(join(directory, '0.new'), 'a file that is being written');
    assert.deepEqual(linesOf(runWriter(directory, [])), ['open f0100003']);
    assert.ok(readdirSync(directory).includes('0.new'));
    storage.close();
  });

  test('is free again as soon as the process that held it was killed', async () => {
    const holder = spawn(process.execPath, [WRITER, directory, '[["hold"]]'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const exited = once(holder, 'exit');
    try {
      const [line] = (await once(holder.stdout, 'data')) as [Buffer];
      assert.equal(line.toString(), 'open ok\n');
      throwsResult(() => openReeFs({ directory, huk: HUK }), TEE_ERROR_STORAGE_NOT_AVAILABLE);
    } finally {
      holder.kill('SIGKILL');
      await exited;
    }
    openReeFs({ directory, huk: HUK }).close();
  });

  test('says TEE_ERROR_STORAGE_NOT_AVAILABLE where there can be no directory', () => {
    const file = join(temporary.path, 'file');
    writeFileSync(file, '');
    for (const impossible of [file, join(file, 'below')]) {
      throwsResult(
        () => openReeFs({ directory: impossible, huk: HUK }),
        TEE_ERROR_STORAGE_NOT_AVAILABLE,
      );
    }
  });

  test('does not follow a symbolic link in place of a file, nor take a directory for one', () => {
    openReeFs({ directory, huk: HUK }).close();
    const other = join(temporary.path, 'other');
    cpSync(directory, other, { recursive: true });
    const linked = join(temporary.path, 'linked');
    mkdirSync(linked);
    symlinkSync(join(other, 'dirf.db'), join(linked, 'dirf.db'));
    const odd = join(temporary.path, 'odd');
    mkdirSync(join(odd, 'dirf.db'), { recursive: true });
    for (const hostile of [linked, odd]) {
      throwsResult(
        () => openReeFs({ directory: hostile, huk: HUK }),
        TEE_ERROR_STORAGE_NOT_AVAILABLE,
      );
    }
  });

  test('makes the directories that lead to it', () => {
    const deep = join(directory, 'a', 'b');
    const storage = openReeFs({ directory: deep, huk: HUK });
    storage.write(TA, id('a'), bytes(1, 1));
    storage.close();
    assert.deepEqual(readdirSync(deep).sort(), ['0', 'dirf.db', 'lock']);
  });

  test('uses a directory that exists, whatever its mode is', () => {
    mkdirSync(directory);
    chmodSync(directory, 0o755);
    openReeFs({ directory, huk: HUK }).close();
    assert.equal(statSync(directory).mode & 0o777, 0o755);
  });
});

const canTrace = spawnSync(TRACER, ['-qq', '-o', '/dev/null', 'true']).status === 0;

describe('a storage process', { skip: canTrace ? false : 'strace cannot trace here' }, () => {
  let temporary: ReturnType<typeof temporaryDirectory>;
  let directory: string;
  const operations = [
    ['write', 'b', 100, 2],
    ['write', 'a', 5000, 3],
    ['rename', 'b', 'c'],
    ['remove', 'c'],
  ];
  const [a1, a3] = [entry('a', 9000, 1), entry('a', 5000, 3)];
  const [b2, c2] = [entry('b', 100, 2), entry('c', 100, 2)];
  const states = [[a1], [a1, b2], [a3, b2], [a3, c2], [a3]].map((entries) => new Map(entries));

  beforeEach(() => {
    temporary = temporaryDirectory('tee-storage');
    directory = join(temporary.path, 'tee');
    const storage = openReeFs({ directory, huk: HUK });
    storage.write(TA, id('a'), bytes(9000, 1));
    storage.close();
  });
  afterEach(() => {
    temporary.remove();
  });

  const calls = [
    ['write', 'pwrite64'],
    ['sync of a file', 'fdatasync'],
    ['sync of the directory', 'fsync'],
    // Machines differ in which of these calls they have.
    ['removal', '?unlink,?unlinkat'],
  ] as const;
  for (const [what, call] of calls) {
    test(`killed at any ${what} leaves the old or the new object`, () => {
      let kills = 0;
      for (let isKilled = true; isKilled; kills += isKilled ? 1 : 0) {
        const copy = join(temporary.path, String(kills));
        cpSync(directory, copy, { recursive: true });
        const kill = `inject=${call}:signal=SIGKILL:when=${String(kills + 1)}`;
        const run = runWriter(copy, operations, [`trace=${call}`, kill]);
        const done = linesOf(run).filter((line) => line !== 'open ok');
        assert.ok(
          done.every((line) => line.endsWith(' ok')),
          done.join(),
        );
        isKilled = run.signal === 'SIGKILL';
        assert.equal(run.status, isKilled ? null : 0, run.stderr);
        assert.equal(done.length === operations.length, !isKilled);

        const storage = openReeFs({ directory: copy, huk: HUK });
        const found = contentsOf(storage);
        const allowed = states.slice(done.length, done.length + 2);
        assert.ok(
          allowed.some((state) => isSame(state, found)),
          `kill ${String(kills)}: ${[...found.keys()].join()} after ${done.join()}`,
        );
        storage.write(TA, id('c'), bytes(10, 4));
        assert.deepEqual(storage.read(TA, id('c')), bytes(10, 4));
        storage.close();
      }
      assert.ok(kills >= 1, `there was no ${call}`);
    });
  }

  const failures = [
    ['pwrite64', 'ENOSPC', 'ffff3041'],
    ['pwrite64', 'EDQUOT', 'ffff3041'],
    ['pwrite64', 'EIO', 'f0100003'],
    ['fdatasync', 'EIO', 'f0100003'],
    ['fsync', 'EIO', 'f0100003'],
  ] as const;
  for (const [call, errno, result] of failures) {
    test(`answers ${result} when ${call} fails with ${errno}, and goes on when it no longer does`, () => {
      // The opening itself waits for dirf.db once.
      const when = call === 'fdatasync' ? 2 : 1;
      const run = runWriter(
        directory,
        [
          ['write', 'b', 100, 2],
          ['write', 'c', 100, 3],
        ],
        [`trace=${call}`, `inject=${call}:error=${errno}:when=${String(when)}`],
      );
      assert.deepEqual(linesOf(run), ['open ok', `write ${result}`, 'write ok']);
      const storage = openReeFs({ directory, huk: HUK });
      const expected = new Map([entry('a', 9000, 1), entry('c', 100, 3)]);
      assert.deepEqual(contentsOf(storage), expected);
      assert.deepEqual(new Set(readdirSync(directory)), new Set(['dirf.db', 'lock', '0', '1']));
      storage.close();
    });
  }

  test('killed or refused while dirf.db gets its name leaves a directory that opens as a new one', () => {
    const fresh = join(temporary.path, 'fresh');
    const renaming = '?rename,?renameat,?renameat2';
    const run = (fault: string): ReturnType<typeof runWriter> =>
      runWriter(fresh, [], [`trace=${renaming}`, `inject=${renaming}:${fault}`]);
    assert.equal(run('signal=SIGKILL').signal, 'SIGKILL');
    assert.deepEqual(linesOf(run('error=EACCES')), ['open f0100003']);
    const storage = openReeFs({ directory: fresh, huk: HUK });
    assert.deepEqual(contentsOf(storage), new Map());
    assert.deepEqual(new Set(readdirSync(fresh)), new Set(['dirf.db', 'lock']));
    storage.close();
  });
});

function entry(name: string, lengthBytes: number, fill: number): readonly [string, string] {
  return [name, Buffer.alloc(lengthBytes, fill).toString('hex')];
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([name, data]) => b.get(name) === data);
}

/** Runs the writer to its end, under strace when there is something to inject. */
function runWriter(
  directory: string,
  operations: readonly unknown[],
  inject: readonly string[] = [],
): SpawnSyncReturns<string> {
  const command = [process.execPath, WRITER, directory, JSON.stringify(operations)];
  const trace = inject.flatMap((each) => ['-e', each]);
  const traced = [TRACER, '-f', '-qq', '-o', '/dev/null', ...trace, ...command];
  const [program = '', ...args] = inject.length === 0 ? command : traced;
  return spawnSync(program, args, { encoding: 'utf8', timeout: 30_000 });
}

function linesOf({ stdout }: SpawnSyncReturns<string>): readonly string[] {
  return stdout.split('\n').filter((line) => line !== '');
}
