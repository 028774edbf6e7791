import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import { Database } from '../../agent/io/store/database.ts';
import { takeLock } from '../../agent/io/store/lock.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { rejectsCode, throwsCode } from '../support/expect-code.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { installedBy } from '../../agent/cycle/state.ts';

describe('the store', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let path: string;
  let database: Database;
  let store: SqliteStore;
  beforeEach(async () => {
    directory = temporaryDirectory('store');
    path = join(directory.path, 'ota-agent.db');
    await open();
  });
  afterEach(async () => {
    await database.close();
    directory.remove();
  });
  const open = async (): Promise<void> => {
    database = await Database.open(path);
    store = new SqliteStore(database);
  };
  const reopen = async (): Promise<void> => {
    await database.close();
    await open();
  };

  test('a report counter is never given out twice, not even across restarts', async () => {
    const now = 1000 as Instant;
    const next = async (): Promise<number> => (await store.nextReport(now)).counter;
    const counters = [await next()];
    await reopen();
    counters.push(await next(), ...(await Promise.all([next(), next()])));
    assert.deepEqual(counters, [1, 2, 3, 4]);
  });

  test('a new database starts above every counter that a lost one could have given out', async () => {
    const now = Date.UTC(2030, 0, 1);
    assert.equal((await store.nextReport(now as Instant)).counter, now / 1000);
  });

  test('each report knows the time that the one before gave, across restarts', async () => {
    const times: Instant[] = [];
    for (const now of [5000, 7000, 6000]) {
      times.push((await store.nextReport(now as Instant)).previousTime);
      await reopen();
    }
    assert.deepEqual(times, [0, 5000, 7000]);
  });

  test('an attack stays on the list, once, until it was reported', async () => {
    for (const code of ['VERSION_ROLLBACK', 'METADATA_EXPIRED', 'VERSION_ROLLBACK'] as const) {
      await store.noteAttack(code);
      await reopen();
    }
    const noted = ['VERSION_ROLLBACK', 'METADATA_EXPIRED'] as const;
    assert.deepEqual(await store.unreportedAttacks(), noted);
    await store.attacksReported(['VERSION_ROLLBACK', 'IMAGE_HASH_MISMATCH']);
    await reopen();
    assert.deepEqual(await store.unreportedAttacks(), ['METADATA_EXPIRED']);
    await store.attacksReported(['METADATA_EXPIRED']);
    assert.deepEqual(await store.unreportedAttacks(), []);
  });

  test('the latest known time never goes back (§5.4.2.2)', async () => {
    const day = 86_400_000;
    for (const now of [5 * day, 10, 5 * day + 1]) await store.raiseLatestKnownTime(now as Instant);
    await reopen();
    assert.equal(await store.latestKnownTime(), 5 * day);
    await store.raiseLatestKnownTime((6 * day) as Instant);
    assert.equal(await store.latestKnownTime(), 6 * day);
  });

  test('metadata is kept and forgotten together or not at all', async () => {
    const root = Buffer.from('root');
    const keep = { need: 'keep', repo: 'image' } as const;
    await store.keep([
      { ...keep, role: 'root', bytes: root },
      { ...keep, role: 'timestamp', bytes: Buffer.from('t') },
    ]);
    const broken = { ...keep, role: 'root', bytes: 5 as unknown as Uint8Array };
    await assert.rejects(store.keep([{ ...keep, role: 'timestamp', bytes: undefined }, broken]));
    await reopen();
    const trusted = await store.loadTrusted();
    assert.deepEqual([...trusted.keys()].sort(), ['image/root', 'image/timestamp']);
    assert.deepEqual(Buffer.from(trusted.get('image/root') ?? []), root);
  });

  test('the end of an update changes state, inventory and history in one step', async () => {
    await store.saveEcus([{ serial: 'ecu-1', hardwareId: 'board' }]);
    const first = targetFor(Buffer.from('one'));
    const second = targetFor(Buffer.from('two'));
    for (const target of [first, second]) {
      await store.finish({
        state: '{"at":"idle"}',
        installed: [installedBy(target)],
        images: ['i'],
        planDigest: target.hashes.get('sha256') ?? '',
        failed: false,
        history: {
          endedAt: 1 as Instant,
          correlationId: undefined,
          filenames: [target.filename],
          code: 'OK',
          description: 'installed and confirmed',
        },
      });
    }
    await reopen();
    assert.deepEqual(await store.inventory(), [
      { serial: 'ecu-1', hardwareId: 'board', installed: installedBy(second) },
    ]);
    assert.equal((await store.history()).length, 2);
    await store.restorePrevious(['ecu-1']);
    const [ecu] = await store.inventory();
    assert.deepEqual(ecu?.installed, installedBy(first));
    assert.equal(await store.failedPlan(), second.hashes.get('sha256'));
  });

  test('going back by hand does not lower the highest release counter (M4)', async () => {
    await store.saveEcus([{ serial: 'ecu-1', hardwareId: 'board' }]);
    const confirm = async (content: string, releaseCounter?: number): Promise<void> => {
      const image = installedBy(targetFor(Buffer.from(content)));
      await store.finish({
        state: '{"at":"idle"}',
        installed: [releaseCounter === undefined ? image : { ...image, releaseCounter }],
        images: ['i'],
        planDigest: content,
        failed: false,
        history: {
          endedAt: 1 as Instant,
          correlationId: undefined,
          filenames: [],
          code: 'OK',
          description: '',
        },
      });
    };
    const highest = async (): Promise<readonly (number | undefined)[]> => {
      const [ecu] = await store.inventory();
      return [ecu?.installed?.releaseCounter, ecu?.highestReleaseCounter];
    };
    await confirm('none');
    assert.deepEqual(await highest(), [undefined, undefined]);
    await confirm('five', 5);
    await confirm('ten', 10);
    assert.deepEqual(await highest(), [10, 10]);
    await store.restorePrevious(['ecu-1']);
    await reopen();
    assert.deepEqual(await highest(), [5, 10]);
    await confirm('nine', 9);
    assert.deepEqual(await highest(), [9, 10]);
  });

  test('a queue of events keeps its order and drops what was delivered', async () => {
    for (const id of ['1', '2', '3']) {
      await store.queueEvent({
        id,
        deviceTime: '2030-01-01T00:00:00Z',
        eventType: { id: 'EcuDownloadStarted', version: 0 },
        event: { ecu: 'ecu-1' },
      });
    }
    await store.dropEvents(['1']);
    await reopen();
    const queued = await store.queuedEvents(10);
    assert.deepEqual(
      queued.map(({ id }) => id),
      ['2', '3'],
    );
  });

  test('a database of zeros, of garbage, or with a torn page is STORAGE_CORRUPT with a remedy', async () => {
    await store.saveState('{"at":"idle"}');
    await database.close();
    const good = readFileSync(path);
    const torn = Buffer.from(good);
    torn.fill(0xff, 4096, Math.min(4096 * 3, torn.length));
    for (const bytes of [Buffer.alloc(8192, 'garbage'), torn]) {
      writeFileSync(path, bytes);
      await assert.rejects(Database.open(path), (error) => {
        assert.ok(isOtaError(error), String(error));
        assert.equal(error.code, 'STORAGE_CORRUPT');
        assert.equal('path' in error.details && error.details.path, path);
        return true;
      });
    }
    writeFileSync(path, good);
    await open();
    assert.equal(await store.loadState(), '{"at":"idle"}');
  });

  test('a directory that is not there is STORAGE_FAILED, not a new database elsewhere', async () => {
    const nowhere = join(directory.path, 'no', 'where.db');
    await rejectsCode(Database.open(nowhere), 'STORAGE_FAILED', {
      path: nowhere,
      cause: 'SQLITE_CANTOPEN: unable to open database file',
      remedy: 'check that the directory exists, is writable and its disk is healthy',
    });
  });

  test('one agent per storage: the second is refused, and kill -9 of the first frees it', async () => {
    const holder = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `const { takeLock } = await import(${JSON.stringify(import.meta.resolve('../../agent/io/store/lock.ts'))});
         takeLock(${JSON.stringify(directory.path)});
         console.log('held');
         setInterval(() => undefined, 1000);`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      await once(holder.stdout, 'data');
      const details = {
        path: directory.path,
        remedy: 'another ota-agent works on it: systemctl stop ota-agent, or wait for it',
      };
      throwsCode(() => takeLock(directory.path), 'STORAGE_BUSY', details);
    } finally {
      holder.kill('SIGKILL');
    }
    await once(holder, 'exit');
    takeLock(directory.path).release();
  });
});
