/** The search against a second one, written from the specifications with a list instead of recursion. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { Fields } from '../../../agent/decode.ts';
import { isOtaError } from '../../../agent/errors.ts';
import type { Delegation } from '../../../agent/uptane/delegation.ts';
import { search, type Listed } from '../../../agent/uptane/delegation-search.ts';
import type { TargetFile } from '../../../agent/uptane/metadata.ts';

const FILENAME = 'dir/fw.bin';
const HARDWARE = 'hw';
const NAMES = ['A', 'B', 'C', 'D', 'E'];

/** One entry of a list of delegations. */
interface Entry {
  readonly roles: readonly string[];
  /** `undefined` where one role is named by itself. */
  readonly needed: number | undefined;
  readonly terminating: boolean;
  readonly paths: readonly string[];
  readonly hardwareIds: readonly string[] | undefined;
}

interface Role {
  /** What it says the file is, if anything; different letters are different files. */
  readonly says: string | undefined;
  readonly entries: readonly Entry[];
  readonly broken: boolean;
}

type Graph = ReadonlyMap<string, Role>;

interface Found {
  /** Who asked whom, in order, with the keys of which entry. */
  readonly asked: readonly string[];
  /** The role whose word counts, or why there is none. */
  readonly outcome: string;
}

/** Each differs from `a` in one thing that has to match, but `e`, which differs in none. */
const FILES: Readonly<Record<string, Partial<TargetFile>>> = {
  a: {},
  b: { lengthBytes: 2 },
  c: { hashes: new Map([['sha256', 'ff']]) },
  d: {
    hashes: new Map([
      ['sha256', '00'],
      ['sha512', '00'],
    ]),
  },
  e: { custom: custom({ hardwareIds: [HARDWARE, 'other', HARDWARE], name: 'x' }) },
  f: { custom: custom({ hardwareIds: [HARDWARE] }) },
  g: { custom: custom({ hardwareIds: ['other', HARDWARE], releaseCounter: 1 }) },
};

function custom(value: Readonly<Record<string, unknown>>): Fields {
  return new Fields(value, 'custom');
}

function fileOf(says: string): TargetFile {
  return {
    lengthBytes: 1,
    hashes: new Map([['sha256', '00']]),
    custom: custom({ hardwareIds: ['other', HARDWARE] }),
    ...FILES[says],
  };
}

/** What the search of the agent does on a graph. */
function ours(graph: Graph): Found {
  const said = new Map<TargetFile, string>();
  const listed = new Map(
    [...graph].map(([name, role]): [string, Listed] => {
      const file = role.says === undefined ? undefined : fileOf(role.says);
      if (file !== undefined) said.set(file, name);
      const targets = new Map(file === undefined ? [] : [[FILENAME, file]]);
      const delegations = role.entries.map((entry, index) => delegation(entry, index));
      return [name, { targets, delegations }];
    }),
  );
  const asked: string[] = [];
  try {
    const top = listed.get('targets');
    assert.ok(top);
    const searching = search(top, { filename: FILENAME, hardwareId: HARDWARE });
    let turn = searching.next();
    while (turn.done !== true) {
      const { name, delegator, authority } = turn.value;
      asked.push(`${delegator}.${String(authority.threshold)}>${name}`);
      const role = listed.get(name);
      if (role === undefined || graph.get(name)?.broken === true) throw new Error('broken');
      turn = searching.next(role);
    }
    return { asked, outcome: said.get(turn.value) ?? 'a file that nobody listed' };
  } catch (error) {
    const outcome = isOtaError(error) ? error.code : (error as Error).message;
    return { asked, outcome };
  }
}

/** The threshold stands for the keys of an entry, so that it can be seen which were handed on. */
function delegation(entry: Entry, index: number): Delegation {
  const { roles, needed, terminating, paths, hardwareIds } = entry;
  const authority = { keys: new Map(), threshold: index + 1 };
  return {
    roles: roles.map((name) => ({ name, authority, binBits: undefined })),
    minRolesInAgreement: needed,
    paths,
    pathHashPrefixes: [],
    terminating,
    hardwareIds,
  };
}

class Stop extends Error {}

/** An entry whose turn has not come. */
interface Waiting {
  readonly from: string;
  readonly index: number;
  readonly entry: Entry;
}

