import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { parseRoot } from '../../../agent/uptane/metadata.ts';
import { updateRoot } from '../../../agent/uptane/root.ts';
import { MetadataStore, verifyFirstRoot } from '../../../agent/uptane/store.ts';
import { ed25519, envelope, PAST, type Body } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { NOW, World } from '../../support/uptane-world.ts';

const EXPIRED = { expiresAt: PAST, nowAt: '2026-11-21T00:00:00Z' };
const DIRECTOR_ROOT = { repo: 'director', role: 'root' } as const;

describe('the chain of roots (§5.4.4.3)', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
    world.release('fw-1.bin');
    world.update();
  });

  test('starts at the stored root: the first question is for the next one (R1, step 1)', () => {
    world.director.publishRoot();
    world.update();
    world.update();
    assert.equal(world.device.requests[0], 'director/3.root.json');
  });

  test('is told to whoever watches, version by version (R4, P10)', () => {
    const store = new MetadataStore('director', world.device.trusted, NOW);
    const told: unknown[] = [];
    store.watch({
      passed: ({ check, facts }) => told.push([check, facts]),
      accepted: () => assert.fail('no root is believed before the last one'),
    });
    world.director.publishRoot();
    store.addRoot(world.director.file('2.root.json'));
    const signers = { valid: 1, threshold: 1, keys: 1 };
    assert.deepEqual(told, [
      ['threshold', signers],
      ['threshold', signers],
      ['next-version', { expected: 2, offered: 2 }],
    ]);
    assert.equal(store.isKept('root', world.director.file('2.root.json')), true);
  });

  test('is followed to its end, one by one, each kept before the next is asked for (R2, R5, step 2)', () => {
    world.director.publishRoot();
    world.director.keys.root = [ed25519()];
    world.director.publishRoot();
    world.update();
    assert.deepEqual(world.device.requests.slice(0, 3), [
      'director/2.root.json',
      'director/3.root.json',
      'director/4.root.json',
    ]);
    assert.deepEqual(world.device.kept, ['director/root', 'director/root']);
    assert.equal(world.device.trusted.get('director/root'), world.director.file('3.root.json'));
  });

  test('goes on where a power cut stopped it (R5)', () => {
    world.director.publishRoot();
    world.director.publishRoot();
    const cut = new Error('power cut');
    assert.throws(
      () =>
        world.device.verify((repo, file) => {
          if (file === '3.root.json') throw cut;
          return world.serve(repo, file);
        }),
      cut,
    );
    assert.deepEqual(world.device.kept, ['director/root']);
    world.update();
    assert.equal(world.device.requests[0], 'director/3.root.json');
  });

  test('refuses an oversized next root instead of missing a rotation (R2)', () => {
    world.director.served.set('2.root.json', Buffer.alloc(70_000, ' '));
    world.refuses('METADATA_TOO_LARGE', {
      repo: 'director',
      file: '2.root.json',
      maxBytes: 65_536,
    });
    assert.deepEqual(world.device.requests, ['director/2.root.json']);
  });

  test('refuses a malformed next root instead of missing a rotation (R2)', () => {
    world.director.served.set('2.root.json', Buffer.from('{}'));
    world.refuses('METADATA_MALFORMED', { path: 'director/root.signed', want: 'an object' });
  });

  test('does not take a failure of the transport for the end of the chain (R2)', () => {
    const timeout = new Error('timeout');
    assert.throws(
      () =>
        world.device.verify(() => {
          throw timeout;
        }),
      timeout,
    );
    assert.deepEqual(world.device.requests, ['director/2.root.json']);
  });

  test('refuses a root that the last one did not sign (R3, step 2.3)', () => {
    const fresh = [ed25519()];
    world.director.keys.root = fresh;
    world.director.publishRoot(undefined, fresh);
    world.refuses('THRESHOLD_NOT_MET', { ...DIRECTOR_ROOT, valid: 0, threshold: 1 });
  });

  test('refuses a root that its own keys did not sign (R3, step 2.3)', () => {
    const old = world.director.keys.root;
    world.director.keys.root = [ed25519()];
    world.director.publishRoot(undefined, old);
    world.refuses('THRESHOLD_NOT_MET', { ...DIRECTOR_ROOT, valid: 0, threshold: 1 });
  });

  test('wants the threshold of the last root even where the next one lowers it (R3)', () => {
    const [first, second] = [ed25519(), ed25519()];
    world.director.keys.root = [first, second];
    world.director.threshold.root = 2;
    world.director.publishRoot();
    world.update();
    world.director.threshold.root = 1;
    world.director.publishRoot(undefined, [first]);
    world.refuses('THRESHOLD_NOT_MET', { ...DIRECTOR_ROOT, valid: 1, threshold: 2 });
  });

  for (const [what, version] of [
    ['skips a version', 3],
    ['repeats a version', 1],
  ] as const) {
    test(`refuses a root that ${what} (R4, step 2.4)`, () => {
      world.director.publishRoot((body) => ({ ...body, version }));
      world.refuses('ROOT_VERSION_MISMATCH', { repo: 'director', expected: 2, offered: version });
    });
  }

  test('passes through expired roots to one that is not (R6)', () => {
    world.director.expires.root = PAST;
    world.director.publishRoot();
    world.director.expires.root = '2037-12-31T23:59:59Z';
    world.director.publishRoot();
    assert.equal(world.update().outcome, 'up-to-date');
  });

  test('refuses an expired last root, before asking for anything else (R6, step 3)', () => {
    world.director.expires.root = PAST;
    world.director.publishRoot();
    world.refuses('METADATA_EXPIRED', { ...DIRECTOR_ROOT, ...EXPIRED }, ['director/root']);
    assert.deepEqual(world.device.requests, ['director/2.root.json', 'director/3.root.json']);
  });

  test('is bounded, and the next poll goes on from what was kept (R2)', () => {
    for (let root = 0; root < 300; root += 1) world.director.publishRoot();
    const kept = Array.from({ length: 256 }, () => 'director/root');
    world.refuses('ROOT_CHAIN_TOO_LONG', { repo: 'director', maxRotations: 256 }, kept);
    assert.equal(world.update().outcome, 'up-to-date');
  });

  test('is walked for the Image repository too, once that is asked (R1, F7)', () => {
    world.image.publishRoot();
    world.release('fw-2.bin');
    world.update();
    assert.ok(world.device.requests.includes('image/2.root.json'));
    assert.equal(world.device.trusted.get('image/root'), world.image.file('2.root.json'));
  });
});

