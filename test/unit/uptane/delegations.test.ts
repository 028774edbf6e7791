import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { ed25519, hashesOf, PAST, type DelegationSpec } from '../../support/build-metadata.ts';
import { imageTarget, PRIMARY, SECONDARY, World } from '../../support/uptane-world.ts';

const FILENAME = 'abc/fw.bin';
const KEPT = [
  'director/timestamp',
  'director/snapshot',
  'director/targets',
  'image/timestamp',
  'image/snapshot',
  'image/targets',
];

let world: World;
beforeEach(() => {
  world = new World();
  world.assign(FILENAME);
});

/** Declares a role with a key of its own, holding the wanted file or not. */
function role(
  name: string,
  changes: Partial<DelegationSpec> & { holds?: string } = {},
): DelegationSpec {
  const { holds, ...spec } = changes;
  const keys = [ed25519()];
  const targets = holds === undefined ? {} : { [FILENAME]: imageTarget(holds, [PRIMARY]) };
  world.image.addDelegated(name, { keys, targets });
  return { name, keys, paths: ['abc/*'], ...spec };
}

/** Puts `children` below a role that was declared before. */
function below(parent: string, children: readonly DelegationSpec[]): void {
  const file = world.image.delegated.get(parent);
  assert.ok(file);
  file.delegations = children;
}

function asked(): readonly string[] {
  return world.device.requests
    .filter((request) => request.startsWith('image/delegations/'))
    .map((request) => request.slice('image/delegations/'.length, -'.json'.length));
}

function notFound(searched: string): void {
  const kept = [
    ...KEPT,
    ...searched
      .split(',')
      .slice(1)
      .map((name) => `image/delegated/${name}`),
  ];
  world.refuses('TARGET_NOT_IN_IMAGE_REPO', { filename: FILENAME, searched }, kept);
}

