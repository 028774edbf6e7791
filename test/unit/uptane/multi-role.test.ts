/** Delegations to several roles that have to agree, on whole repositories. */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import {
  ed25519,
  hashesOf,
  PAST,
  type Body,
  type DelegationSpec,
  type MultiRoleSpec,
  type RoleSpec,
} from '../../support/build-metadata.ts';
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

/** Declares a role with a key of its own that says `content` of the file, or nothing. */
function role(name: string, content?: string, custom: Body = {}): RoleSpec {
  const keys = [ed25519()];
  const file = content === undefined ? {} : { [FILENAME]: imageTarget(content, [PRIMARY], custom) };
  world.image.addDelegated(name, { keys, targets: file });
  return { name, keys };
}

function agree(
  needed: number,
  roles: readonly RoleSpec[],
  changes: Partial<MultiRoleSpec> = {},
): MultiRoleSpec {
  return { roles, min_roles_in_agreement: needed, paths: ['abc/*'], ...changes };
}

function plain(spec: RoleSpec, changes: Partial<DelegationSpec> = {}): DelegationSpec {
  return { ...spec, paths: ['abc/*'], ...changes };
}

function below(parent: string, children: readonly (DelegationSpec | MultiRoleSpec)[]): void {
  const file = world.image.delegated.get(parent);
  assert.ok(file);
  file.delegations = children;
}

function publish(...delegations: readonly (DelegationSpec | MultiRoleSpec)[]): void {
  world.image.delegations = delegations;
  world.publish();
}

function asked(): readonly string[] {
  return world.device.requests
    .filter((request) => request.startsWith('image/delegations/'))
    .map((request) => request.slice('image/delegations/'.length, -'.json'.length));
}

function keptWith(...names: readonly string[]): readonly string[] {
  return [...KEPT, ...names.map((name) => `image/delegated/${name}`)];
}

function disagree(roles: string, agreeing: number, needed: number): void {
  const kept = keptWith(...roles.split(','));
  world.refuses('ROLES_DISAGREE', { filename: FILENAME, roles, agreeing, needed }, kept);
}

