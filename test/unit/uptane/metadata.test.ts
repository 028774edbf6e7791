import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { isOtaError } from '../../../agent/errors.ts';
import {
  parseRoot,
  parseSnapshot,
  parseTargets,
  parseTimestamp,
} from '../../../agent/uptane/metadata.ts';
import { ed25519, envelope, fileInfo, FUTURE, type Body } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';

const COMMON = { version: 1, expires: FUTURE };
const TARGETS = { ...COMMON, _type: 'Targets', targets: {} };
const SNAPSHOT = { ...COMMON, _type: 'Snapshot', meta: { 'targets.json': { version: 1 } } };

const file = (body: Body): Uint8Array => envelope(body, []);
const targets = (body: Body): unknown => parseTargets(file(body), 'image', 'targets');
const snapshot = (body: Body): unknown => parseSnapshot(file(body), 'image');

test('files of the Uptane dialect are not named by version, whatever a root says', () => {
  const role = { keyids: [], threshold: 1 };
  const roles = { root: role, timestamp: role, snapshot: role, targets: role };
  const root = { ...COMMON, _type: 'Root', keys: {}, roles, consistent_snapshot: true };
  assert.equal(parseRoot(file(root), 'image').body.consistentSnapshot, false);
});

describe('every role', () => {
  for (const version of [0, -1, 1.5, '1', null, 2 ** 53]) {
    test(`has a whole version of at least 1, not ${JSON.stringify(version)}`, () => {
      assert.throws(
        () => targets({ ...TARGETS, version }),
        (error) => isOtaError(error) && error.code === 'METADATA_MALFORMED',
      );
    });
  }

  test('has an expiry that is an instant (T4, G5)', () => {
    throwsCode(() => targets({ ...TARGETS, expires: 'never' }), 'METADATA_MALFORMED', {
      path: 'image/targets.signed.expires',
      want: 'a UTC instant',
    });
  });

  test('is refused in the place of another (R8)', () => {
    throwsCode(() => snapshot(TARGETS), 'ROLE_TYPE_MISMATCH', {
      repo: 'image',
      role: 'snapshot',
      type: 'Targets',
    });
  });

  test('may have fields that nobody here knows', () => {
    targets({ ...TARGETS, 'x-later': { a: [1] }, spec_version: '1.0.0' });
  });

  test('needs the list of signatures', () => {
    const bytes = Buffer.from(JSON.stringify({ signed: TARGETS }));
    throwsCode(() => parseTargets(bytes, 'image', 'targets'), 'METADATA_MALFORMED', {
      path: 'image/targets.signatures',
      want: 'an array',
    });
  });
});

describe('listings', () => {
  const listed = (listing: Body): unknown =>
    snapshot({ ...SNAPSHOT, meta: { 'targets.json': listing } });

  test('need a version; length and hashes are optional in a Snapshot (G2)', () => {
    listed({ version: 1 });
    throwsCode(() => listed({ length: 1 }), 'METADATA_MALFORMED', {
      path: 'image/snapshot.signed.meta.targets.json.version',
      want: 'an integer of at least 1',
    });
  });

  for (const [what, hashes, path, want] of [
    ['too short', { sha256: 'ab' }, '.sha256', '64 hex digits'],
    ['not hex', { sha256: 'g'.repeat(64) }, '.sha256', '64 hex digits'],
    ['of the other algorithm', { sha512: 'a'.repeat(64) }, '.sha512', '128 hex digits'],
    ['all unknown', { blake3: 'a'.repeat(64) }, '', 'sha256 or sha512'],
  ] as const) {
    test(`refuse hashes that are ${what} (S2, G2)`, () => {
      throwsCode(() => listed({ version: 1, hashes }), 'METADATA_MALFORMED', {
        path: `image/snapshot.signed.meta.targets.json.hashes${path}`,
        want,
      });
    });
  }

  test('refuse a negative length (S1)', () => {
    throwsCode(() => listed({ version: 1, length: -1 }), 'METADATA_MALFORMED', {
      path: 'image/snapshot.signed.meta.targets.json.length',
      want: 'an integer of at least 0',
    });
  });
});

describe('delegations (D1)', () => {
  const key = ed25519();
  const delegating = (role: Body): unknown =>
    targets({
      ...TARGETS,
      delegations: {
        keys: { k: { keytype: 'ED25519', keyval: { public: key.text } } },
        roles: [{ name: 'a', keyids: ['k'], threshold: 1, paths: ['*'], ...role }],
      },
    });

  test('are not terminating unless they say so, and not bound to hardware (D3, D4)', () => {
    const { body } = delegating({}) as ReturnType<typeof parseTargets>;
    assert.equal(body.delegations[0]?.terminating, false);
    assert.equal(body.delegations[0].hardwareIds, undefined);
  });

  for (const [what, role, path, want] of [
    ['an unsafe name', { name: '../a' }, 'name', 'letters, digits, _, - and inner dots, 1 to 50'],
    ['no paths', { paths: null }, 'paths', 'an array'],
    ['a path that is no text', { paths: [1] }, 'paths[0]', 'a string'],
    ['a threshold of 0', { threshold: 0 }, 'threshold', 'an integer of at least 1'],
    ['an odd terminating', { terminating: 1 }, 'terminating', 'true or false'],
    ['an empty hardware id', { hardwareIds: [''] }, 'hardwareIds', '1 to 200 characters'],
  ] as const) {
    test(`with ${what} are refused (D1)`, () => {
      const at = `image/targets.signed.delegations.roles[0].${path}`;
      throwsCode(() => delegating(role), 'METADATA_MALFORMED', { path: at, want });
    });
  }
});

test('names are kept in the order they were signed in, whatever they look like', () => {
  const text = `{"signatures":[],"signed":{"_type":"targets","version":1,"expires":"${FUTURE}","targets":{"zeta":X,"10":X,"__proto__":X,"2":X}}}`;
  const bytes = Buffer.from(text.replaceAll('X', JSON.stringify(fileInfo('x'))));
  const { body } = parseTargets(bytes, 'director', 'targets');
  const names = Array.from(body.targets, ([filename]) => filename);
  assert.deepEqual(names, ['zeta', '10', '__proto__', '2']);
  assert.equal(body.targets.size, 4);
});

test('no parser throws anything but OtaError, whatever the JSON', () => {
  const types = fc.constantFrom('Root', 'Timestamp', 'Snapshot', 'Targets', 'x', 1);
  const part = fc.oneof(
    fc.constantFrom(FUTURE, 1, {}, []),
    fc.dictionary(
      fc.constantFrom('targets.json', 'snapshot.json', 'keys', 'roles', 'a'),
      fc.jsonValue(),
    ),
    fc.jsonValue(),
  );
  const signed = fc.record(
    {
      _type: types,
      version: part,
      expires: part,
      meta: part,
      targets: part,
      delegations: part,
      keys: part,
      roles: part,
    },
    { requiredKeys: ['_type'] },
  );
  const document = fc.oneof(
    fc.record({ signatures: fc.oneof(fc.constant([]), part), signed }),
    fc.jsonValue(),
  );
  fc.assert(
    fc.property(document, (value) => {
      const bytes = Buffer.from(JSON.stringify(value));
      for (const parse of [
        () => parseRoot(bytes, 'image'),
        () => parseTimestamp(bytes, 'image'),
        () => parseSnapshot(bytes, 'image'),
        () => parseTargets(bytes, 'image', 'targets'),
      ]) {
        try {
          parse();
        } catch (error) {
          assert.ok(isOtaError(error), String(error));
        }
      }
    }),
    { numRuns: 500 },
  );
});