/** TUF specification §5.6.7 as written, a list of what is still to be visited; TAP 3 on top. */
function theirs(graph: Graph): Found {
  const asked: string[] = [];
  const seen = { disagreement: false };

  function ask(from: string, index: number, name: string): Role {
    if (asked.length === 32) throw new Stop('DELEGATIONS_TOO_MANY');
    asked.push(`${from}.${String(index + 1)}>${name}`);
    const role = graph.get(name);
    if (role === undefined || role.broken) throw new Stop('broken');
    return role;
  }

  function walk(start: string, first: Role, visited: Set<string>): string | undefined {
    let pending: Waiting[] = [];
    let at: { name: string; role: Role } | undefined = { name: start, role: first };
    while (at !== undefined) {
      const { name: from, role } = at;
      if (role.says !== undefined) return from;
      const own = role.entries
        .map((entry, index) => ({ from, index, entry }))
        .filter(({ entry }) => covers(entry));
      const end = own.findIndex(({ entry }) => entry.terminating);
      pending = end < 0 ? [...own, ...pending] : own.slice(0, end + 1);
      at = undefined;
      while (at === undefined && pending.length > 0) {
        const [next, ...rest] = pending;
        assert.ok(next);
        pending = rest;
        const { entry, index } = next;
        const [name = ''] = entry.roles;
        const agreed = entry.needed === undefined ? undefined : agreedOn(next, visited);
        if (agreed !== undefined) return agreed;
        if (entry.needed !== undefined || visited.has(name)) continue;
        visited.add(name);
        at = { name, role: ask(next.from, index, name) };
      }
    }
    return undefined;
  }

  function agreedOn(
    { from, index, entry }: Waiting,
    visited: ReadonlySet<string>,
  ): string | undefined {
    const words = entry.roles.map((name) => {
      const apart = new Set(visited).add(name);
      return visited.has(name) ? undefined : walk(name, ask(from, index, name), apart);
    });
    const agreed = words.find((word) => supporters(word, words) >= (entry.needed ?? 0));
    if (agreed === undefined) seen.disagreement ||= words.some((word) => word !== undefined);
    return agreed;
  }

  /** How many of `words` say what `word` does; a word is the role that has the file. */
  function supporters(word: string | undefined, words: readonly (string | undefined)[]): number {
    const said = graph.get(word ?? '')?.says?.replace('e', 'a');
    if (said === undefined) return -1;
    return words.filter((other) => graph.get(other ?? '')?.says?.replace('e', 'a') === said).length;
  }

  try {
    const top = graph.get('targets');
    assert.ok(top);
    const found = walk('targets', top, new Set());
    if (found !== undefined) return { asked, outcome: found };
    return { asked, outcome: seen.disagreement ? 'ROLES_DISAGREE' : 'TARGET_NOT_IN_IMAGE_REPO' };
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return { asked, outcome: error.message };
  }
}

function covers({ paths, hardwareIds }: Entry): boolean {
  return paths.includes('dir/*') && (hardwareIds?.includes(HARDWARE) ?? true);
}

const shared = {
  terminating: fc.boolean(),
  paths: fc.constantFrom(['dir/*'], ['other/*', 'dir/*'], ['other/*']),
  hardwareIds: fc.constantFrom(
    undefined,
    undefined,
    [HARDWARE],
    ['other', HARDWARE],
    ['other'],
    [],
  ),
};
const plain = fc.record({
  ...shared,
  roles: fc.constantFrom(...NAMES).map((name) => [name]),
  needed: fc.constant(undefined),
});
const multi = fc
  .record({
    ...shared,
    roles: fc.uniqueArray(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 4 }),
    part: fc.nat(),
  })
  .map(({ part, ...entry }) => ({ ...entry, needed: 1 + (part % entry.roles.length) }));

/** @param silence - weight of roles that do not list the file */
function graphs(entry: fc.Arbitrary<Entry>, silence: number): fc.Arbitrary<Graph> {
  const says = fc.oneof(
    { weight: silence, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constantFrom('a', 'a', 'a', ...Object.keys(FILES)) },
  );
  const entries = fc.array(entry, { maxLength: 3 });
  const broken = fc.integer({ min: 0, max: 15 }).map((die) => die === 0);
  const role = fc.record({ says, entries, broken });
  return fc
    .tuple(entries, fc.array(role, { minLength: NAMES.length, maxLength: NAMES.length }))
    .map(([top, roles]) => {
      const all = roles.map((each, index): [string, Role] => [NAMES[index] ?? '', each]);
      return new Map([['targets', { says: undefined, entries: top, broken: false }], ...all]);
    });
}

describe('the search agrees with one written from the specifications', () => {
  const kinds = [
    ['delegations to one role each (D2, D3, D4, D6, D7)', graphs(plain, 6), []],
    ['delegations to several roles each (D5)', graphs(multi, 1), ['ROLES_DISAGREE']],
    ['both (D1, D5, D7)', graphs(fc.oneof(plain, multi), 3), ['ROLES_DISAGREE']],
  ] as const;
  for (const [what, arbitrary, reasons] of kinds) {
    test(`on random graphs of ${what}`, () => {
      const outcomes = new Map<string, number>();
      fc.assert(
        fc.property(arbitrary, (graph) => {
          const expected = theirs(graph);
          assert.deepEqual(ours(graph), expected);
          outcomes.set(expected.outcome, 1 + (outcomes.get(expected.outcome) ?? 0));
        }),
        { numRuns: 3000 },
      );
      // Otherwise the graphs prove nothing.
      for (const outcome of ['A', 'B', 'TARGET_NOT_IN_IMAGE_REPO', 'broken', ...reasons]) {
        assert.ok((outcomes.get(outcome) ?? 0) > 10, JSON.stringify([...outcomes]));
      }
    });
  }

  test('on a graph whose every role asks every other to agree: the bound holds (D5, D7)', () => {
    const entry = { paths: ['dir/*'], hardwareIds: undefined, terminating: false };
    const entries = [{ ...entry, roles: NAMES, needed: 5 }];
    const role = { says: undefined, entries, broken: false };
    const graph = new Map(['targets', ...NAMES].map((name) => [name, role]));
    const found = ours(graph);
    assert.equal(found.outcome, 'DELEGATIONS_TOO_MANY');
    assert.equal(found.asked.length, 32);
    assert.deepEqual(theirs(graph), found);
  });
});