describe('roles that have to agree (§5.4.4.7 step 5)', () => {
  test('enough of them do: the file is found, and every role was asked (D5)', () => {
    publish(agree(2, [role('a', FILENAME), role('b'), role('c', FILENAME)]));
    assert.equal(world.update().targets[0]?.hashes.get('sha256'), hashesOf(FILENAME).sha256);
    assert.deepEqual(asked(), ['a', 'b', 'c']);
  });

  test('too few of them list it: one stolen key is not enough (D5)', () => {
    publish(agree(2, [role('a', FILENAME), role('b'), role('c')]));
    disagree('a,b,c', 1, 2);
  });

  test('the refusal says how many of the largest group there are (D5)', () => {
    const roles = ['a', 'b', 'c'].map((name) => role(name, name === 'a' ? 'other' : FILENAME));
    publish(agree(3, roles));
    disagree('a,b,c', 2, 3);
  });

  test('none of them lists it: it is not there (D5, D6)', () => {
    publish(agree(1, [role('a'), role('b')]));
    const details = { filename: FILENAME, searched: 'targets,a,b' };
    world.refuses('TARGET_NOT_IN_IMAGE_REPO', details, keptWith('a', 'b'));
  });

  const other = (changes: Body): Body => ({ ...imageTarget(FILENAME, [PRIMARY]), ...changes });
  const differences: readonly (readonly [string, Body])[] = [
    ['length', other({ length: 11 })],
    ['a hash', other({ hashes: { ...hashesOf(FILENAME), sha512: hashesOf('evil').sha512 } })],
    ['a hash that one leaves out', other({ hashes: { sha256: hashesOf(FILENAME).sha256 } })],
    ['hardware ids', imageTarget(FILENAME, [PRIMARY, SECONDARY])],
    ['release counter', imageTarget(FILENAME, [PRIMARY], { releaseCounter: 0 })],
  ];
  for (const [what, target] of differences) {
    test(`files that differ in ${what} are not agreed on (D5, M2, M3)`, () => {
      const b = role('b');
      const file = world.image.delegated.get('b');
      assert.ok(file);
      file.targets = { [FILENAME]: target };
      publish(agree(2, [role('a', FILENAME), b]));
      disagree('a,b', 1, 2);
    });
  }

  test('other custom fields need not agree; those of the role listed first count (D5)', () => {
    const [first, second] = ['https://a.test/fw', 'https://b.test/fw'];
    const roles = [role('a', FILENAME, { uri: first }), role('b', FILENAME, { uri: second })];
    publish(agree(2, roles));
    assert.equal(world.update().targets[0]?.uri, first);
  });

  test('of two files agreed on, that of the role listed first counts (D5)', () => {
    const roles = [role('a', FILENAME), role('b', 'evil'), role('c', 'evil'), role('d', FILENAME)];
    publish(agree(2, roles));
    assert.equal(world.update().outcome, 'update');
    publish(agree(2, [...roles.slice(1), ...roles.slice(0, 1)]));
    const [director, image] = [String(FILENAME.length), '4'];
    world.device.inventory = [PRIMARY];
    const details = { filename: FILENAME, field: 'length', director, image };
    const kept = KEPT.filter((name) => name !== 'director/root');
    world.refuses('TARGET_MISMATCH', details, kept);
  });

  test('the role listed first is alone with its word: the others win (D5)', () => {
    publish(agree(2, [role('a', 'evil'), role('b', FILENAME), role('c', FILENAME)]));
    assert.equal(world.update().outcome, 'update');
  });

  test('a terminating delegation without agreement ends the search (D3, D5)', () => {
    const both = [role('a', FILENAME), role('b')];
    publish(agree(2, both, { terminating: true }), plain(role('c', FILENAME)));
    disagree('a,b', 1, 2);
  });

  test('one that does not terminate leaves it to the next in the list, also to the same role (D5)', () => {
    const [a, b] = [role('a', FILENAME), role('b')];
    publish(agree(2, [a, b]), plain(a));
    assert.equal(world.update().outcome, 'update');
    assert.deepEqual(asked(), ['a', 'b']);
  });

  test('applies by path and hardware as others do (D4, D5)', () => {
    const roles = [role('a', 'evil'), role('b', 'evil')];
    publish(
      agree(2, roles, { paths: ['def/*'] }),
      agree(2, roles, { hardwareIds: ['hw-secondary'] }),
      plain(role('c', FILENAME)),
    );
    assert.equal(world.update().outcome, 'update');
    assert.deepEqual(asked(), ['c']);
  });

  test('a role may have its word from a role below it, even from one that two share (D5)', () => {
    const [a, b, c] = [role('a'), role('b'), role('c', FILENAME)];
    below('a', [plain(c)]);
    below('b', [plain(c)]);
    publish(agree(2, [a, b]));
    assert.equal(world.update().outcome, 'update');
    assert.deepEqual(asked(), ['a', 'c', 'b']);
  });

  test('a terminating delegation below one role silences that role alone (D3, D5)', () => {
    const roles = [role('a'), role('b', FILENAME), role('c', FILENAME)];
    below('a', [plain(role('d'), { terminating: true }), plain(role('e', FILENAME))]);
    publish(agree(2, roles));
    assert.equal(world.update().outcome, 'update');
    assert.ok(!asked().includes('e'));
  });

  test('roles that ask each other to agree come to an end (D5, D7)', () => {
    const [a, b] = [role('a'), role('b', FILENAME)];
    below('a', [agree(2, [a, b])]);
    publish(agree(2, [a, b]));
    disagree('a,b', 1, 2);
  });
});

describe('a role that has to agree is checked as any Targets file is (D1, D5)', () => {
  test('one that is broken ends the search, even if the others are enough (D1, D5)', () => {
    publish(agree(2, [role('a', FILENAME), role('b', FILENAME), role('c', FILENAME)]));
    world.image.publishDelegated('c', (body) => ({ ...body, expires: PAST }));
    world.image.publishSnapshot();
    world.image.publishTimestamp();
    const times = { expiresAt: PAST, nowAt: '2026-11-21T00:00:00Z' };
    const details = { repo: 'image', role: 'delegated/c', ...times } as const;
    world.refuses('METADATA_EXPIRED', details, keptWith('a', 'b'));
  });

  test('each with keys and threshold of its own (D5, G3)', () => {
    const [a, b] = [role('a', FILENAME), role('b', FILENAME)];
    publish(agree(2, [a, { ...b, keys: a.keys }]));
    const details = { repo: 'image', role: 'delegated/b', valid: 0, threshold: 1 } as const;
    world.refuses('THRESHOLD_NOT_MET', details, keptWith('a'));
    publish(agree(2, [a, { ...b, threshold: 2 }]));
    const two = { ...details, valid: 1, threshold: 2 };
    world.refuses('THRESHOLD_NOT_MET', two, KEPT);
  });

  test('two roles may have the same key: roles are counted, not keys (D5)', () => {
    const a = role('a', FILENAME);
    const targets = { [FILENAME]: imageTarget(FILENAME, [PRIMARY]) };
    world.image.addDelegated('b', { keys: a.keys, targets });
    publish(agree(2, [a, { name: 'b', keys: a.keys }]));
    assert.equal(world.update().outcome, 'update');
  });
});
