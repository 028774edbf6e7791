/** What is sealed, how it is written, and how disk and seal are compared. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { isOtaError, type Repo } from '../../../agent/errors.ts';
import { floorsOf, rootDigest, type Floors } from '../../../agent/uptane/floors.ts';
import { UPTANE } from '../../../agent/uptane/format.ts';
import {
  encodeSeal,
  fitted,
  MAX_SEAL_BYTES,
  newestSeal,
  type Seal,
} from '../../../agent/uptane/seal.ts';
import {
  isWorthSealing,
  raisedSeal,
  standingOf,
  type Holdings,
} from '../../../agent/uptane/standing.ts';
import type { Instant } from '../../../agent/uptane/time.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import { ed25519, FUTURE } from '../../support/build-metadata.ts';
import { imageTarget, PRIMARY, World } from '../../support/uptane-world.ts';
import { TestRepository } from '../../support/test-repository.ts';
import { TufMemory } from '../../support/tuf-memory.ts';
import { ed25519Key } from '../../support/tuf-keys.ts';
import { TufRepository, type TufRole } from '../../support/tuf-repository.ts';

const ROOTS = new Map<Repo, string>([
  ['director', 'd'],
  ['image', 'i'],
]);

const SEAL: Seal = {
  stateId: 'state',
  sequence: 7,
  reports: 2000,
  latestKnownTime: 1000 as Instant,
  versions: new Map([
    ['director/root', 2],
    ['director/targets', 5],
    ['image/root', 3],
    ['image/snapshot', 9],
    ['image/delegated/a', 4],
  ]),
  roots: ROOTS,
  releases: new Map([['ecu', 6]]),
};

const BINDING = { stateId: 'state', sequence: 7, sealed: true, failed: undefined };

function disk(
  changes: Readonly<Record<string, number>> = {},
  more: Partial<Holdings> = {},
): Holdings {
  const versions = new Map([...SEAL.versions, ...Object.entries(changes)]);
  const floors: Floors = { versions, roots: ROOTS, used: ['image/delegated/a'] };
  return { floors, latestKnownTime: SEAL.latestKnownTime, releases: SEAL.releases, ...more };
}

describe('a seal and a disk', () => {
  const is = (holdings: Holdings, binding: Partial<typeof BINDING> = {}): unknown => {
    const standing = standingOf(SEAL, { ...BINDING, ...binding }, holdings);
    return standing.is === 'behind' ? standing.what : standing.is;
  };

  test('the disk may be as new as the seal, or newer', () => {
    assert.equal(is(disk()), 'current');
    assert.equal(is(disk({ 'director/targets': 6 }), { sequence: 8 }), 'current');
  });

  test('a lower number of the seal, or none, is an older disk', () => {
    assert.equal(is(disk(), { sequence: 6 }), 'storage');
    assert.equal(standingOf(SEAL, { ...BINDING, stateId: undefined }, disk()).is, 'behind');
  });

  test('any lower version, release counter or time is an older disk, whatever the number says', () => {
    for (const name of SEAL.versions.keys()) assert.equal(is(disk({ [name]: 1 })), name);
    assert.equal(is(disk({}, { releases: new Map([['ecu', 5]]) })), 'release counter of ecu');
    assert.equal(is(disk({}, { releases: new Map() })), 'release counter of ecu');
    assert.equal(is(disk({}, { latestKnownTime: 999 as Instant })), 'latest known time');
  });

  test('under a newer root versions may be lower (fast-forward recovery, §5.4.4.3 step 4)', () => {
    assert.equal(is(disk({ 'image/root': 4, 'image/snapshot': 1 })), 'current');
    const { versions } = raisedSeal(SEAL, disk({ 'image/root': 4, 'image/snapshot': 1 }));
    assert.equal(versions.get('image/snapshot'), 1);
    assert.equal(versions.get('director/targets'), 5);
  });

  test('another root of the sealed version is nothing that repositories can mend', () => {
    const { floors } = disk();
    const roots = new Map(ROOTS).set('image', 'other');
    const standing = standingOf(SEAL, BINDING, disk({}, { floors: { ...floors, roots } }));
    assert.deepEqual(standing, {
      is: 'behind',
      what: 'image/root',
      sealed: 'i',
      found: 'other',
      canCatchUp: false,
    });
  });

  test('a seal of another storage, or none where there was one, is foreign', () => {
    assert.equal(is(disk(), { stateId: 'another' }), 'foreign');
    assert.equal(standingOf(undefined, BINDING, disk()).is, 'foreign');
    assert.equal(standingOf(undefined, { ...BINDING, sealed: false }, disk()).is, 'unsealed');
  });

  test('what an older disk holds lowers nothing in the next seal', () => {
    const older = disk({ 'director/root': 1, 'director/targets': 1, 'image/snapshot': 1 });
    assert.deepEqual(raisedSeal(SEAL, { ...older, releases: new Map() }), SEAL);
  });

  test('a Timestamp alone is not worth a write', () => {
    const worth = (changes: Readonly<Record<string, number>>): boolean =>
      isWorthSealing(SEAL, raisedSeal(SEAL, disk(changes)));
    assert.equal(worth({}), false);
    assert.equal(worth({ 'director/timestamp': 99 }), false);
    assert.equal(worth({ 'image/snapshot': 10 }), true);
  });
});

describe('the record in the token', () => {
  test('is read as it was written, and the newest one counts', () => {
    const older = encodeSeal({ ...SEAL, sequence: 6 });
    assert.deepEqual(newestSeal([older, encodeSeal(SEAL)]), {
      ...SEAL,
      versions: new Map([...SEAL.versions].sort()),
    });
    assert.equal(newestSeal([]), undefined);
  });

  test('is nothing when half of it is missing or one bit is wrong', () => {
    const whole = Buffer.from(encodeSeal(SEAL));
    for (let at = 0; at < whole.length; at += 1) {
      assert.equal(newestSeal([whole.subarray(0, at)]), undefined);
      const flipped = Buffer.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      assert.equal(newestSeal([flipped]), undefined);
    }
  });

  test('has a bounded size, and keeps the roles of the top level', () => {
    const names = Array.from({ length: 500 }, (_, index) => `image/delegated/%22${String(index)}`);
    const versions = new Map(
      [...names, ...SEAL.versions.keys()].map((name) => [name, 2 ** 53 - 1]),
    );
    const ecus = Array.from({ length: 50 }, (_, index) => `${'ß"'.repeat(30)}${String(index)}`);
    const releases = new Map(ecus.map((ecu) => [ecu, 2 ** 53 - 1]));
    const large = fitted({ ...SEAL, versions, releases });
    const bytes = encodeSeal(large);
    assert.ok(bytes.byteLength <= MAX_SEAL_BYTES, String(bytes.byteLength));
    for (const name of SEAL.versions.keys()) {
      if (!name.includes('delegated')) assert.ok(large.versions.has(name), name);
    }
    assert.equal(isWorthSealing(large, fitted({ ...large, versions, releases })), false);
    assert.notEqual(newestSeal([bytes]), undefined);
  });
});

const FORMATS = { director: UPTANE, image: UPTANE };

function floorsIn(world: World): Floors {
  return floorsOf(world.device.trusted, FORMATS);
}

describe('floors', () => {
  test('are the versions of what is kept; of the Image repository what its Snapshot lists', () => {
    const world = new World();
    world.release('fw-1.bin');
    world.release('fw-2.bin');
    const key = ed25519();
    world.image.delegations = [{ name: 'vendor', keys: [key], paths: ['vendor/*'] }];
    world.image.delegated.set('vendor', {
      keys: [key],
      version: 7,
      expires: FUTURE,
      targets: {},
      delegations: [],
    });
    world.publish();
    world.update();
    const { versions, roots, used } = floorsIn(world);
    assert.deepEqual(Object.fromEntries(versions), {
      'director/root': 1,
      'director/timestamp': 3,
      'director/snapshot': 3,
      'director/targets': 3,
      'image/root': 1,
      'image/timestamp': 3,
      'image/snapshot': 3,
      'image/targets': 3,
      'image/delegated/vendor': 7,
    });
    assert.deepEqual(
      [...roots].map(([repo, digest]) => [repo, digest.length]),
      [
        ['director', 64],
        ['image', 64],
      ],
    );
    assert.notEqual(roots.get('director'), roots.get('image'));
    assert.deepEqual(used, []);
  });

  test('name the delegated roles that this device has used, and no others', () => {
    const world = new World();
    const key = ed25519();
    const own = { 'vendor/fw.bin': imageTarget('vendor/fw.bin', [PRIMARY]) };
    world.image.delegations = ['vendor', 'another'].map((name) => ({
      name,
      keys: [key],
      paths: [`${name}/*`],
    }));
    for (const [name, targets] of [
      ['vendor', own],
      ['another', {}],
    ] as const) {
      world.image.delegated.set(name, {
        keys: [key],
        version: 2,
        expires: FUTURE,
        targets,
        delegations: [],
      });
    }
    world.assign('vendor/fw.bin');
    world.publish();
    world.update();
    assert.deepEqual(floorsIn(world).used, ['image/delegated/vendor']);
    assert.equal(floorsIn(world).versions.get('image/delegated/another'), 2);
  });

  test('of a Director that serves Root and Targets alone are those two', () => {
    const world = new World();
    world.release('fw.bin');
    world.withoutDirectorTimestamp();
    world.update();
    const own = [...floorsIn(world).versions.keys()].filter((name) => name.startsWith('director/'));
    assert.deepEqual(own, ['director/root', 'director/targets']);
  });

  test('of a device that has only its roots are those', () => {
    const world = new World();
    const { versions, used } = floorsIn(world);
    assert.deepEqual(Object.fromEntries(versions), { 'director/root': 1, 'image/root': 1 });
    assert.deepEqual(used, []);
    const damaged = new Map(world.device.trusted);
    damaged.delete('image/root');
    assert.throws(
      () => floorsOf(damaged, FORMATS),
      (error) => isOtaError(error) && error.code === 'STORAGE_CORRUPT',
    );
  });

  test('a root with one more signature is the same root', () => {
    const repository = new TestRepository();
    const [once] = [repository.file('1.root.json')];
    repository.version.root = 0;
    repository.publishRoot(undefined, [...repository.keys.root, ...repository.keys.targets]);
    assert.notDeepEqual(once, repository.file('1.root.json'));
    assert.equal(rootDigest(once), rootDigest(repository.file('1.root.json')));
  });

  test('of a TUF repository never go down under one root, whatever keys rotate and versions start again', () => {
    const director = new TestRepository();
    const repository = new TufRepository();
    const memory = new TufMemory(repository);
    const floors = (): Floors => {
      const own = ['director/root', director.file('1.root.json')] as const;
      return floorsOf(new Map([...memory.trusted, own]), { director: UPTANE, image: TUF });
    };
    let before = floors().versions;
    for (let round = 0; round < 60; round += 1) {
      changeSomething(repository, round);
      memory.refresh();
      const after = floors().versions;
      if (after.get('image/root') === before.get('image/root')) {
        for (const [name, version] of before) assert.ok((after.get(name) ?? 0) >= version, name);
      }
      before = after;
    }
    assert.ok((before.get('image/root') ?? 0) > 20);
  });
});

/** Every combination of what rotates, and of what starts again under the new keys. */
function changeSomething(repository: TufRepository, round: number): void {
  const rotated = (['timestamp', 'snapshot', 'targets'] as const).filter(
    (_, index) => (round & (1 << index)) !== 0,
  );
  if (round % 2 === 1) {
    for (const role of rotated) repository.keys[role] = [ed25519Key()];
    repository.publishRoot();
    const restarted: readonly TufRole[] = rotated.includes('snapshot')
      ? ['timestamp', 'snapshot', 'targets']
      : [];
    for (const role of restarted) repository.version[role] = 0;
  }
  repository.publish();
}
