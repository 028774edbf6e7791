import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import type { Passed } from '../../../agent/uptane/observer.ts';
import { verify } from '../../../agent/uptane/verify.ts';
import { hashesOf } from '../../support/build-metadata.ts';
import { imageTarget, PRIMARY, SECONDARY, World } from '../../support/uptane-world.ts';

let world: World;
beforeEach(() => {
  world = new World();
  world.release('fw-1.bin');
});

describe('full verification (§5.4.4.2)', () => {
  test('asks for the files in the order of the Standard (F2, F3, F4, F5, F7, F8, F9, F10)', () => {
    world.update();
    assert.deepEqual(world.device.requests, [
      'director/2.root.json',
      'director/timestamp.json',
      'director/snapshot.json',
      'director/targets.json',
      'image/2.root.json',
      'image/timestamp.json',
      'image/snapshot.json',
      'image/targets.json',
    ]);
    assert.deepEqual(
      world.device.kept,
      world.device.requests
        .filter((request) => !request.endsWith('root.json'))
        .map((request) => request.replace('.json', '')),
    );
  });

  test("says what every role's version was, and until when it is good", () => {
    const { roles } = world.update();
    assert.deepEqual(
      roles.map(({ repo, role, version }) => `${repo}/${role} ${String(version)}`),
      [
        'director/root 1',
        'director/timestamp 1',
        'director/snapshot 1',
        'director/targets 1',
        'image/root 1',
        'image/timestamp 1',
        'image/snapshot 1',
        'image/targets 1',
      ],
    );
    assert.ok(roles.every(({ expiresAt }) => expiresAt === Date.parse('2037-12-31T23:59:59Z')));
  });

  test('tells whoever watches what each image rests on, and what nothing new does (P10)', () => {
    const watch = (): readonly unknown[] => {
      const told: Passed[] = [];
      const observer = { passed: (check: Passed) => told.push(check), accepted: () => undefined };
      const { trusted, inventory, now } = world.device;
      const talk = verify({ trusted, inventory, now, observer });
      let turn = talk.next();
      while (turn.done !== true) {
        const need = turn.value;
        turn = talk.next(need.need === 'fetch' ? world.serve(need.repo, need.file) : undefined);
      }
      assert.equal('correlationId' in turn.value, false);
      const own = ['assignments', 'nothing-new', 'found', 'match'];
      return told.filter(({ check }) => own.includes(check));
    };
    const director = { repo: 'director', role: 'targets' };
    const assignments = {
      ...{ ...director, check: 'assignments', clause: '§5.4.4.6 steps 6 to 8' },
      facts: { images: 1 },
    };
    const facts = { filename: 'fw-1.bin', ecu: 'primary-1' };
    const image = { repo: 'image', role: undefined, facts };
    assert.deepEqual(watch(), [
      assignments,
      { ...image, check: 'found', clause: '§5.4.4.7' },
      { ...image, check: 'match', clause: '§5.4.4.2 step 10' },
    ]);
    world.update();
    const nothingNew = { check: 'nothing-new', clause: '§5.4.4.2 step 6', facts: {} };
    assert.deepEqual(watch(), [assignments, { ...director, ...nothingNew }]);
  });

  test('an idle poll is two requests, and writes nothing (F4)', () => {
    world.update();
    assert.equal(world.update().outcome, 'up-to-date');
    assert.deepEqual(world.device.requests, ['director/2.root.json', 'director/timestamp.json']);
    assert.deepEqual(world.device.kept, []);
  });

  test('new Director Targets that want nothing new do not involve the Image repository (F6)', () => {
    world.update();
    world.director.publish();
    assert.equal(world.update().outcome, 'up-to-date');
    assert.equal(world.device.requests.at(-1), 'director/targets.json');
  });

  test('a Director that wants nothing is up to date (F6)', () => {
    world.update();
    world.director.targets = {};
    world.director.publish();
    const { outcome, targets } = world.update();
    assert.deepEqual({ outcome, targets }, { outcome: 'up-to-date', targets: [] });
  });

  test('what is wanted but not installed is verified in full at every poll (F4, F11)', () => {
    assert.equal(world.device.verify(world.serve).outcome, 'update');
    const again = world.device.verify(world.serve);
    assert.equal(again.targets[0]?.filename, 'fw-1.bin');
    assert.deepEqual(world.device.requests, [
      'director/2.root.json',
      'director/timestamp.json',
      'image/2.root.json',
      'image/timestamp.json',
    ]);
  });

  test('a Director unchanged since a cycle that ended at the Image repository is no reason to stop (F4, F6)', () => {
    world.image.served.delete('targets.json');
    const details = { repo: 'image', file: 'targets.json' } as const;
    const director = ['director/timestamp', 'director/snapshot', 'director/targets'];
    const image = ['image/timestamp', 'image/snapshot'];
    world.refuses('METADATA_MISSING', details, [...director, ...image]);
    world.refuses('METADATA_MISSING', details);
    world.image.publishTargets();
    assert.equal(world.update().targets[0]?.filename, 'fw-1.bin');
    assert.ok(!world.device.requests.includes('director/targets.json'));
  });

  test('nor is one whose Targets were not kept before the power failed (S0, F4)', () => {
    world.update();
    world.release('fw-2.bin');
    for (const role of ['timestamp', 'snapshot']) {
      assert.throws(() => world.device.verify(world.serve, 1), /power cut/u);
      assert.deepEqual(world.device.kept, [`director/${role}`]);
    }
    assert.equal(world.update().targets[0]?.filename, 'fw-2.bin');
    assert.deepEqual(world.device.requests.slice(1, 3), [
      'director/timestamp.json',
      'director/targets.json',
    ]);
  });

  test('a new Image repository alone is nothing new: it is not even asked (F6)', () => {
    world.update();
    world.image.publishRoot();
    world.image.publish();
    assert.equal(world.update().outcome, 'up-to-date');
    assert.deepEqual(world.device.requests, ['director/2.root.json', 'director/timestamp.json']);
  });

  test('an unchanged Director is held against what runs now, not against what ran (F4)', () => {
    world.update();
    world.device.inventory = [PRIMARY];
    assert.equal(world.update().outcome, 'update');
  });

  test('an assignment that was kept is refused as soon as the Image repository contradicts it (F11)', () => {
    world.device.verify(world.serve);
    world.image.targets['fw-1.bin'] = imageTarget('evil', [PRIMARY]);
    world.image.publish();
    world.refuses(
      'TARGET_MISMATCH',
      { filename: 'fw-1.bin', field: 'length', director: '8', image: '4' },
      ['image/timestamp', 'image/snapshot', 'image/targets'],
    );
  });

  test('time decides, and it is an argument (F2, F3)', () => {
    world.update();
    world.device.now = (Date.parse('2037-12-31T23:59:59Z') - 1) as typeof world.device.now;
    assert.equal(world.update().outcome, 'up-to-date');
    world.device.now = (world.device.now + 1) as typeof world.device.now;
    world.refuses('METADATA_EXPIRED', {
      repo: 'director',
      role: 'root',
      expiresAt: '2037-12-31T23:59:59Z',
      nowAt: '2037-12-31T23:59:59Z',
    });
  });

  test('the verdict names the update (correlationId)', () => {
    const correlationId = 'urn:here-ota:mtu:1d2d9c7e-0000-4000-8000-00000000abcd';
    world.director.custom = { correlationId };
    world.director.publish();
    assert.equal(world.update().correlationId, correlationId);
    assert.equal(world.update().correlationId, correlationId);
  });

  test('Secondaries get theirs, in the order of installation (V2)', () => {
    world = new World([PRIMARY, SECONDARY]);
    world.release('p.bin', [PRIMARY]);
    world.release('s.bin', [SECONDARY]);
    const { targets } = world.update();
    assert.deepEqual(
      targets.map(({ ecu, filename }) => [ecu, filename]),
      [
        ['secondary-1', 's.bin'],
        ['primary-1', 'p.bin'],
      ],
    );
  });

  test('one image may be for several ECUs (V2, V3)', () => {
    world = new World([PRIMARY, SECONDARY]);
    world.release('both.bin', [PRIMARY, SECONDARY]);
    const { targets } = world.update();
    assert.deepEqual(
      targets.map(({ ecu, hardwareId, hashes }) => [ecu, hardwareId, hashes.get('sha256')]),
      [SECONDARY, PRIMARY].map(({ serial, hardwareId }) => [
        serial,
        hardwareId,
        hashesOf('both.bin').sha256,
      ]),
    );
  });
});

