/** A set from the factory that is not whole. `initial-metadata.test.ts` has what is wrong with its files. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { UPTANE } from '../../../agent/uptane/format.ts';
import { verifyInitialSet } from '../../../agent/uptane/initial-set.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { TestRepository } from '../../support/test-repository.ts';
import { TufRepository } from '../../support/tuf-repository.ts';

describe('a set is refused without (B1, §5.4.1)', () => {
  for (const repo of ['director', 'image'] as const) {
    for (const role of ['root', 'timestamp', 'snapshot', 'targets']) {
      if (repo === 'director' && role === 'timestamp') continue;
      test(`the ${role} of ${repo}`, () => {
        const missing = { repo, file: `${role}.json` };
        throwsCode(
          () => verifyInitialSet(repo, setWithout(role), UPTANE),
          'METADATA_MISSING',
          missing,
        );
      });
    }
  }

  test('no Timestamp and Snapshot of a Director', () => {
    const set = setWithout('timestamp');
    set.delete('snapshot');
    verifyInitialSet('director', set, UPTANE);
  });
});

test('a set of TUF is read whatever its versions: the names of its files are ours (B1)', () => {
  const repository = new TufRepository();
  Object.assign(repository.version, { timestamp: 122, snapshot: 122, targets: 122 });
  repository.publish();
  const roles = ['root', 'timestamp', 'snapshot', 'targets'] as const;
  const set = new Map(roles.map((role) => [role, repository.current(role)]));
  const seen = verifyInitialSet('image', set, TUF).map(({ role, version }) => [role, version]);
  assert.deepEqual(seen, [
    ['root', 1],
    ['timestamp', 123],
    ['snapshot', 123],
    ['targets', 123],
  ]);
});

test('a set whose root nobody signed is refused as such: it was never kept here (B1, R3)', () => {
  const set = setWithout('nothing');
  const root = Buffer.from(set.get('root') ?? '').toString();
  set.set('root', Buffer.from(root.replace('2037', '2038')));
  throwsCode(() => verifyInitialSet('image', set, UPTANE), 'THRESHOLD_NOT_MET', {
    ...{ repo: 'image', role: 'root' },
    ...{ valid: 0, threshold: 1 },
  });
});

function setWithout(role: string): Map<string, Uint8Array> {
  const repository = new TestRepository();
  repository.publish();
  const roles = ['timestamp', 'snapshot', 'targets'] as const;
  const set = new Map([['root', repository.file('1.root.json')]]);
  for (const each of roles) set.set(each, repository.file(`${each}.json`));
  set.delete(role);
  return set;
}