describe('resolving delegations (§5.4.4.7)', () => {
  test('finds a file in a delegated role and keeps that role (D1, step 1)', () => {
    world.image.delegations = [role('supplier', { holds: FILENAME })];
    world.publish();
    assert.equal(world.update().targets[0]?.filename, FILENAME);
    assert.deepEqual(world.device.kept, [...KEPT, 'image/delegated/supplier']);
  });

  test('takes what the current file has and looks no further (D2, step 2)', () => {
    world.image.targets[FILENAME] = imageTarget(FILENAME, [PRIMARY]);
    world.image.delegations = [role('supplier', { holds: 'other content' })];
    world.publish();
    assert.equal(world.update().outcome, 'update');
    assert.deepEqual(asked(), []);
  });

  test('goes depth first, in the order of the list: the first role that has it wins (D2, D4, step 4)', () => {
    const deep = role('deep', { holds: FILENAME });
    world.image.delegations = [role('10'), role('9', { holds: 'other content' })];
    below('10', [deep]);
    world.publish();
    assert.equal(world.update().outcome, 'update');
    assert.deepEqual(asked(), ['10', 'deep']);
  });

  test('does not fetch roles whose paths do not cover the file (D4, step 4)', () => {
    world.image.delegations = [
      role('elsewhere', { paths: ['def/*', 'abc/*/*', 'ABC/*'] }),
      role('here', { holds: FILENAME, paths: ['nothing', 'abc/f?.bin'] }),
    ];
    world.publish();
    world.update();
    assert.deepEqual(asked(), ['here']);
  });

  test('does not believe a role about a file it was not given (D4)', () => {
    world.image.delegations = [role('elsewhere', { paths: ['def/*'], holds: FILENAME })];
    world.publish();
    notFound('targets');
  });

  test('applies a delegation for some hardware to that hardware only (D4, step 4)', () => {
    const both = new World([PRIMARY, SECONDARY]);
    world = both;
    both.assign(FILENAME, [PRIMARY]);
    world.image.delegations = [
      role('secondary', { holds: 'other content', hardwareIds: ['hw-secondary'] }),
      role('primary', { holds: FILENAME, hardwareIds: ['hw-other', 'hw-primary'] }),
    ];
    world.publish();
    assert.equal(world.update().outcome, 'update');
    assert.deepEqual(asked(), ['primary']);
  });

  test('stops after a terminating role that does not have it: later siblings do not count (D3, step 3)', () => {
    world.image.delegations = [
      role('terminating', { terminating: true }),
      role('sibling', { holds: FILENAME }),
    ];
    world.publish();
    notFound('targets,terminating');
  });

  test('still searches what the terminating role itself delegates to, as TUF does (D3)', () => {
    const child = role('child', { holds: FILENAME });
    world.image.delegations = [role('terminating', { terminating: true }), role('sibling')];
    below('terminating', [child]);
    world.publish();
    assert.equal(world.update().outcome, 'update');
    assert.deepEqual(asked(), ['terminating', 'child']);
  });

  test("stops for the ancestors' siblings too (D3)", () => {
    const child = role('child', { terminating: true });
    world.image.delegations = [role('parent'), role('uncle', { holds: FILENAME })];
    below('parent', [child]);
    world.publish();
    notFound('targets,parent,child');
  });

  test('is not stopped by a terminating role that does not apply (D3)', () => {
    world.image.delegations = [
      role('terminating', { terminating: true, paths: ['def/*'] }),
      role('sibling', { holds: FILENAME }),
    ];
    world.publish();
    assert.equal(world.update().outcome, 'update');
  });

  test('ends without the file when no role has it (D6, step 6)', () => {
    world.image.delegations = [role('a'), role('b')];
    world.publish();
    notFound('targets,a,b');
  });

  test('visits every role once, so that a loop ends (D7)', () => {
    const a = role('a');
    const b = role('b');
    world.image.delegations = [a];
    below('a', [b, a]);
    below('b', [a, b]);
    world.publish();
    notFound('targets,a,b');
  });

  test('visits a role that two others delegate to once, and one that delegates to itself (D7)', () => {
    const bottom = role('bottom');
    const self = role('self');
    world.image.delegations = [role('left'), role('right'), self];
    below('left', [bottom]);
    below('right', [bottom]);
    below('self', [self, bottom]);
    world.publish();
    notFound('targets,left,bottom,right,self');
  });

  test('a terminating delegation to a role visited before still ends the search (D3, D7)', () => {
    const a = role('a');
    world.image.delegations = [a, { ...a, terminating: true }, role('b', { holds: FILENAME })];
    world.publish();
    notFound('targets,a');
  });

  test('finds a file by the digest of its name (path_hash_prefixes, D4)', () => {
    const prefix = hashesOf(FILENAME).sha256.slice(0, 2);
    const byHash = ({ paths, ...spec }: DelegationSpec, hashPrefix: string): DelegationSpec => {
      assert.notDeepEqual(paths, []);
      return { ...spec, path_hash_prefixes: [hashPrefix] };
    };
    world.image.delegations = [
      byHash(role('elsewhere', { holds: 'other content' }), prefix === '00' ? '01' : '00'),
      byHash(role('here', { holds: FILENAME }), prefix),
    ];
    world.publish();
    assert.equal(world.update().outcome, 'update');
    assert.deepEqual(asked(), ['here']);
  });

  test('gives up after 32 roles (D7)', () => {
    const chain = Array.from({ length: 33 }, (_, index) => role(`r${String(index)}`));
    world.image.delegations = chain.slice(0, 1);
    chain.forEach(({ name }, index) => {
      below(name, chain.slice(index + 1, index + 2));
    });
    world.publish();
    const visited = chain.slice(0, 32).map(({ name }) => `image/delegated/${name}`);
    const details = { filename: FILENAME, maxRoles: 32 };
    world.refuses('DELEGATIONS_TOO_MANY', details, [...KEPT, ...visited]);
  });
});

