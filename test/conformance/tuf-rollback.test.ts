/** Rollback, fast-forward recovery and mix-and-match, as a plain TUF client meets them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { TufBench } from '../support/tuf-client-driver.ts';
import { ed25519Key, tufEnvelope, type Body } from '../support/tuf-keys.ts';
import { hashesOf, TufRepository } from '../support/tuf-repository.ts';

const IMAGE = { repo: 'image' } as const;
const versioned = (version: number) => (body: Body) => ({ ...body, version });

describe('rollback', () => {
  test('a Timestamp of a lower version is refused (T3)', async () => {
    await using bench = await TufBench.open();
    bench.repository.publish();
    await bench.refresh();
    bench.repository.publishTimestamp(versioned(1));
    const details = { ...IMAGE, role: 'timestamp', trusted: 2, offered: 1 };
    await bench.refuses('VERSION_ROLLBACK', details);
  });

  test('another Timestamp of the same version is discarded without an error (§5.4.3)', async () => {
    await using bench = await TufBench.open();
    await bench.refresh();
    const before = bench.kept();
    const meta = { 'snapshot.json': { version: 100 } };
    bench.repository.publishTimestamp((body) => ({ ...body, meta }));
    await bench.refresh();
    assert.deepEqual(bench.kept(), before);
  });

  test('a Timestamp may not list an older Snapshot, whether that was seen or only listed (§5.4.3)', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    repository.publish();
    await bench.refresh();
    const listing = (version: number) => (body: Body) => ({
      ...body,
      meta: { 'snapshot.json': { version } },
    });
    repository.version.timestamp = 3;
    repository.publishTimestamp(listing(1));
    const details = { ...IMAGE, role: 'snapshot', trusted: 2, offered: 1 };
    await bench.refuses('VERSION_ROLLBACK', details);
    repository.publishTimestamp(listing(4));
    const missing = { ...IMAGE, file: '4.snapshot.json' };
    await bench.refuses('METADATA_MISSING', missing, ['timestamp.json']);
    repository.version.timestamp = 4;
    repository.publishTimestamp(listing(3));
    await bench.refuses('VERSION_ROLLBACK', { ...details, trusted: 4, offered: 3 });
  });

  test('a Snapshot may not list older Targets, nor leave a role out (S5, S6)', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    const role = { name: 'supplier', keys: [ed25519Key()], paths: ['*'] };
    repository.delegations = [role];
    repository.addDelegated('supplier', role);
    repository.publish();
    await bench.refresh();
    const kept = ['timestamp.json'];
    const offer = (meta: Body): void => {
      repository.version.snapshot += 1;
      repository.publishSnapshot((body) => ({ ...body, meta }));
      repository.version.timestamp += 1;
      repository.publishTimestamp();
    };
    offer({ 'targets.json': { version: 1 }, 'supplier.json': { version: 1 } });
    const older = { ...IMAGE, role: 'targets', trusted: 2, offered: 1 };
    await bench.refuses('VERSION_ROLLBACK', older, kept);
    offer({ 'targets.json': { version: 2 } });
    const removed = { ...IMAGE, role: 'delegated/supplier' };
    await bench.refuses('SNAPSHOT_ROLE_REMOVED', removed, kept);
    offer({ 'supplier.json': { version: 1 } });
    await bench.refuses('SNAPSHOT_ROLE_REMOVED', { ...IMAGE, role: 'targets' }, kept);
    offer({ 'targets.json': { version: 2 }, 'supplier.json': { version: 1 } });
    await bench.refresh();
  });
});

describe('fast-forward recovery (R7)', () => {
  test('a rotated Timestamp key takes its versions back', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    repository.version.timestamp = 99_999;
    repository.publishTimestamp();
    await bench.refresh();
    repository.version.timestamp = 1;
    repository.publishTimestamp();
    const rollback = { ...IMAGE, role: 'timestamp', trusted: 99_999, offered: 1 };
    await bench.refuses('VERSION_ROLLBACK', rollback);
    repository.keys.timestamp = [ed25519Key()];
    repository.publishRoot();
    repository.publishTimestamp();
    await bench.refresh();
    assert.equal(bench.keptVersion('timestamp'), 1);
  });

  for (const rotated of [['snapshot'], ['snapshot', 'timestamp']] as const) {
    test(`rotated keys of ${rotated.join(' and ')} take the Snapshot's version back`, async () => {
      await using bench = await TufBench.open();
      const { repository } = bench;
      repository.version.snapshot = 99_999;
      repository.publishSnapshotAndTimestamp();
      await bench.refresh();
      for (const role of rotated) repository.keys[role] = [ed25519Key()];
      repository.publishRoot();
      repository.version.snapshot = 1;
      repository.publishSnapshotAndTimestamp();
      await bench.refresh();
      assert.equal(bench.keptVersion('snapshot'), 2);
    });
  }

  test('a rotated Snapshot key takes the versions of Targets back (§5.6)', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    repository.version.targets = 99_999;
    repository.publishTargets();
    repository.publishSnapshotAndTimestamp();
    await bench.refresh();
    repository.keys.snapshot = [ed25519Key()];
    repository.publishRoot();
    repository.version.targets = 1;
    repository.publishTargets();
    repository.publishSnapshotAndTimestamp();
    await bench.refresh();
    assert.equal(bench.keptVersion('targets'), 1);
  });

  test('what was outdated stays where it is until it is replaced, and counts no more', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    repository.version.snapshot = 99_999;
    repository.publishSnapshotAndTimestamp();
    await bench.refresh();
    repository.keys.snapshot = [ed25519Key()];
    repository.publishRoot();
    repository.version.snapshot = 1;
    repository.publishSnapshotAndTimestamp();
    const good = repository.current('snapshot');
    repository.replace('snapshot', tufEnvelope({ _type: 'snapshot' }, []));
    const kept = ['root.json', 'timestamp.json'];
    const malformed = { path: 'image/snapshot.signed.meta', want: 'an object' };
    await bench.refuses('METADATA_MALFORMED', malformed, kept);
    const younger = repository.current('timestamp');
    assert.equal(bench.kept()['timestamp.json'], Buffer.from(younger).toString());
    repository.publishTimestamp(versioned(1));
    const rollback = { ...IMAGE, role: 'timestamp', trusted: 3, offered: 1 };
    await bench.refuses('VERSION_ROLLBACK', rollback);
    repository.publishTimestamp();
    repository.replace('snapshot', good);
    await bench.refresh();
    assert.equal(bench.keptVersion('snapshot'), 2);
  });

  test('a Snapshot left from before the Timestamp key was rotated counts no more', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    repository.version.snapshot = 50;
    repository.publishSnapshotAndTimestamp();
    await bench.refresh();
    repository.keys.timestamp = [ed25519Key()];
    repository.publishRoot();
    repository.version.snapshot = 1;
    repository.publishSnapshotAndTimestamp();
    const good = repository.current('snapshot');
    repository.served.delete('2.snapshot.json');
    const missing = { ...IMAGE, file: '2.snapshot.json' };
    await bench.refuses('METADATA_MISSING', missing, ['root.json', 'timestamp.json']);
    repository.served.set('2.snapshot.json', good);
    await bench.refresh();
    assert.equal(bench.keptVersion('snapshot'), 2);
  });
});

describe('mix-and-match (S2, G2)', () => {
  for (const listing of ['version', 'length', 'hashes', 'all'] as const) {
    test(`a repository may list ${listing}`, async () => {
      const repository = new TufRepository();
      repository.listing = listing;
      repository.publish();
      await using bench = await TufBench.open(repository);
      await bench.refresh();
      assert.deepEqual(await bench.refresh(), ['2.root.json', 'timestamp.json']);
    });
  }

  for (const [role, parent, kept] of [
    ['snapshot', 'timestamp', ['timestamp.json']],
    ['targets', 'snapshot', ['timestamp.json', 'snapshot.json']],
  ] as const) {
    const list = (entry: () => Body) => (body: Body) => ({
      ...body,
      meta: { [`${role}.json`]: entry() },
    });

    async function offering(bench: TufBench, entry: () => Body): Promise<void> {
      const { repository } = bench;
      await bench.refresh();
      repository.version.targets = 2;
      repository.publishTargets();
      repository.version.snapshot = 2;
      repository.publishSnapshot(role === 'targets' ? list(entry) : undefined);
      repository.version.timestamp = 2;
      repository.publishTimestamp(role === 'snapshot' ? list(entry) : undefined);
    }

    test(`${role} of another hash is refused`, async () => {
      await using bench = await TufBench.open();
      await offering(bench, () => ({ version: 2, hashes: hashesOf('something else') }));
      const details = { ...IMAGE, role, listedIn: parent };
      await bench.refuses('METADATA_HASH_MISMATCH', details, kept);
    });

    test(`${role} has to match every hash that is listed`, async () => {
      await using bench = await TufBench.open();
      const hashes = (): Body => {
        const right = hashesOf(bench.repository.current(role));
        return { ...right, sha512: '0'.repeat(128) };
      };
      await offering(bench, () => ({ version: 2, hashes: hashes() }));
      await bench.refuses('METADATA_HASH_MISMATCH', { ...IMAGE, role, listedIn: parent }, kept);
    });

    test(`${role} of another version is refused`, async () => {
      await using bench = await TufBench.open();
      await offering(bench, () => ({ version: 7 }));
      bench.repository.served.set(`7.${role}.json`, bench.repository.current(role));
      const details = { ...IMAGE, role, listed: 7, offered: 2 };
      await bench.refuses('METADATA_VERSION_MISMATCH', details, kept);
    });

    test(`${role} shorter than listed is refused, longer is not read to its end`, async () => {
      await using bench = await TufBench.open();
      await offering(bench, () => ({ version: 2, length: 60_000 }));
      const offeredBytes = bench.repository.current(role).byteLength;
      const lengths = { listedBytes: 60_000, offeredBytes };
      const details = { ...IMAGE, role, listedIn: parent, ...lengths };
      await bench.refuses('METADATA_LENGTH_MISMATCH', details, kept);
    });

    test(`${role} longer than listed is not read to its end`, async () => {
      await using bench = await TufBench.open();
      await offering(bench, () => ({ version: 2, length: 10 }));
      const details = { ...IMAGE, file: `2.${role}.json`, maxBytes: 10 };
      await bench.refuses('METADATA_TOO_LARGE', details, kept);
    });
  }
});
