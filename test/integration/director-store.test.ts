import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { storeContract } from '../contract/store.contract.ts';
import { DirectorFailure, Refusal } from '../director/failure.ts';
import { SqlStore } from '../director/state/sql-store.ts';
import { startPostgres, type Postgres } from '../support/postgres.ts';
import { temporaryDirectory } from '../support/temporary.ts';

storeContract('SQLite', async () => {
  const directory = temporaryDirectory('store');
  const path = join(directory.path, 'store.sqlite');
  const servers = [await SqlStore.open(path), await SqlStore.open(path)] as const;
  return {
    servers,
    end: async () => {
      for (const server of servers) await server.close();
      directory.remove();
    },
  };
});

storeContract('PostgreSQL', async () => {
  const postgres = await startPostgres();
  const servers = await Promise.all([SqlStore.open(postgres.url), SqlStore.open(postgres.url)]);
  return {
    servers,
    end: async () => {
      for (const server of servers) await server.close();
      await postgres.stop();
    },
  };
});

describe('a store that cannot be reached', () => {
  let postgres: Postgres;
  before(async () => {
    postgres = await startPostgres();
  });
  after(async () => {
    await postgres.stop();
  });

  test('says 503 with Retry-After, and what was answered before is there afterwards', async () => {
    const store = await SqlStore.open(postgres.url);
    let answered = 0;
    const refusals: unknown[] = [];
    const write = async (): Promise<void> => {
      await store
        .hold('device', async (held) => held.keep('manifests', { at: answered }))
        .then(() => (answered += 1))
        .catch((error: unknown) => refusals.push(error));
    };
    for (let at = 0; at < 5; at += 1) await write();
    const restarted = postgres.restart();
    const away = { isOver: false };
    void restarted.then(() => (away.isOver = true));
    while (!away.isOver) {
      await write();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (let at = 0; at < 5; at += 1) await write();
    assert.ok(refusals.length > 0, 'it was away');
    for (const refusal of refusals) {
      assert.ok(refusal instanceof Refusal, String(refusal));
      const { status, code, headers } = refusal;
      assert.deepEqual(
        [status, code, headers],
        [503, 'database_unavailable', { 'retry-after': '2' }],
      );
    }
    const kept = (await store.records('device', 'manifests')).length;
    assert.ok(answered <= kept && kept <= answered + refusals.length, `${String(kept)} are kept`);
    await store.close();
  });

  test('at the start is an error with the address, without its password, and a remedy', async () => {
    const url = 'postgres://director:secret@127.0.0.1:1/postgres';
    await assert.rejects(SqlStore.open(url), (error: unknown) => {
      assert.ok(error instanceof DirectorFailure, String(error));
      assert.equal(error.where, 'postgres://director:…@127.0.0.1:1/postgres');
      assert.match(error.remedy, /DATABASE_URL/u);
      return true;
    });
  });
});
