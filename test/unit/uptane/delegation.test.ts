/** Entries of `delegations` in both formats: what they look like, and what they are about. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';

import { Fields } from '../../../agent/decode.ts';
import {
  applies,
  nameFor,
  namesOf,
  readDelegations,
  type Delegation,
} from '../../../agent/uptane/delegation.ts';
import { parseTargets } from '../../../agent/uptane/metadata.ts';
import { parseTufTargets } from '../../../agent/uptane/tuf-metadata.ts';
import { FUTURE, type Body } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';

const FORMATS = [
  ['uptane', parseTargets],
  ['tuf', parseTufTargets],
] as const;
const ROLE = { keyids: [], threshold: 1 };
const ENTRY = { name: 'a', ...ROLE, paths: ['*'], terminating: false };
const MULTI = {
  paths: ['*'],
  terminating: true,
  min_roles_in_agreement: 2,
  roles: [
    { name: 'a', ...ROLE },
    { name: 'b', ...ROLE, threshold: 3 },
  ],
};

function read(parse: typeof parseTargets, delegations: Body): readonly Delegation[] {
  const head = { _type: 'targets', spec_version: '1.0.0', version: 1, expires: FUTURE };
  const signed = { ...head, targets: {}, delegations: { keys: {}, ...delegations } };
  return parse(Buffer.from(JSON.stringify({ signatures: [], signed })), 'image', 'targets').body
    .delegations;
}

function one(parse: typeof parseTargets, entry: Body): Delegation {
  const [delegation, ...others] = read(parse, { roles: [entry] });
  assert.ok(delegation !== undefined && others.length === 0);
  return delegation;
}

function refuses(delegations: Body, at: string, want: string, formats = FORMATS.slice()): void {
  for (const [, parse] of formats) {
    const details = { path: `image/targets.signed.delegations.${at}`, want };
    throwsCode(() => read(parse, delegations), 'METADATA_MALFORMED', details);
  }
}

const wanted = (filename: string, hardwareId?: string) => ({ filename, hardwareId }) as const;
const hashOf = (filename: string): string => createHash('sha256').update(filename).digest('hex');

for (const [name, parse] of FORMATS) {
  describe(`entries in the format ${name}`, () => {
    test('several roles, how many have to agree, and unknown fields beside them (D5)', () => {
      const { roles, ...rest } = one(parse, { ...MULTI, name: 'a delegation may have one, too' });
      assert.deepEqual(
        roles.map((role) => [role.name, role.authority.threshold, role.binBits]),
        [
          ['a', 1, undefined],
          ['b', 3, undefined],
        ],
      );
      const scope = { paths: ['*'], pathHashPrefixes: [], hardwareIds: undefined };
      assert.deepEqual(rest, { ...scope, minRolesInAgreement: 2, terminating: true });
    });

    test('path_hash_prefixes cover files by the digest of their names (D4)', () => {
      const entry = { ...ENTRY, paths: undefined };
      const covers = (prefixes: readonly string[], file: string): boolean =>
        applies(one(parse, { ...entry, path_hash_prefixes: prefixes }), wanted(file));
      const hash = hashOf('dir/fw.bin');
      assert.deepEqual(one(parse, { ...entry, path_hash_prefixes: [hash] }).paths, []);
      assert.ok(covers([hash.slice(0, 3)], 'dir/fw.bin'));
      assert.ok(covers(['zz', hash], 'dir/fw.bin'));
      assert.ok(covers([''], 'dir/fw.bin'));
      assert.ok(!covers([], 'dir/fw.bin'));
      assert.ok(!covers([hash.slice(1)], 'dir/fw.bin'));
      assert.ok(!covers([`${hash}0`], 'dir/fw.bin'));
    });

    test('hardwareIds limit an entry to that hardware; an empty list to none (D4)', () => {
      const covers = (hardwareIds: readonly string[] | null, hardwareId?: string): boolean =>
        applies(one(parse, { ...ENTRY, hardwareIds }), wanted('fw.bin', hardwareId));
      assert.ok(covers(['a', 'b'], 'b'));
      assert.ok(!covers(['a', 'b'], 'c'));
      assert.ok(!covers(['a', 'b'], 'B'));
      assert.ok(!covers([], 'a'));
      assert.ok(!covers(['a'], undefined));
      assert.ok(covers(null, 'a'));
      assert.ok(covers(null, undefined));
    });
  });
}

describe('entries that are refused in both formats', () => {
  test('an agreement that nobody or anybody could reach (D5)', () => {
    const at = 'roles[0].min_roles_in_agreement';
    for (const needed of [0, -1, 'x', null, undefined]) {
      const entry = { ...MULTI, min_roles_in_agreement: needed };
      refuses({ roles: [entry] }, at, 'an integer of at least 1');
    }
    const want = 'no more than there are roles';
    refuses({ roles: [{ ...MULTI, min_roles_in_agreement: 3 }] }, at, want);
    refuses({ roles: [{ ...MULTI, min_roles_in_agreement: 1, roles: [] }] }, at, want);
  });

  test('a role that would agree with itself (D5)', () => {
    const roles = [...MULTI.roles, { name: 'a', ...ROLE }];
    refuses({ roles: [{ ...MULTI, roles }] }, 'roles[0].roles[2].name', 'each role once');
  });

  test('keys beside roles, which have their own (D5)', () => {
    const want = 'none beside roles, which have their own';
    refuses({ roles: [{ ...MULTI, keyids: [] }] }, 'roles[0].keyids', want);
    refuses({ roles: [{ ...MULTI, threshold: 1 }] }, 'roles[0].threshold', want);
  });

  test('a role in a multi-role delegation with the name of a top-level role (D5)', () => {
    const roles = [{ name: 'root', ...ROLE }];
    const entry = { ...MULTI, min_roles_in_agreement: 1, roles };
    refuses({ roles: [entry] }, 'roles[0].roles[0].name', 'a name that no top-level role has');
  });

  test('two entries for one role in TUF: whose keys would count? (D1)', () => {
    const roles = [ENTRY, { ...MULTI, name: 'a' }, ENTRY];
    refuses({ roles }, 'roles[2].name', 'each role once', FORMATS.slice(1));
    assert.equal(read(parseTargets, { roles }).length, 3);
  });

  test('both kinds of paths, or none (D4)', () => {
    const without = { ...ENTRY, paths: undefined };
    const both = { ...ENTRY, path_hash_prefixes: ['00'] };
    const want = 'either paths or path_hash_prefixes';
    refuses({ roles: [both] }, 'roles[0].path_hash_prefixes', want);
    refuses({ roles: [without] }, 'roles[0].paths', 'an array');
  });

  test('patterns made to cost time: too long, or too many in one file (D4)', () => {
    const long = { ...ENTRY, paths: ['ok', '*'.repeat(1025)] };
    refuses({ roles: [long] }, 'roles[0].paths[1]', 'at most 1024 characters');
    const paths = Array.from({ length: 4097 }, () => '*');
    const roles = ['a', 'b'].map((name) => ({ ...ENTRY, name, paths }));
    refuses({ roles }, 'roles', 'at most 8192 paths in all');
    assert.equal(one(parseTargets, { ...ENTRY, paths: ['*'.repeat(1024)] }).paths.length, 1);
  });

  test('one more pattern, prefix or entry than a file may have, and no fewer (D4)', () => {
    const rules = {
      verifyName: () => undefined,
      readAuthority: () => ({ keys: new Map<string, never>(), threshold: 1 }),
    };
    const entries = (fields: Body): readonly Delegation[] =>
      readDelegations(new Fields(fields, 'd'), rules);
    const paths = Array.from({ length: 4096 }, () => '*');
    const byHash = (path_hash_prefixes: readonly string[]): Body => ({
      ...{ name: 'a', path_hash_prefixes },
    });
    const prefixes = Array.from({ length: 16_384 }, () => '0');
    const limits: readonly (readonly [most: number, full: Body, more: Body, want: string])[] = [
      [2, { ...ENTRY, paths }, ENTRY, 'at most 8192 paths in all'],
      [16, byHash(prefixes), byHash(['0']), 'at most 262144 path_hash_prefixes in all'],
      [16_384, { ...ENTRY, paths: [] }, ENTRY, 'at most 16384 delegations'],
    ];
    for (const [most, full, more, want] of limits) {
      const roles = Array.from({ length: most }, () => full);
      const details = { path: 'd.roles', want };
      throwsCode(() => entries({ roles: [...roles, more] }), 'METADATA_MALFORMED', details);
      assert.equal(entries({ roles }).length, most);
    }
  });
});

test('delegations without entries delegate to nobody (D6)', () => {
  for (const [, parse] of FORMATS) assert.deepEqual(read(parse, {}), []);
});

describe('bins (TAP 15) in the format tuf', () => {
  const BINS = { ...ROLE, bit_length: 10, name_prefix: 'bin' };
  const only = FORMATS.slice(1);

  test('are named by the leading bits of the digest, in hex of one length (TAP 15)', () => {
    const nameOf = (bits: number, filename: string): string => {
      const [bins] = read(parseTufTargets, { succinct_roles: { ...BINS, bit_length: bits } });
      assert.ok(bins?.roles[0] !== undefined);
      assert.ok(applies(bins, wanted(filename)));
      const { terminating, minRolesInAgreement, paths } = bins;
      assert.deepEqual([terminating, minRolesInAgreement, paths], [true, undefined, []]);
      return nameFor(bins.roles[0], wanted(filename));
    };
    for (const filename of ['a', 'b', 'dir/fw.bin', 'ö']) {
      const digest = BigInt(`0x${hashOf(filename)}`);
      for (let bits = 1; bits <= 32; bits += 1) {
        const digits = (2 ** bits - 1).toString(16).length;
        const bin = (digest >> BigInt(256 - bits)).toString(16).padStart(digits, '0');
        assert.equal(nameOf(bits, filename), `bin-${bin}`);
      }
    }
  });

  test('have every number of their bits, in order and in one length (TAP 15)', () => {
    const namesIn = (bits: number): readonly string[] => {
      const [bins] = read(parseTufTargets, { succinct_roles: { ...BINS, bit_length: bits } });
      assert.ok(bins?.roles[0] !== undefined);
      return [...namesOf(bins.roles[0])];
    };
    assert.deepEqual(namesIn(1), ['bin-0', 'bin-1']);
    const five = namesIn(5);
    assert.deepEqual(
      [five.length, five[0], five[16], five.at(-1)],
      [32, 'bin-00', 'bin-10', 'bin-1f'],
    );
    const single = one(parseTufTargets, ENTRY).roles[0];
    assert.ok(single !== undefined);
    assert.deepEqual([...namesOf(single)], ['a']);
  });

  test('are refused with another number of bits, without a name, or beside roles (TAP 15)', () => {
    const bins = (changes: Body): Body => ({ succinct_roles: { ...BINS, ...changes } });
    const at = 'succinct_roles.bit_length';
    refuses(bins({ bit_length: 0 }), at, 'an integer of at least 1', only);
    refuses(bins({ bit_length: 33 }), at, 'at most 32', only);
    refuses(bins({ name_prefix: 1 }), 'succinct_roles.name_prefix', 'a string', only);
    const long = '1 to 200 characters, percent-encoded';
    refuses(bins({ name_prefix: 'x'.repeat(199) }), 'succinct_roles.name_prefix', long, only);
    const both = { ...bins({}), roles: [ENTRY] };
    refuses(both, 'succinct_roles', 'either roles or succinct_roles', only);
  });

  test('are an unknown field in the Uptane dialect: nobody is delegated to', () => {
    assert.deepEqual(read(parseTargets, { succinct_roles: BINS }), []);
  });
});
