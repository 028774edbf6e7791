/** What a plain TUF client does with the metadata of a repository (TUF specification §5.3 to §5.6). */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { inDays, TufBench } from '../support/tuf-client-driver.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { ed25519Key, type Body } from '../support/tuf-keys.ts';
import { TufRepository } from '../support/tuf-repository.ts';

const IMAGE = { repo: 'image' } as const;
const versioned = (version: number) => (body: Body) => ({ ...body, version });

describe('a plain TUF client', () => {
  test('asks in the order of the specification and keeps what was served, byte for byte', async () => {
    await using bench = await TufBench.open();
    assert.deepEqual(await bench.refresh(), [
      '2.root.json',
      'timestamp.json',
      '1.snapshot.json',
      '1.targets.json',
    ]);
    const text = (name: string): string => Buffer.from(bench.repository.current(name)).toString();
    assert.deepEqual(bench.kept(), {
      'root.json': text('root'),
      'timestamp.json': text('timestamp'),
      'snapshot.json': text('snapshot'),
      'targets.json': text('targets'),
    });
  });

  test('asks for names without versions where snapshots are not consistent', async () => {
    await using bench = await TufBench.open(new TufRepository(ed25519Key, false));
    const expected = ['2.root.json', 'timestamp.json', 'snapshot.json', 'targets.json'];
    assert.deepEqual(await bench.refresh(), expected);
  });

  test('does not fetch again what it has', async () => {
    await using bench = await TufBench.open();
    await bench.refresh();
    const before = bench.kept();
    assert.deepEqual(await bench.refresh(), ['2.root.json', 'timestamp.json']);
    assert.deepEqual(bench.kept(), before);
    bench.repository.publishSnapshotAndTimestamp();
    const expected = ['2.root.json', 'timestamp.json', '2.snapshot.json'];
    assert.deepEqual(await bench.refresh(), expected);
  });

  test('fetches anew what it can no longer read', async () => {
    await using bench = await TufBench.open();
    await bench.refresh();
    for (const name of ['timestamp', 'snapshot', 'targets']) {
      writeFileSync(join(bench.metadata, `${name}.json`), '{');
    }
    assert.equal((await bench.refresh()).length, 4);
    assert.equal(bench.keptVersion('targets'), 1);
  });

  test('keeps unknown fields under the signature, wherever they are', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    const foreign = { 'x-foreign': { list: [1, 'é\n"\\', null, true] } };
    const edit = (body: Body): Body => ({ ...body, ...foreign });
    repository.publishRoot(edit);
    repository.addTarget('a', 'a', 'targets', foreign);
    repository.version.targets = 2;
    repository.publishTargets(edit);
    repository.version.snapshot = 2;
    repository.publishSnapshot(edit);
    repository.version.timestamp = 2;
    repository.publishTimestamp(edit);
    await bench.refresh();
    assert.equal(bench.keptVersion('targets'), 2);
    assert.equal(bench.keptVersion('root'), 2);
  });

  test('asks for spec_version 1, and for lower-case types', async () => {
    await using bench = await TufBench.open();
    bench.repository.publishTimestamp((body) => ({ ...body, spec_version: '2.0.0' }));
    await bench.refuses('METADATA_MALFORMED', {
      path: 'image/timestamp.signed.spec_version',
      want: 'a version 1 of the TUF specification',
    });
    bench.repository.publishTimestamp((body) => ({ ...body, _type: 'Timestamp' }));
    const wrong = { ...IMAGE, role: 'timestamp', type: 'Timestamp' };
    await bench.refuses('ROLE_TYPE_MISMATCH', wrong);
    bench.repository.publishTimestamp((body) => ({ ...body, spec_version: '1.0' }));
    await bench.refresh();
  });

  test('wants a Timestamp to list the Snapshot and nothing else (§4.5)', async () => {
    await using bench = await TufBench.open();
    const meta = { 'snapshot.json': { version: 1 }, 'targets.json': { version: 1 } };
    bench.repository.publishTimestamp((body) => ({ ...body, meta }));
    const details = { path: 'image/timestamp.signed.meta', want: 'only snapshot.json' };
    await bench.refuses('METADATA_MALFORMED', details);
  });
});

