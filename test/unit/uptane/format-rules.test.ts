/** The rules in which the formats differ, each in both. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { UPTANE, type Format } from '../../../agent/uptane/format.ts';
import { MetadataStore } from '../../../agent/uptane/store.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import { FUTURE } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { ed25519Key } from '../../support/tuf-keys.ts';
import { TufMemory } from '../../support/tuf-memory.ts';
import { TestRepository } from '../../support/test-repository.ts';
import { TufRepository } from '../../support/tuf-repository.ts';
import { NOW } from '../../support/uptane-world.ts';

interface Published {
  /** A Timestamp that lists this version of the Snapshot. */
  readonly publish: (version: number, snapshot: number, expires?: string) => Uint8Array;
  /** Knows the root and this Timestamp, as after a power cut before the Snapshot. */
  readonly store: (timestamp: Uint8Array) => MetadataStore;
}

function uptane(): Published {
  const repository = new TestRepository();
  repository.publishSnapshot();
  return published(repository, (file) => repository.file(file), UPTANE);
}

function tuf(): Published {
  const repository = new TufRepository();
  const file = (name: string): Uint8Array => repository.served.get(name) ?? Buffer.from('');
  return published(repository, file, TUF);
}

function published(
  repository: TestRepository | TufRepository,
  file: (name: string) => Uint8Array,
  format: Format,
): Published {
  const root = file('1.root.json');
  return {
    publish: (version, snapshot, expires = FUTURE) => {
      Object.assign(repository.version, { timestamp: version, snapshot });
      repository.publishTimestamp((body) => ({ ...body, expires }));
      return file('timestamp.json');
    },
    store: (timestamp) => {
      const trusted = new Map([
        ['image/root', root],
        ['image/timestamp', timestamp],
      ]);
      const store = new MetadataStore('image', trusted, NOW, format);
      assert.equal(store.settleRoot(), false);
      return store;
    },
  };
}

describe('a second Timestamp of the version that is kept (T3)', () => {
  test('replaces it in the Uptane dialect', () => {
    const { publish, store } = uptane();
    const known = store(publish(3, 5));
    const again = publish(3, 6);
    assert.equal(known.addTimestamp(again).snapshot.version, 6);
    assert.equal(known.isKept('timestamp', again), true);
  });

  test('is discarded in TUF (TUF 1.0 §5.4.3)', () => {
    const { publish, store } = tuf();
    const first = publish(3, 5);
    const known = store(first);
    assert.equal(known.addTimestamp(publish(3, 6)).snapshot.version, 5);
    assert.equal(known.isKept('timestamp', first), true);
    assert.equal(known.addTimestamp(publish(4, 6)).snapshot.version, 6);
  });

  test('is no help in TUF when the kept one has expired (T4)', () => {
    const { publish, store } = tuf();
    const known = store(publish(3, 5, '2026-11-20T00:00:00Z'));
    throwsCode(() => known.addTimestamp(publish(3, 5)), 'METADATA_EXPIRED', {
      ...{ repo: 'image', role: 'timestamp' },
      ...{ expiresAt: '2026-11-20T00:00:00Z', nowAt: '2026-11-21T00:00:00Z' },
    });
  });
});

describe('a Snapshot version below the one that the kept Timestamp lists (T3, S4)', () => {
  test('may be listed in the Uptane dialect, where no such Snapshot was ever seen', () => {
    const { publish, store } = uptane();
    assert.equal(store(publish(3, 5)).addTimestamp(publish(4, 4)).snapshot.version, 4);
  });

  test('may not be listed in TUF (TUF 1.0 §5.4.3)', () => {
    const { publish, store } = tuf();
    const known = store(publish(3, 5));
    throwsCode(() => known.addTimestamp(publish(4, 4)), 'VERSION_ROLLBACK', {
      ...{ repo: 'image', role: 'snapshot' },
      ...{ trusted: 5, offered: 4 },
    });
    assert.equal(known.addTimestamp(publish(4, 5)).snapshot.version, 5);
  });
});

describe('Targets of a lower version than those kept, but of the listed one (G4)', () => {
  test('are a roll-back in the Uptane dialect', () => {
    const repository = new TestRepository();
    const publish = (version: number): Uint8Array => {
      repository.version.targets = version;
      repository.publishTargets();
      return repository.file('targets.json');
    };
    const trusted = new Map([
      ['image/root', repository.file('1.root.json')],
      ['image/targets', publish(5)],
    ]);
    const store = new MetadataStore('image', trusted, NOW);
    const listed = { version: 4, lengthBytes: undefined, hashes: new Map() };
    const wanted = { ...store.topLevelTargets(undefined), listed };
    throwsCode(() => store.addTargets(publish(4), wanted), 'VERSION_ROLLBACK', {
      ...{ repo: 'image', role: 'targets' },
      ...{ trusted: 5, offered: 4 },
    });
  });

  test('are what the Snapshot says in TUF, where its keys were rotated (TUF 1.0 §5.6)', () => {
    const repository = new TufRepository();
    repository.version.targets = 4;
    repository.publish();
    const memory = new TufMemory(repository);
    memory.refresh();
    repository.keys.snapshot = [ed25519Key()];
    repository.publishRoot();
    repository.version.targets = 3;
    repository.publish();
    memory.refresh();
    assert.deepEqual(memory.trusted.get('image/targets'), repository.current('targets'));
  });
});

describe('a file that is shorter than its parent lists (S1, S2)', () => {
  test('is within its limit in the Uptane dialect', () => {
    const repository = new TestRepository();
    repository.publish();
    const bytes = repository.file('snapshot.json');
    const trusted = new Map([['image/root', repository.file('1.root.json')]]);
    const store = new MetadataStore('image', trusted, NOW);
    store.settleRoot();
    const listed = { version: 1, lengthBytes: bytes.byteLength + 1, hashes: new Map() };
    assert.equal(store.addSnapshot(bytes, listed).version, 1);
  });

  test('is another file in TUF (TUF 1.0 §5.5.2)', () => {
    const repository = new TufRepository();
    const { byteLength: offeredBytes } = repository.current('snapshot');
    const listedBytes = offeredBytes + 1;
    const listed = { version: repository.version.snapshot, length: listedBytes };
    repository.publishTimestamp((body) => ({ ...body, meta: { 'snapshot.json': listed } }));
    const memory = new TufMemory(repository);
    throwsCode(() => memory.refresh(), 'METADATA_LENGTH_MISMATCH', {
      ...{ repo: 'image', role: 'snapshot', listedIn: 'timestamp' },
      ...{ listedBytes, offeredBytes },
    });
    assert.equal(memory.trusted.get('image/snapshot'), undefined);
  });

  test('is not believed because it was kept (S2, TUF 1.0 §5.5.2)', () => {
    const repository = new TufRepository();
    const memory = new TufMemory(repository);
    memory.refresh();
    const { byteLength: offeredBytes } = repository.current('snapshot');
    for (const listedBytes of [offeredBytes, offeredBytes + 1]) {
      const snapshot = { version: repository.version.snapshot, length: listedBytes };
      repository.version.timestamp += 1;
      repository.publishTimestamp((body) => ({ ...body, meta: { 'snapshot.json': snapshot } }));
      if (listedBytes === offeredBytes) memory.refresh();
      else assert.throws(() => memory.refresh(), { code: 'METADATA_LENGTH_MISMATCH' });
    }
  });
});