describe('rotated keys of Timestamp and Snapshot (R7, §5.4.4.3 step 4)', () => {
  const MAX = Number.MAX_SAFE_INTEGER;
  let world: World;
  beforeEach(() => {
    world = new World();
    world.release('fw-1.bin');
    world.update();
  });

  for (const repo of ['director', 'image'] as const) {
    test(`let the ${repo} repository recover from a fast-forward attack (R7)`, () => {
      // What an attacker with the online keys can do to a device for ever.
      Object.assign(world[repo].version, { timestamp: MAX - 1, snapshot: MAX - 1 });
      world.release('attack.bin');
      world.update();
      assert.equal(versionOf(world, `${repo}/timestamp`), MAX);
      assert.equal(versionOf(world, `${repo}/snapshot`), MAX);

      world[repo].keys.timestamp = [ed25519()];
      world[repo].keys.snapshot = [ed25519()];
      Object.assign(world[repo].version, { timestamp: 10, snapshot: 10 });
      world[repo].publishRoot();
      world.release('fw-2.bin');
      assert.equal(world.update().outcome, 'update');
      assert.equal(versionOf(world, `${repo}/timestamp`), 11);
      assert.equal(versionOf(world, `${repo}/snapshot`), 11);
    });
  }

  test('make both count as forgotten if either key changed, and delete the Snapshot (R7)', () => {
    world.director.keys.snapshot = [ed25519()];
    world.director.publishRoot();
    Object.assign(world.director.version, { timestamp: 0, snapshot: 0 });
    world.director.publishSnapshotAndTimestamp();
    world.update();
    assert.deepEqual(world.device.kept, [
      'director/root',
      'director/snapshot',
      'director/timestamp',
      'director/snapshot',
    ]);
    assert.equal(versionOf(world, 'director/timestamp'), 1);
  });

  test('have the Snapshot forgotten in so many words (R7)', () => {
    world.director.keys.snapshot = [ed25519()];
    world.director.publishRoot();
    const store = new MetadataStore('director', world.device.trusted, NOW);
    const talk = updateRoot(store);
    talk.next();
    const bytes = world.director.file('2.root.json');
    const keep = { need: 'keep', repo: 'director' } as const;
    assert.deepEqual(talk.next(bytes).value, { ...keep, role: 'root', bytes });
    const next = { need: 'fetch', repo: 'director', file: '3.root.json', maxBytes: 65_536 };
    assert.deepEqual(talk.next(undefined).value, next);
    const forget = { ...keep, role: 'snapshot', bytes: undefined };
    assert.deepEqual(talk.next(undefined).value, forget);
    assert.equal(talk.next(undefined).done, true);
  });

  test('leave the rollback state of Targets as it is (R7)', () => {
    world.director.keys.timestamp = [ed25519()];
    world.director.keys.snapshot = [ed25519()];
    world.director.publishRoot();
    world.director.version.targets = 7;
    world.release('fw-2.bin');
    world.update();
    world.director.keys.timestamp = [ed25519()];
    world.director.publishRoot();
    world.director.version.targets = 2;
    world.director.publish();
    const older = { repo: 'director', role: 'targets', trusted: 8, offered: 3 } as const;
    world.refuses('VERSION_ROLLBACK', older, [
      'director/root',
      'director/snapshot',
      'director/timestamp',
      'director/snapshot',
    ]);
  });

  test("do not open a way to leave the Director's Timestamp out (R7)", () => {
    world.director.keys.timestamp = [ed25519()];
    world.director.publishRoot();
    world.director.served.delete('timestamp.json');
    const missing = { repo: 'director', file: 'timestamp.json' } as const;
    world.refuses('METADATA_MISSING', missing, ['director/root', 'director/snapshot']);
    world.refuses('METADATA_MISSING', missing);
  });

  test('are noticed from what is stored, also after a power cut during the rotation (R7)', () => {
    world.director.keys.timestamp = [ed25519()];
    world.director.publishRoot();
    world.device.trusted.set('director/root', world.director.file('2.root.json'));
    world.director.version.timestamp = 0;
    world.director.publishTimestamp();
    world.director.publishSnapshotAndTimestamp();
    world.update();
    assert.equal(versionOf(world, 'director/timestamp'), 1);
  });

  test('are not assumed when a root only renews itself: rollback stays refused (R7, T3)', () => {
    world.director.publishRoot();
    world.director.version.timestamp = 0;
    world.director.publishTimestamp((body) => ({ ...body, version: 1 }));
    world.director.version.timestamp = 5;
    world.director.publishTimestamp();
    world.update();
    world.director.publishRoot();
    world.director.version.timestamp = 4;
    world.director.publishTimestamp();
    const older = { repo: 'director', role: 'timestamp', trusted: 5, offered: 4 } as const;
    world.refuses('VERSION_ROLLBACK', older, ['director/root']);
  });
});

