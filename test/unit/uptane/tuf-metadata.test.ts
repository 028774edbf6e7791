/** The files of TUF 1.0: what they have to say, and where it is said that they do not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { Hashes, Root, Timestamp } from '../../../agent/uptane/metadata.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { FUTURE, hashesOf } from '../../support/tuf-repository.ts';
import type { Body } from '../../support/tuf-keys.ts';

const AUTHORITY = { keyids: [], threshold: 1 };
const FILES = {
  root: {
    keys: {},
    roles: { root: AUTHORITY, timestamp: AUTHORITY, snapshot: AUTHORITY, targets: AUTHORITY },
  },
  timestamp: { meta: { 'snapshot.json': { version: 1 } } },
  snapshot: { meta: { 'targets.json': { version: 1 } } },
  targets: { targets: {} },
} as const;
type Role = keyof typeof FILES;
const ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const;

function file(role: Role, changes: Body): Uint8Array {
  const head = { _type: role, spec_version: '1.0.31', version: 1, expires: FUTURE };
  const signed = { ...head, ...FILES[role], ...changes };
  return Buffer.from(JSON.stringify({ signatures: [], signed }));
}

const READERS = {
  root: (bytes: Uint8Array) => TUF.parseRoot(bytes, 'image'),
  timestamp: (bytes: Uint8Array) => TUF.parseTimestamp(bytes, 'image'),
  snapshot: (bytes: Uint8Array) => TUF.parseSnapshot(bytes, 'image'),
  targets: (bytes: Uint8Array) => TUF.parseTargets(bytes, 'image', 'targets'),
};
const root = (changes: Body): Root => READERS.root(file('root', changes)).body;
const timestamp = (changes: Body): Timestamp => READERS.timestamp(file('timestamp', changes)).body;
const parse = (role: Role, changes: Body = {}): unknown => READERS[role](file(role, changes)).body;

function refuses(role: Role, changes: Body, at: string, want: string): void {
  const details = { path: `image/${role}.signed${at}`, want };
  throwsCode(() => parse(role, changes), 'METADATA_MALFORMED', details);
}

for (const role of ROLES) {
  describe(`a file for ${role}`, () => {
    test('is JSON, or is named as what it is not', () => {
      const details = { path: `image/${role}@0`, want: 'a JSON value' };
      throwsCode(() => READERS[role](Buffer.from('<')), 'METADATA_MALFORMED', details);
    });

    test('has the hashes of the bytes that were received, every one of them (S2, G2)', () => {
      const bytes = file(role, {});
      const read = READERS[role](bytes);
      const { sha256, sha512 } = hashesOf(bytes);
      const other = hashesOf('other');
      const has = (hashes: Partial<typeof other>): boolean =>
        read.hasHashes(new Map(Object.entries(hashes)) as Hashes);
      assert.deepEqual(
        [has({}), has({ sha256 }), has({ sha512 }), has({ sha256, sha512 })],
        [true, true, true, true],
      );
      assert.deepEqual(
        [has(other), has({ sha256: other.sha256 }), has({ sha256, sha512: other.sha512 })],
        [false, false, false],
      );
    });

    test('has the type of its role, letter by letter (R8)', () => {
      parse(role);
      for (const type of ['', role.toUpperCase(), role === 'root' ? 'targets' : 'root']) {
        const details = { repo: 'image', role, type } as const;
        throwsCode(() => parse(role, { _type: type }), 'ROLE_TYPE_MISMATCH', details);
      }
    });

    test('is of version 1 of the specification, whichever minor version', () => {
      for (const version of ['1.0', '1.0.0', '1.12.345']) parse(role, { spec_version: version });
      for (const version of ['2.0.0', '11.0', '1', '1.', '1.0.', '1.0.0.0', 'x1.0', '1.x', '']) {
        const want = 'a version 1 of the TUF specification';
        refuses(role, { spec_version: version }, '.spec_version', want);
      }
    });

    test('has a version and an expiry, and is refused at the place where they are wrong (T3, T4)', () => {
      refuses(role, { version: 0 }, '.version', 'an integer of at least 1');
      refuses(role, { expires: 1 }, '.expires', 'a string');
      refuses(role, { expires: 'soon' }, '.expires', 'a UTC instant');
    });
  });
}

test('a root says what names files have; where it does not, they are plain (§6.2)', () => {
  assert.equal(root({ consistent_snapshot: true }).consistentSnapshot, true);
  assert.equal(root({}).consistentSnapshot, false);
});

test('a root has all four roles, each with its own keys (R8)', () => {
  for (const role of ROLES) {
    const roles = { ...FILES.root.roles, [role]: undefined };
    refuses('root', { roles }, `.roles.${role}`, 'an object');
  }
  const threshold = { root: 1, timestamp: 2, snapshot: 3, targets: 4 };
  const roles = Object.fromEntries(
    ROLES.map((role) => [role, { keyids: [], threshold: threshold[role] }]),
  );
  const read = root({ roles }).roles;
  assert.deepEqual(
    Object.fromEntries(ROLES.map((role) => [role, read[role].threshold])),
    threshold,
  );
});

test('a Timestamp lists the Snapshot and nothing else (§4.6)', () => {
  const snapshot = { version: 2, length: 3, hashes: hashesOf('x') };
  assert.deepEqual(timestamp({ meta: { 'snapshot.json': snapshot } }).snapshot, {
    version: 2,
    lengthBytes: 3,
    hashes: new Map(Object.entries(hashesOf('x'))),
  });
  refuses('timestamp', { meta: {} }, '.meta', 'only snapshot.json');
  const two = { 'snapshot.json': snapshot, 'targets.json': snapshot };
  refuses('timestamp', { meta: two }, '.meta', 'only snapshot.json');
  refuses('timestamp', { meta: { 'x.json': snapshot } }, '.meta.snapshot.json', 'an object');
});

test('a file has a version in its name only where the root says so and a version is known (§6.2)', () => {
  const hashes = new Map(Object.entries(hashesOf('x'))) as Hashes;
  const listed = { version: 7, lengthBytes: undefined, hashes };
  const [named, plain] = [root({ consistent_snapshot: true }), root({})];
  assert.equal(TUF.targetsFile(named, 'a/b', listed), '7.a%2Fb.json');
  assert.equal(TUF.targetsFile(named, 'targets', undefined), 'targets.json');
  assert.equal(TUF.targetsFile(plain, 'targets', listed), 'targets.json');
  assert.equal(TUF.snapshotFile(named, listed), '7.snapshot.json');
  assert.equal(TUF.snapshotFile(plain, listed), 'snapshot.json');
  const image = { lengthBytes: 1, hashes, custom: undefined };
  const { sha256 } = hashesOf('x');
  assert.equal(TUF.imageFile(named, 'dir/sub/fw.bin', image), `dir/sub/${sha256}.fw.bin`);
  assert.equal(TUF.imageFile(named, 'fw.bin', image), `${sha256}.fw.bin`);
  assert.equal(TUF.imageFile(plain, 'fw.bin', image), undefined);
});