describe('roots (R1 to R8)', () => {
  test('an unsigned first root is refused (R3)', async () => {
    const repository = new TufRepository();
    await using bench = await TufBench.open(repository);
    repository.version.root = 0;
    repository.publishRoot((body) => body, []);
    const details = { ...IMAGE, role: 'root', valid: 0, threshold: 1 };
    const unsigned = repository.current('root');
    await rejectsCode(bench.init(unsigned), 'THRESHOLD_NOT_MET', details);
  });

  test('an expired first root leads on to one that is fresh; intermediate ones may be stale (R6)', async () => {
    const repository = new TufRepository();
    repository.expires.root = inDays(-1);
    repository.version.root = 0;
    repository.publishRoot();
    repository.publishRoot();
    await using bench = await TufBench.open(repository);
    const expired = { ...IMAGE, role: 'root', expiresAt: inDays(-1), nowAt: inDays(0) };
    await bench.refuses('METADATA_EXPIRED', expired, ['root.json']);
    assert.deepEqual(Object.keys(bench.kept()), ['root.json']);
    repository.expires.root = inDays(1);
    repository.publishRoot();
    await bench.refresh();
    assert.equal(bench.keptVersion('root'), 3);
  });

  test('each next root needs the keys of the one before and its own (R3)', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    await bench.refresh();
    const [old, fresh] = [repository.keys.root, [ed25519Key()]];
    repository.keys.root = fresh;
    for (const signers of [old, fresh, []]) {
      repository.version.root = 1;
      repository.publishRoot((body) => body, signers);
      const details = { ...IMAGE, role: 'root', valid: 0, threshold: 1 };
      await bench.refuses('THRESHOLD_NOT_MET', details);
      assert.deepEqual(bench.server.requests, ['metadata/2.root.json']);
    }
    repository.version.root = 1;
    repository.publishRoot((body) => body, [...old, ...fresh]);
    await bench.refresh();
    assert.equal(bench.keptVersion('root'), 2);
  });

  test('the version of a root is exactly the next one (R4)', async () => {
    await using bench = await TufBench.open();
    for (const offered of [1, 3]) {
      bench.repository.version.root = 1;
      bench.repository.publishRoot(versioned(offered));
      const details = { ...IMAGE, expected: 2, offered };
      await bench.refuses('ROOT_VERSION_MISMATCH', details);
    }
  });

  test('256 rotations are followed at once, the rest at the next refresh (R2, §5.3.3)', async () => {
    await using bench = await TufBench.open();
    for (let version = 2; version <= 260; version += 1) bench.repository.publishRoot();
    const requests = await bench.refresh();
    assert.equal(bench.keptVersion('root'), 257);
    assert.deepEqual(requests.slice(255, 257), ['257.root.json', 'timestamp.json']);
    await bench.refresh();
    assert.equal(bench.keptVersion('root'), 260);
  });

  test('only 403 and 404 end the chain (R2)', async () => {
    await using bench = await TufBench.open();
    bench.server.faults.set('metadata/2.root.json', (response) => response.writeHead(403).end());
    await bench.refresh();
    bench.server.faults.set('metadata/2.root.json', (response) => response.writeHead(500).end());
    await assert.rejects(bench.refresh(), /answered 500/u);
  });

  test('a root of more than 512 KiB is not read to its end (R2)', async () => {
    await using bench = await TufBench.open();
    bench.repository.publishRoot((body) => ({ ...body, filler: 'x'.repeat(600_000) }));
    const details = { ...IMAGE, file: '2.root.json', maxBytes: 524_288 };
    await bench.refuses('METADATA_TOO_LARGE', details);
  });
});

describe('freeze', () => {
  for (const role of ['timestamp', 'snapshot', 'targets'] as const) {
    test(`an expired ${role} is refused and not kept (T4, S7, G5)`, async () => {
      await using bench = await TufBench.open();
      await bench.refresh();
      bench.repository.expires[role] = inDays(-1);
      bench.repository.publish();
      const details = { ...IMAGE, role, expiresAt: inDays(-1), nowAt: inDays(0) };
      const kept = {
        timestamp: [],
        snapshot: ['timestamp.json'],
        targets: ['timestamp.json', 'snapshot.json'],
      };
      await bench.refuses('METADATA_EXPIRED', details, kept[role]);
      bench.repository.expires[role] = inDays(1);
      bench.repository.publish();
      await bench.refresh();
      assert.equal(bench.keptVersion(role), 3);
    });
  }

  test('what is kept may expire and still leads to the next (T3)', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    repository.expires.timestamp = inDays(7);
    repository.publish();
    await bench.refresh();
    const old = repository.current('timestamp');
    repository.expires.timestamp = inDays(21);
    repository.publish();
    bench.later(18);
    await bench.refresh();
    assert.deepEqual([bench.keptVersion('timestamp'), bench.keptVersion('snapshot')], [3, 3]);
    repository.served.set('timestamp.json', old);
    const rollback = { ...IMAGE, role: 'timestamp', trusted: 3, offered: 2 };
    await bench.refuses('VERSION_ROLLBACK', rollback);
  });

  test('a kept Timestamp that expired is not good for being served again (T4)', async () => {
    await using bench = await TufBench.open();
    bench.repository.expires.timestamp = inDays(7);
    bench.repository.publish();
    await bench.refresh();
    bench.later(7);
    const details = { ...IMAGE, role: 'timestamp', expiresAt: inDays(7), nowAt: inDays(7) };
    await bench.refuses('METADATA_EXPIRED', details);
  });
});