describe('a Director that serves no Timestamp', () => {
  beforeEach(() => {
    world.withoutDirectorTimestamp();
  });

  test('is asked for Targets directly, as the reference client does (F3, F5)', () => {
    assert.equal(world.update().outcome, 'update');
    assert.deepEqual(world.device.requests.slice(0, 3), [
      'director/2.root.json',
      'director/timestamp.json',
      'director/targets.json',
    ]);
  });

  test('makes an idle poll three requests, and writes nothing (F6)', () => {
    world.update();
    assert.equal(world.update().outcome, 'up-to-date');
    assert.deepEqual(world.device.requests, [
      'director/2.root.json',
      'director/timestamp.json',
      'director/targets.json',
    ]);
    assert.deepEqual(world.device.kept, []);
  });

  test('may begin to serve one, and from then on has to (F3)', () => {
    world.update();
    world.publish();
    assert.equal(world.update().outcome, 'up-to-date');
    assert.deepEqual(world.device.kept, [
      'director/timestamp',
      'director/snapshot',
      'director/targets',
    ]);
    world.withoutDirectorTimestamp();
    world.refuses('METADATA_MISSING', { repo: 'director', file: 'timestamp.json' });
  });

  test('still has to serve Targets (G1)', () => {
    world.director.served.delete('targets.json');
    world.refuses('METADATA_MISSING', { repo: 'director', file: 'targets.json' });
  });
});

describe('power cuts', () => {
  test('between any two files that are kept leave a state that the next run completes (P9)', () => {
    const complete = new World();
    complete.release('fw-1.bin');
    complete.update();
    complete.image.publishRoot();
    complete.release('fw-2.bin');
    const before = new Map(complete.device.trusted);
    const { inventory } = complete.device;
    complete.device.verify(complete.serve);
    const steps = complete.device.kept.length;
    assert.equal(steps, 7);
    for (let cut = 0; cut < steps; cut += 1) {
      complete.device.trusted.clear();
      for (const [name, bytes] of before) complete.device.trusted.set(name, bytes);
      complete.device.inventory = inventory;
      assert.throws(() => complete.device.verify(complete.serve, cut), /power cut/u);
      assert.equal(complete.device.kept.length, cut);
      assert.equal(complete.device.verify(complete.serve).targets[0]?.filename, 'fw-2.bin');
    }
  });
});
