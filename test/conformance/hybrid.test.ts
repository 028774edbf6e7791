/**
 * A root that demands a classical and a post-quantum signature, by threshold and role: whoever breaks
 * one of the two algorithms has nothing.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { mlDsa, rsa, ed25519, type Key } from '../support/build-metadata.ts';
import { TufBench } from '../support/tuf-client-driver.ts';
import { ed25519Key, mlDsaKey, renamed, rsaKey, type TufKey } from '../support/tuf-keys.ts';
import { TufRepository } from '../support/tuf-repository.ts';
import { World } from '../support/uptane-world.ts';

const ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const;
const NOT_MET = { valid: 1, threshold: 2 };
const IMAGE = { repo: 'image' } as const;

/** A world that has been updated once, with keys of before. */
function updated(): World {
  const world = new World();
  world.release('one.img');
  world.update();
  return world;
}

/** Moves every role of the Image repository to new keys. */
function rotate(world: World, keys: readonly Key[], threshold: number): void {
  for (const role of ROLES) {
    world.image.keys[role] = keys;
    world.image.threshold[role] = threshold;
  }
  world.image.publishRoot();
}

describe('hybrid roles in the Uptane format', () => {
  test('rotate from classical to hybrid to post-quantum keys (R3)', () => {
    const world = updated();
    const classical = rsa();
    const stages: readonly (readonly Key[])[] = [
      [classical],
      [classical, mlDsa(65)],
      [mlDsa(65), mlDsa(87)],
      [mlDsa(87)],
    ];
    for (const [i, keys] of stages.entries()) {
      rotate(world, keys, keys.length);
      world.release(`stage-${String(i)}.img`);
      assert.equal(world.update().outcome, 'update', `stage ${String(i)}`);
    }
  });

  for (const [what, without] of [
    ['classical', 1],
    ['post-quantum', 0],
  ] as const) {
    test(`need both: a ${what} signature alone is refused in every role (R3, T2, S3, G3)`, () => {
      const keys = [ed25519(), mlDsa(65)];
      const alone = keys.filter((_, i) => i !== without);
      for (const role of ['timestamp', 'snapshot', 'targets'] as const) {
        const world = updated();
        rotate(world, keys, 2);
        world.release('two.img');
        world.update();
        world.image.keys[role] = alone;
        world.release('three.img');
        const kept = role === 'timestamp' ? [] : ['image/timestamp'];
        world.refuses('THRESHOLD_NOT_MET', { ...IMAGE, role, ...NOT_MET }, [
          'director/timestamp',
          'director/snapshot',
          'director/targets',
          ...kept,
          ...(role === 'targets' ? ['image/snapshot'] : []),
        ]);
      }
    });

    test(`need both: a root with a ${what} signature alone is refused (R3)`, () => {
      const keys = [ed25519(), mlDsa(65)];
      const world = updated();
      rotate(world, keys, 2);
      world.release('two.img');
      world.update();
      world.image.publishRoot(undefined, [...keys.filter((_, i) => i !== without)]);
      world.release('three.img');
      world.refuses('THRESHOLD_NOT_MET', { ...IMAGE, role: 'root', ...NOT_MET }, [
        'director/timestamp',
        'director/snapshot',
        'director/targets',
      ]);
    });
  }

  test('count one key once, whether it signs twice or is listed under two ids (R3, R8)', () => {
    const key = mlDsa(65);
    const again: Key = { ...key, id: 'another-id' };
    for (const twice of [
      [key, key],
      [key, again],
    ]) {
      const world = updated();
      rotate(world, twice, 2);
      world.release('two.img');
      world.refuses('THRESHOLD_NOT_MET', { ...IMAGE, role: 'root', ...NOT_MET }, [
        'director/timestamp',
        'director/snapshot',
        'director/targets',
      ]);
    }
  });

  test('fit the limits of the field: three of five roots, each role with its own two keys', () => {
    const world = updated();
    const hybrid = (): readonly Key[] => [rsa(), mlDsa(65)];
    world.image.keys.root = [rsa(3072), rsa(3072), mlDsa(65), mlDsa(65), mlDsa(65)];
    world.image.threshold.root = 3;
    for (const role of ['timestamp', 'snapshot', 'targets'] as const) {
      world.image.keys[role] = hybrid();
      world.image.threshold[role] = 2;
    }
    world.image.publishRoot();
    world.image.publishRoot();
    assert.ok(world.image.file('3.root.json').byteLength < 64 * 1024);
    world.release('two.img');
    assert.equal(world.update().outcome, 'update');
  });
});

describe('hybrid roles in the TUF format', () => {
  function rotateTuf(repository: TufRepository, keys: readonly TufKey[], threshold: number): void {
    for (const role of ROLES) {
      repository.keys[role] = keys;
      repository.threshold[role] = threshold;
    }
    repository.publishRoot();
    repository.publish();
  }

  test('rotate from classical to hybrid to post-quantum keys (R3)', async () => {
    await using bench = await TufBench.open(new TufRepository(rsaKey));
    await bench.refresh();
    const { repository } = bench;
    const classical = ed25519Key();
    for (const keys of [
      [classical, mlDsaKey(65)],
      [mlDsaKey(65), mlDsaKey(87, 'ml-dsa-87/1')],
      [mlDsaKey(87)],
    ]) {
      rotateTuf(repository, keys, keys.length);
      await bench.refresh();
      assert.equal(bench.keptVersion('root'), repository.version.root);
    }
  });

  test('need both, and count one key once (R3, T2)', async () => {
    const [classical, pq] = [ed25519Key(), mlDsaKey(65)];
    for (const signers of [[classical], [pq]]) {
      await using bench = await TufBench.open();
      const { repository } = bench;
      rotateTuf(repository, [classical, pq], 2);
      await bench.refresh();
      repository.keys.timestamp = signers;
      repository.publish();
      await bench.refuses('THRESHOLD_NOT_MET', { ...IMAGE, role: 'timestamp', ...NOT_MET });
    }
    await using bench = await TufBench.open();
    rotateTuf(bench.repository, [pq, renamed(pq, 'another-id')], 2);
    await bench.refuses('THRESHOLD_NOT_MET', { ...IMAGE, role: 'root', ...NOT_MET });
  });

  test('never count a key whose scheme is not its own (R8)', async () => {
    const pq = mlDsaKey(65);
    const value = pq.entry['keyval'];
    for (const entry of [
      { keytype: 'ml-dsa', scheme: 'ml-dsa-87', keyval: value },
      { keytype: 'ml-dsa', scheme: 'ml-dsa-65/2', keyval: value },
      { keytype: 'ML-DSA-65', scheme: 'ecdsa-sha2-nistp256', keyval: value },
      { keytype: 'ML-DSA-65', scheme: 'rsassa-pss-sha256', keyval: value },
      { keytype: 'ML-DSA-65', scheme: 'ed25519', keyval: value },
      { keytype: 'ed25519', scheme: 'ed25519', keyval: value },
    ]) {
      await using bench = await TufBench.open();
      bench.repository.keys.timestamp = [renamed(pq, 'pq', entry)];
      bench.repository.publishRoot();
      bench.repository.publish();
      const details = { ...IMAGE, role: 'timestamp', valid: 0, threshold: 1 };
      await bench.refuses('THRESHOLD_NOT_MET', details, ['root.json']);
    }
  });
});
