import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { isOtaError } from '../../../agent/errors.ts';
import { MetadataStore } from '../../../agent/uptane/store.ts';
import { updateImage } from '../../../agent/uptane/verify.ts';
import { ed25519 } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { imageTarget, PRIMARY, World } from '../../support/uptane-world.ts';

const REMEDY = 'restore the trusted metadata or provision the device again';
let world: World;
beforeEach(() => {
  world = new World();
  world.release('fw-1.bin');
  world.update();
});

describe('damaged storage is neither an attack nor a fresh start (P9)', () => {
  for (const name of ['director/root', 'image/root']) {
    test(`without ${name} nothing is believed (R1)`, () => {
      world.device.trusted.delete(name);
      world.refuses('STORAGE_CORRUPT', { path: name, cause: 'missing', remedy: REMEDY });
      assert.deepEqual(world.device.requests, []);
    });
  }

  for (const name of ['director/root', 'director/timestamp', 'director/snapshot']) {
    test(`${name} that is no JSON is named (P9)`, () => {
      world.device.trusted.set(name, Buffer.from('\0\0\0'));
      const cause = `METADATA_MALFORMED path=${name}@0 want="a JSON value"`;
      world.refuses('STORAGE_CORRUPT', { path: name, cause, remedy: REMEDY });
    });
  }

  test('a stored root that nobody signed is named (R1)', () => {
    const text = Buffer.from(world.director.file('1.root.json')).toString();
    world.device.trusted.set('director/root', Buffer.from(text.replace('2037', '2038')));
    const cause = 'THRESHOLD_NOT_MET repo=director role=root valid=0 threshold=1';
    world.refuses('STORAGE_CORRUPT', { path: 'director/root', cause, remedy: REMEDY });
  });

  test('Targets of the Image repository are looked at when they are needed (P9)', () => {
    world.device.trusted.set('image/targets', Buffer.from('['));
    assert.equal(world.update().outcome, 'up-to-date');
    world.release('fw-2.bin');
    assert.throws(
      () => world.update(),
      (error) => isOtaError(error) && error.code === 'STORAGE_CORRUPT',
    );
  });
});

describe('metadata that expired in storage does not brick the device (P9)', () => {
  test('it is what later versions are compared with, and no more (P9)', () => {
    const soon = '2026-12-01T00:00:00Z';
    const roles = ['timestamp', 'snapshot', 'targets'] as const;
    for (const repo of [world.director, world.image]) {
      for (const role of roles) repo.expires[role] = soon;
    }
    world.release('fw-2.bin');
    world.update();
    world.device.now = Date.parse('2027-01-01T00:00:00Z') as typeof world.device.now;
    for (const repo of [world.director, world.image]) {
      for (const role of roles) repo.expires[role] = '2037-12-31T23:59:59Z';
    }
    world.release('fw-3.bin');
    assert.equal(world.update().outcome, 'update');
    world.director.version.timestamp = 1;
    world.director.publishTimestamp();
    const older = { repo: 'director', role: 'timestamp', trusted: 3, offered: 1 } as const;
    world.refuses('VERSION_ROLLBACK', older);
  });

  test('Director Targets that expired while kept are fetched anew, even in the same version (P9)', () => {
    world.director.expires.targets = '2026-12-01T00:00:00Z';
    world.director.publish();
    world.update();
    world.device.now = Date.parse('2027-01-01T00:00:00Z') as typeof world.device.now;
    world.refuses('METADATA_EXPIRED', {
      repo: 'director',
      role: 'targets',
      expiresAt: '2026-12-01T00:00:00Z',
      nowAt: '2027-01-01T00:00:00Z',
    });
    world.director.expires.targets = '2037-12-31T23:59:59Z';
    world.director.publishTargets();
    assert.equal(world.update().outcome, 'up-to-date');
    assert.deepEqual(world.device.kept, ['director/targets']);
  });
});

test('a kept Snapshot that its key no longer vouches for is not believed because it is kept (S3)', () => {
  world.image.keys.snapshot = [ed25519()];
  world.image.publishRoot();
  world.assign('fw-2.bin');
  world.image.targets['fw-2.bin'] = imageTarget('fw-2.bin', [PRIMARY]);
  world.director.publish();
  world.image.version.timestamp += 1;
  world.image.publishTimestamp();
  const unsigned = { repo: 'image', role: 'snapshot', valid: 0, threshold: 1 } as const;
  world.refuses('THRESHOLD_NOT_MET', unsigned, [
    'director/timestamp',
    'director/snapshot',
    'director/targets',
    'image/root',
    'image/snapshot',
    'image/timestamp',
  ]);
  assert.equal(world.device.requests.at(-1), 'image/snapshot.json');
});

test('nothing is added before the chain of roots is closed: an error of ours', () => {
  const store = new MetadataStore('director', world.device.trusted, world.device.now);
  const add = (): unknown => store.addTimestamp(world.director.file('timestamp.json'));
  throwsCode(add, 'BUG', { what: 'roots are not settled' });
});

test('what is believed because it was kept is told as such, with its signers (S0, P10)', () => {
  const told: unknown[] = [];
  const store = new MetadataStore('image', world.device.trusted, world.device.now).watch({
    passed: ({ role, check, clause, facts }) => {
      if (check === 'still-current') told.push([role, clause, facts]);
    },
    accepted: () => undefined,
  });
  const talk = updateImage(store);
  let turn = talk.next();
  while (turn.done !== true) {
    const file = turn.value.need === 'fetch' ? turn.value.file : '';
    turn = talk.next(world.image.served.get(file));
  }
  const signers = { valid: 1, threshold: 1, keys: 1 };
  assert.deepEqual(told, [
    ['snapshot', '§5.4.4.5 step 2', signers],
    ['targets', '§5.4.4.6 step 2', signers],
  ]);
});