describe('root metadata (R8, §5.2.2)', () => {
  test('of another type is refused (R8)', () => {
    const world = new World();
    world.publish();
    world.director.served.set('2.root.json', world.director.file('targets.json'));
    world.refuses('ROLE_TYPE_MISMATCH', { ...DIRECTOR_ROOT, type: 'Targets' });
  });

  test('has its type compared without regard to case (R8)', () => {
    const world = new World();
    world.director.publishRoot((body) => ({ ...body, _type: 'root' }));
    assert.equal(parseRoot(world.director.file('2.root.json'), 'director').body.version, 2);
  });

  for (const role of ['root', 'timestamp', 'snapshot', 'targets'] as const) {
    test(`needs keys and a threshold for ${role} (R8)`, () => {
      const world = new World();
      world.director.publishRoot((body) => {
        const roles = Object.entries(body['roles'] as Body).filter(([name]) => name !== role);
        return { ...body, roles: Object.fromEntries(roles) };
      });
      const path = `director/root.signed.roles.${role}`;
      world.refuses('METADATA_MALFORMED', { path, want: 'an object' });
    });
  }

  test('that starts the trust has to be signed by itself (R8, step 1)', () => {
    const { keys } = new World().director;
    const signed = new World().director.file('1.root.json');
    const { signed: body } = JSON.parse(Buffer.from(signed).toString()) as { signed: Body };
    throwsCode(() => verifyFirstRoot('director', envelope(body, keys.root)), 'THRESHOLD_NOT_MET', {
      ...DIRECTOR_ROOT,
      valid: 0,
      threshold: 1,
    });
    assert.equal(verifyFirstRoot('director', signed).version, 1);
  });
});

function versionOf(world: World, name: string): unknown {
  const bytes = world.device.trusted.get(name);
  const { signed } = JSON.parse(Buffer.from(bytes ?? []).toString()) as { signed: Body };
  return signed['version'];
}
