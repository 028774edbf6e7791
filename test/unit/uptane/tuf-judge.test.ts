/** tuf-js as second judge: that it is asked, that it is heard, and where it is not. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';

import { isOtaError } from '../../../agent/errors.ts';
import { parseInstant } from '../../../agent/uptane/time.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import { TufJudge } from '../../../agent/uptane/tuf-judge.ts';
import { ed25519Key, mlDsaKey, type Body } from '../../support/tuf-keys.ts';
import { TufMemory } from '../../support/tuf-memory.ts';
import { hashesOf, TufRepository } from '../../support/tuf-repository.ts';

const NOW = parseInstant('2026-11-21T00:00:00Z', 'now');

/** Expects that ours accepts and tuf-js does not. */
function disputes(memory: TufMemory, role: string, names: readonly string[] = []): void {
  const before = new Map(memory.trusted);
  assert.throws(
    () => memory.refresh(names),
    (error: unknown) => {
      assert.ok(isOtaError(error) && error.code === 'METADATA_MALFORMED', String(error));
      assert.equal(error.details.path, `image/${role}`);
      assert.match(error.details.want, /^what tuf-js accepts, too: /u);
      return true;
    },
  );
  assert.equal(memory.trusted.get(`image/${role}`), before.get(`image/${role}`));
}

describe('where the judges disagree, a file is refused and not kept', () => {
  test('root', () => {
    const repository = new TufRepository();
    const memory = new TufMemory(repository);
    const odd = {
      ...ed25519Key(),
      id: 'odd',
      entry: { keytype: 'x', scheme: 'x', keyval: { n: 1 } },
    };
    repository.keys.targets = [...repository.keys.targets, odd];
    repository.publishRoot();
    disputes(memory, 'root');
  });

  test('the root that trust starts from', () => {
    const repository = new TufRepository();
    const odd = { keytype: 'x', scheme: 'x', keyval: { n: 1 } };
    repository.keys.targets = [
      ...repository.keys.targets,
      { ...ed25519Key(), id: 'odd', entry: odd },
    ];
    repository.version.root = 0;
    repository.publishRoot();
    assert.throws(
      () => new TufMemory(repository).refresh(),
      (error: unknown) => {
        assert.ok(isOtaError(error) && error.code === 'METADATA_MALFORMED', String(error));
        assert.equal(error.details.path, 'image/root');
        assert.match(error.details.want, /^what tuf-js accepts, too: /u);
        return true;
      },
    );
  });

  test('timestamp', () => {
    const repository = new TufRepository();
    const snapshot = { version: 1, length: null };
    repository.publishTimestamp((body) => ({ ...body, meta: { 'snapshot.json': snapshot } }));
    disputes(new TufMemory(repository), 'timestamp');
  });

  test('snapshot', () => {
    const repository = new TufRepository();
    const { sha256 } = hashesOf(repository.current('snapshot'));
    const snapshot = { version: 1, hashes: { sha256: sha256.toUpperCase() } };
    repository.publishTimestamp((body) => ({ ...body, meta: { 'snapshot.json': snapshot } }));
    disputes(new TufMemory(repository), 'snapshot');
  });

  test('targets, and a role below them', () => {
    const repository = new TufRepository();
    const odd: Body = { length: 1, hashes: { ...hashesOf('x'), other: 1 } };
    const keys = [ed25519Key()];
    repository.delegations = [{ name: 'supplier', keys, paths: ['*'] }];
    repository.addDelegated('supplier', { keys, targets: { file: odd } });
    repository.publish();
    disputes(new TufMemory(repository), 'delegated/supplier', ['file']);
    repository.targets = { file: odd };
    repository.publish();
    disputes(new TufMemory(repository), 'targets');
  });
});

test('the second judge sees a roll-back by itself (T3, S5)', () => {
  const repository = new TufRepository();
  repository.listing = 'version';
  const judge = new TufJudge('image', TUF.parseRoot(repository.current('root'), 'image'), NOW);
  const timestamps = [1, 2].map((version) => {
    repository.publishTimestamp((body) => ({ ...body, version }));
    return TUF.parseTimestamp(repository.current('timestamp'), 'image');
  });
  const snapshots = [1, 2].map((version) => {
    const meta = { 'targets.json': { version } };
    repository.publishSnapshot((body) => ({ ...body, meta }));
    return TUF.parseSnapshot(repository.current('snapshot'), 'image');
  });
  const [olderTimestamp, timestamp] = timestamps;
  const [olderSnapshot, snapshot] = snapshots;
  assert.ok(olderTimestamp && timestamp && olderSnapshot && snapshot);
  const refusal = { code: 'METADATA_MALFORMED' };
  assert.throws(() => {
    judge.addTimestamp(olderTimestamp, timestamp);
  }, refusal);

  assert.throws(() => {
    judge.addSnapshot(olderSnapshot, snapshot);
  }, refusal);
});