describe('a delegated role is checked as any Targets file is (D1, §5.4.4.6)', () => {
  const ROLE = { repo: 'image', role: 'delegated/supplier' } as const;
  beforeEach(() => {
    world.image.delegations = [role('supplier', { holds: FILENAME })];
    world.publish();
  });

  test('refuses a role that the Snapshot does not list (D1, G2)', () => {
    world.image.publishSnapshot((body) => ({
      ...body,
      meta: { 'targets.json': { version: 1 } },
    }));
    world.image.publishTimestamp();
    world.refuses('SNAPSHOT_ROLE_MISSING', ROLE, KEPT);
  });

  test('refuses a role that is not served (D1, G1)', () => {
    world.image.served.delete('delegations/supplier.json');
    const details = { repo: 'image', file: 'delegations/supplier.json' } as const;
    world.refuses('METADATA_MISSING', details, KEPT);
  });

  for (const [what, breakIt] of [
    ['is not served', () => world.image.served.delete('delegations/supplier.json')],
    [
      'has expired',
      () => {
        world.image.publishDelegated('supplier', (body) => ({ ...body, expires: PAST }));
        world.image.publishSnapshot();
        world.image.publishTimestamp();
      },
    ],
  ] as const) {
    test(`does not go on to the next that has the file when one ${what} (D1, D4)`, () => {
      const [supplier] = world.image.delegations;
      assert.ok(supplier);
      world.image.delegations = [supplier, role('next', { holds: FILENAME })];
      world.publish();
      breakIt();
      assert.throws(() => world.update(), { code: /METADATA_(MISSING|EXPIRED)/u });
      assert.deepEqual(asked(), ['supplier']);
      assert.deepEqual(world.device.kept, KEPT);
    });
  }

  test('refuses a role that was not signed with the key of the delegation (D1, G3)', () => {
    const file = world.image.delegated.get('supplier');
    assert.ok(file);
    file.keys = world.image.keys.targets;
    world.image.publishDelegated('supplier');
    world.image.publishSnapshot();
    world.image.publishTimestamp();
    world.refuses('THRESHOLD_NOT_MET', { ...ROLE, valid: 0, threshold: 1 }, KEPT);
  });

  test('refuses a role whose threshold is not met (D1, G3)', () => {
    world.image.delegations = world.image.delegations.map((spec) => ({ ...spec, threshold: 2 }));
    world.publish();
    world.refuses('THRESHOLD_NOT_MET', { ...ROLE, valid: 1, threshold: 2 }, KEPT);
  });

  test('refuses a role with another hash than the Snapshot lists (D1, G2)', () => {
    world.image.publishDelegated('supplier', (body) => ({ ...body, expires: PAST }));
    world.refuses('METADATA_HASH_MISMATCH', { ...ROLE, listedIn: 'snapshot' }, KEPT);
  });

  test('refuses an expired role and keeps nothing of it (D1, G5)', () => {
    world.image.publishDelegated('supplier', (body) => ({ ...body, expires: PAST }));
    world.image.publishSnapshot();
    world.image.publishTimestamp();
    const nowAt = '2026-11-21T00:00:00Z';
    world.refuses('METADATA_EXPIRED', { ...ROLE, expiresAt: PAST, nowAt }, KEPT);
  });

  test('refuses a role older than the trusted one, even where the Snapshot was forgotten (D1, G4)', () => {
    const file = world.image.delegated.get('supplier');
    assert.ok(file);
    file.version = 5;
    world.publish();
    world.update();
    file.version = 4;
    Object.assign(world.image.keys, { timestamp: [ed25519()], snapshot: [ed25519()] });
    world.image.publishRoot();
    world.assign(FILENAME, [PRIMARY], 'changed');
    file.targets = { [FILENAME]: imageTarget('changed', [PRIMARY]) };
    world.publish();
    const older = { ...ROLE, trusted: 5, offered: 4 };
    world.refuses('VERSION_ROLLBACK', older, [
      ...KEPT.slice(0, 3),
      'image/root',
      'image/snapshot',
      ...KEPT.slice(3),
    ]);
  });

  test('does not fetch a role again that is kept and listed unchanged (D1, S0)', () => {
    world.update();
    world.device.inventory = [PRIMARY];
    world.update();
    assert.deepEqual(asked(), []);
  });

  test('checks a kept role against whoever delegates to it today (D1, G3)', () => {
    world.update();
    world.device.inventory = [PRIMARY];
    const stranger = ed25519();
    world.image.delegations = world.image.delegations.map((spec) => ({
      ...spec,
      keys: [stranger],
    }));
    world.publish();
    const kept = KEPT.filter((name) => name !== 'director/root');
    world.refuses('THRESHOLD_NOT_MET', { ...ROLE, valid: 0, threshold: 1 }, kept);
  });

  test('checks one role reached on two ways with the keys of each way (D1, G3)', () => {
    const two = new World([PRIMARY, SECONDARY]);
    world = two;
    const shared = role('shared', { paths: ['abc/*'] });
    const file = two.image.delegated.get('shared');
    assert.ok(file);
    file.targets = {
      'abc/p.bin': imageTarget('abc/p.bin', [PRIMARY]),
      'abc/s.bin': imageTarget('abc/s.bin', [SECONDARY]),
    };
    two.assign('abc/p.bin', [PRIMARY]);
    two.assign('abc/s.bin', [SECONDARY]);
    const forSecondary = { ...shared, keys: [ed25519()], paths: ['abc/s.bin'] };
    two.image.delegations = [{ ...shared, paths: ['abc/p.bin'] }, forSecondary];
    two.publish();
    two.refuses(
      'THRESHOLD_NOT_MET',
      { repo: 'image', role: 'delegated/shared', valid: 0, threshold: 1 },
      [...KEPT, 'image/delegated/shared'],
    );
  });
});
