/** Reading all of an Image repository, every delegated role. */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import type { AnyOtaError } from '../../../agent/errors.ts';
import { MetadataStore } from '../../../agent/uptane/store.ts';
import { surveyImage } from '../../../agent/uptane/survey.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import { ed25519, PAST, type DelegationSpec } from '../../support/build-metadata.ts';
import { TestRepository } from '../../support/test-repository.ts';
import { ed25519Key } from '../../support/tuf-keys.ts';
import { TufRepository } from '../../support/tuf-repository.ts';
import { NOW } from '../../support/uptane-world.ts';

let image: TestRepository;
let store: MetadataStore;
let requests: string[];
beforeEach(() => {
  image = new TestRepository();
  store = new MetadataStore('image', new Map([['image/root', image.file('1.root.json')]]), NOW);
  requests = [];
});

function survey(): readonly AnyOtaError[] {
  const talk = surveyImage(store);
  let turn = talk.next();
  while (turn.done !== true) {
    const need = turn.value;
    if (need.need === 'fetch') requests.push(need.file);
    turn = talk.next(need.need === 'fetch' ? image.served.get(need.file) : undefined);
  }
  return turn.value;
}

const codes = (problems: readonly AnyOtaError[]): readonly (readonly [string, unknown])[] =>
  problems.map(({ code, details }) => [code, 'role' in details ? details.role : undefined]);
const delegated = (): readonly string[] => requests.filter((file) => file.includes('/'));

function role(name: string): DelegationSpec {
  const keys = [ed25519()];
  image.addDelegated(name, { keys });
  return { name, keys, paths: ['*'] };
}

describe('a survey of the Image repository', () => {
  test('verifies the top level and every role below it, whatever image is wanted (D1)', () => {
    const deep = role('deep');
    image.delegations = [role('a'), { ...role('b'), terminating: true, paths: ['x'] }, role('c')];
    const below = image.delegated.get('b');
    assert.ok(below);
    below.delegations = [deep];
    image.publish();
    assert.deepEqual(survey(), []);
    assert.deepEqual(requests.slice(0, 4), [
      ...['2.root.json', 'timestamp.json', 'snapshot.json', 'targets.json'],
    ]);
    assert.deepEqual(
      delegated().toSorted(),
      ['a', 'b', 'c', 'deep'].map((name) => `delegations/${name}.json`),
    );
    assert.deepEqual(
      store.seen.map(({ role: seen }) => seen).toSorted(),
      ['delegated/a', 'delegated/b', 'delegated/c', 'delegated/deep'].concat(
        ...['root', 'snapshot', 'targets', 'timestamp'],
      ),
    );
  });

  test('reads every role of those that have to agree (D5)', () => {
    const { keys: a } = role('a');
    const { keys: b } = role('b');
    const roles = [
      { name: 'a', keys: a },
      { name: 'b', keys: b },
    ];
    image.delegations = [{ roles, min_roles_in_agreement: 2, paths: ['*'] }];
    image.publish();
    assert.deepEqual(survey(), []);
    assert.deepEqual(delegated(), ['delegations/a.json', 'delegations/b.json']);
  });

  test('tells of every role that fails and goes on with the others (D1, P10)', () => {
    image.delegations = [role('expired'), role('missing'), role('good')];
    const expired = image.delegated.get('expired');
    assert.ok(expired);
    expired.expires = PAST;
    image.publish();
    image.served.delete('delegations/missing.json');
    assert.deepEqual(codes(survey()), [
      ['METADATA_EXPIRED', 'delegated/expired'],
      ['METADATA_MISSING', undefined],
    ]);
    assert.equal(store.seen.at(-1)?.role, 'delegated/good');
  });

  test('ends with the top level where that fails', () => {
    image.delegations = [role('a')];
    image.expires.snapshot = PAST;
    image.publish();
    assert.deepEqual(codes(survey()), [['METADATA_EXPIRED', 'snapshot']]);
    assert.deepEqual(delegated(), []);
  });

  test('holds one role against the keys of each role that delegates to it, once (G3)', () => {
    const shared = role('shared');
    const [a, b] = [role('a'), role('b')];
    for (const [name, keys] of [
      ['a', shared.keys],
      ['b', [ed25519()]],
    ] as const) {
      const file = image.delegated.get(name);
      assert.ok(file);
      file.delegations = [{ ...shared, keys }, a];
    }
    image.delegations = [a, b];
    image.publish();
    assert.deepEqual(codes(survey()), [['THRESHOLD_NOT_MET', 'delegated/shared']]);
  });

  test('ends where roles delegate to each other', () => {
    const a = role('a');
    const own = image.delegated.get('a');
    assert.ok(own);
    own.delegations = [a];
    image.delegations = [a];
    image.publish();
    assert.deepEqual(survey(), []);
    assert.deepEqual(delegated(), ['delegations/a.json']);
  });

  test('reads at most 1000 roles', () => {
    const keys = [ed25519()];
    const names = Array.from({ length: 1001 }, (_, n) => `r${String(n)}`);
    image.delegations = names.map((name) => ({ name, keys, paths: ['*'] }));
    image.publish();
    const problems = survey();
    assert.equal(problems.length, 1000);
    assert.deepEqual(codes(problems).at(-1), ['SNAPSHOT_ROLE_MISSING', 'delegated/r999']);
  });

  test('has tuf-js judge delegated roles of TUF, too', () => {
    const repository = new TufRepository();
    const keys = [ed25519Key()];
    repository.delegations = [{ name: 'a', keys, paths: ['*'] }];
    const odd = { length: 1, hashes: { sha256: '0'.repeat(64), other: 1 } };
    repository.addDelegated('a', { keys, targets: { odd } });
    repository.publish();
    const trusted = new Map([['image/root', repository.current('root')]]);
    store = new MetadataStore('image', trusted, NOW, TUF);
    image.served.clear();
    for (const [name, bytes] of repository.served) image.served.set(name, bytes);
    const [problem, ...others] = survey();
    assert.ok(problem?.code === 'METADATA_MALFORMED' && others.length === 0);
    assert.equal(problem.details.path, 'image/delegated/a');
    assert.match(problem.details.want, /^what tuf-js accepts, too: /u);
  });

  test('does not take what is wrong with the device for a problem of the repository (P9)', () => {
    const trusted = new Map([
      ['image/root', image.file('1.root.json')],
      ['image/targets', Buffer.from('[')],
    ]);
    store = new MetadataStore('image', trusted, NOW);
    image.publish();
    assert.throws(survey, { code: 'STORAGE_CORRUPT' });
    const failure = new Error('no network');
    const talk = surveyImage(new MetadataStore('image', new Map([...trusted].slice(0, 1)), NOW));
    talk.next();
    assert.throws(() => talk.throw(failure), failure);
  });
});