test('the second judge remembers a Snapshot that the next Timestamp no longer lists (S5)', () => {
  const repository = new TufRepository();
  repository.listing = 'all';
  const root = TUF.parseRoot(repository.current('root'), 'image');
  const [newer, older] = [2, 1].map((version) => {
    repository.publishSnapshot((body) => ({ ...body, meta: { 'targets.json': { version } } }));
    return TUF.parseSnapshot(repository.current('snapshot'), 'image');
  });
  assert.ok(newer && older);
  repository.publishTimestamp();
  const timestamp = TUF.parseTimestamp(repository.current('timestamp'), 'image');
  const judge = (): TufJudge => {
    const one = new TufJudge('image', root, NOW);
    one.addTimestamp(timestamp, undefined);
    return one;
  };
  judge().addSnapshot(older, undefined);
  assert.throws(
    () => {
      judge().addSnapshot(older, newer);
    },
    { code: 'METADATA_MALFORMED' },
  );
});

describe('the second judge goes by the instant it is given', () => {
  test('and not by the clock, in either direction', () => {
    const repository = new TufRepository();
    const year = (n: number): string => `${String(n)}-01-01T00:00:00Z`;
    for (const role of ['root', 'timestamp', 'snapshot', 'targets'] as const) {
      repository.expires[role] = year(2011);
    }
    repository.publishRoot();
    repository.publish();
    const memory = new TufMemory(repository);
    memory.now = parseInstant(year(2010), 'now');
    memory.refresh();
    memory.now = parseInstant(year(2011), 'now');
    assert.throws(() => memory.refresh(), { code: 'METADATA_EXPIRED' });
  });
});

describe('the second judge is not asked', () => {
  test('about a file beyond 32 KiB, which would cost it minutes, and is about one of just that', () => {
    for (const bytes of [32 * 1024, 32 * 1024 + 1]) {
      const repository = new TufRepository();
      repository.targets['odd'] = { length: 1, hashes: { ...hashesOf('x'), other: 1 } };
      const padded = (by: number): number => {
        repository.publishTargets((body) => ({ ...body, pad: ' '.repeat(by) }));
        return repository.current('targets').byteLength;
      };
      assert.equal(padded(bytes - padded(0)), bytes);
      repository.publishSnapshotAndTimestamp();
      const memory = new TufMemory(repository);
      if (bytes > 32 * 1024) memory.refresh(['odd']);
      else disputes(memory, 'targets', ['odd']);
    }
  });

  test('about a long list of files', () => {
    const repository = new TufRepository();
    for (let n = 0; n < 300; n += 1) repository.targets[`file-${String(n)}`] = targetOf(String(n));
    repository.targets['odd'] = { length: 1, hashes: { ...hashesOf('x'), other: 1 } };
    repository.publish();
    new TufMemory(repository).refresh(['odd']);
  });

  test('about text that it sorts by UTF-16 units', () => {
    const repository = new TufRepository();
    repository.targets = { '\u{1f680}': targetOf('rocket'), '\ue000': targetOf('private') };
    repository.publish();
    new TufMemory(repository).refresh(['\u{1f680}']);
  });

  test('about a root that leaves consistent_snapshot out, which means false', () => {
    const repository = new TufRepository(ed25519Key, false);
    repository.version.root = 0;
    repository.publishRoot((body) =>
      Object.fromEntries(Object.entries(body).filter(([name]) => name !== 'consistent_snapshot')),
    );
    new TufMemory(repository).refresh();
  });

  test('about anything from the first root on that it cannot judge', () => {
    const repository = new TufRepository();
    const memory = new TufMemory(repository);
    memory.refresh();
    repository.publishRoot((body) =>
      Object.fromEntries(Object.entries(body).filter(([name]) => name !== 'consistent_snapshot')),
    );
    // Without the field, files are not named by version.
    repository.consistentSnapshot = false;
    repository.targets['odd'] = { length: 1, hashes: { ...hashesOf('x'), other: 1 } };
    repository.publish();
    memory.refresh(['odd']);
    assert.deepEqual(memory.trusted.get('image/root'), repository.current('root'));
  });

  for (const [what, keys, threshold] of [
    ['a role that only signs in another way', [mlDsaKey()], 1],
    ['a role that also signs in another way', [ed25519Key(), mlDsaKey()], 2],
  ] as const) {
    test(`about ${what}`, () => {
      const repository = new TufRepository();
      repository.keys.timestamp = keys;
      repository.threshold.timestamp = threshold;
      repository.publishRoot();
      repository.publish();
      new TufMemory(repository).refresh();
    });
  }

  test('about what hangs on a file that it did not judge', () => {
    const repository = new TufRepository();
    const keys = [ed25519Key()];
    // Its own order of these names would break the signature.
    repository.delegations = ['z', '10'].map((name) => ({ name, keys, paths: ['*'] }));
    repository.addDelegated('z', { keys });
    const odd = { length: 1, hashes: { ...hashesOf('x'), other: 1 } };
    repository.addDelegated('10', { keys, targets: { file: odd } });
    repository.publish();
    new TufMemory(repository).refresh(['file']);
  });
});

test('tuf-js is the version whose inner store this was written for', () => {
  const { version } = createRequire(import.meta.url)('tuf-js/package.json') as { version: string };
  assert.equal(version, '6.0.2');
});

function targetOf(content: string): Body {
  return { length: 4, hashes: hashesOf(content) };
}
