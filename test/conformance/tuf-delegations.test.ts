/** Delegations as a plain TUF client walks them (TUF specification §5.6.7; D1 to D6). */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';

import { rejectsCode } from '../support/expect-code.ts';
import { TufBench } from '../support/tuf-client-driver.ts';
import { ed25519Key } from '../support/tuf-keys.ts';
import { TufRepository, type TufDelegation } from '../support/tuf-repository.ts';

const IMAGE = { repo: 'image' } as const;
const WANTED = 'dir/file.bin';

/** One edge of the graph: who delegates to whom, and on what terms. */
type Edge = readonly [string, string, Partial<TufDelegation>?];

function graph(edges: readonly Edge[], consistent = true): TufRepository {
  const repository = new TufRepository(ed25519Key, consistent);
  const keys = new Map(edges.map(([, name]) => [name, [ed25519Key()]]));
  const of = (delegator: string): TufDelegation[] =>
    edges
      .filter(([from]) => from === delegator)
      .map(([, name, terms]) => {
        const all = terms?.path_hash_prefixes === undefined ? { paths: ['dir/*'] } : {};
        return { name, keys: keys.get(name) ?? [], ...all, ...terms };
      });
  for (const [name, own] of keys) {
    repository.addDelegated(name, { keys: own, delegations: of(name) });
  }
  repository.delegations = of('targets');
  repository.publish();
  return repository;
}

/** The roles asked for while one file is looked for, in order; none of them has it. */
async function visited(edges: readonly Edge[]): Promise<readonly string[]> {
  await using bench = await TufBench.open(graph(edges));
  await bench.refresh();
  await assert.rejects(bench.download(WANTED), { code: 'TARGET_NOT_IN_IMAGE_REPO' });
  return bench.server.requests.flatMap((path) => {
    const [, name] = /^metadata\/\d+\.(.+)\.json$/u.exec(path) ?? [];
    return name === undefined || name === 'root' ? [] : [name];
  });
}

const closed = { terminating: true };
const elsewhere = { paths: ['other/*'] };

describe('the order of the search', () => {
  const graphs: readonly (readonly [string, readonly Edge[], readonly string[]])[] = [
    ['one', [['targets', 'A']], ['A']],
    [
      'as listed',
      [
        ['targets', 'b'],
        ['targets', 'a'],
        ['targets', 'c'],
      ],
      ['b', 'a', 'c'],
    ],
    [
      'numbers as listed, too',
      [
        ['targets', 'z'],
        ['targets', '10'],
        ['targets', '2'],
      ],
      ['z', '10', '2'],
    ],
    [
      'a role before its siblings',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C'],
        ['B', 'D'],
      ],
      ['A', 'C', 'B', 'D'],
    ],
    [
      'three levels',
      [
        ['targets', 'A'],
        ['A', 'B'],
        ['B', 'C'],
        ['targets', 'D'],
      ],
      ['A', 'B', 'C', 'D'],
    ],
    [
      'not what does not apply',
      [
        ['targets', 'A', elsewhere],
        ['targets', 'B'],
      ],
      ['B'],
    ],
    [
      'a terminating role and its own subtree, then nothing (D3)',
      [
        ['targets', 'A', closed],
        ['targets', 'B'],
        ['A', 'C'],
      ],
      ['A', 'C'],
    ],
    [
      'a terminating role that does not apply ends nothing (D3)',
      [
        ['targets', 'A', { ...closed, ...elsewhere }],
        ['targets', 'B'],
      ],
      ['B'],
    ],
    [
      'a terminating role below ends its elders’ siblings, too (D3)',
      [
        ['targets', 'A'],
        ['targets', 'D'],
        ['A', 'B', closed],
        ['A', 'C'],
      ],
      ['A', 'B'],
    ],
    [
      'a circle ends (D7)',
      [
        ['targets', 'A'],
        ['A', 'B'],
        ['B', 'A'],
        ['targets', 'C'],
      ],
      ['A', 'B', 'C'],
    ],
    [
      'a role twice is asked once (D7)',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'A'],
      ],
      ['A', 'B'],
    ],
    [
      'itself (D7)',
      [
        ['targets', 'A'],
        ['A', 'A'],
      ],
      ['A'],
    ],
  ];
  for (const [what, edges, expected] of graphs) {
    test(`${what} (D4)`, async () => {
      assert.deepEqual(await visited(edges), expected);
    });
  }

  test('at most 32 roles are asked for one file (D7)', async () => {
    const names = Array.from({ length: 40 }, (_, index) => `r${String(index)}`);
    const edges = names.map((name, index): Edge => [names[index - 1] ?? 'targets', name]);
    assert.deepEqual(await visited(edges), names.slice(0, 32));
  });

  test('bins by the digest of the path (path_hash_prefixes)', async () => {
    const hash = createHash('sha256').update(WANTED).digest('hex');
    const other = hash.startsWith('0') ? '1' : '0';
    const found = await visited([
      ['targets', 'bin-other', { path_hash_prefixes: [other] }],
      ['targets', 'bin', { path_hash_prefixes: [other, hash.slice(0, 2)] }],
    ]);
    assert.deepEqual(found, ['bin']);
  });
});

describe('names', () => {
  const names = [
    '?',
    '#',
    '/role',
    '../role',
    '.',
    'a b',
    'ö',
    '%2F',
    'constructor',
    '__proto__',
    '7',
  ];
  for (const consistent of [true, false]) {
    for (const name of names) {
      const what = consistent ? 'with' : 'without';
      test(`role ${name} is fetched and kept percent-encoded, ${what} versions`, async () => {
        const repository = graph([['targets', name]], consistent);
        repository.addTarget(WANTED, 'content', name);
        repository.publish();
        await using bench = await TufBench.open(repository);
        await bench.download(WANTED);
        const file = `${name}.json`;
        const asked = consistent ? `1.${file}` : file;
        assert.ok(bench.server.requests.includes(`metadata/${asked}`));
        assert.ok(`${encodeURIComponent(name)}.json` in bench.kept());
        assert.deepEqual(bench.downloaded(), { 'dir%2Ffile.bin': 'content' });
        // What was kept under that name is found again.
        assert.ok(!(await bench.download(WANTED)).includes(asked));
      });
    }
  }

  test('a role may not have the name of a top-level role, nor none at all (G3)', async () => {
    for (const [name, want] of [
      ['root', 'a name that no top-level role has'],
      ['', '1 to 200 characters, percent-encoded'],
      ['ö'.repeat(34), '1 to 200 characters, percent-encoded'],
    ] as const) {
      await using bench = await TufBench.open();
      bench.repository.delegations = [{ name, keys: [ed25519Key()], paths: ['*'] }];
      bench.repository.publish();
      const path = 'image/targets.signed.delegations.roles[0].name';
      const kept = ['timestamp.json', 'snapshot.json'];
      await bench.refuses('METADATA_MALFORMED', { path, want }, kept);
    }
  });
});

describe('a delegated role', () => {
  test('is verified with the keys of who delegates to it in this search (G3)', async () => {
    const repository = graph([
      ['targets', 'A', { paths: ['a/*'] }],
      ['targets', 'B', { paths: ['b/*'] }],
      ['A', 'C', { paths: ['a/*'] }],
      ['B', 'C', { paths: ['b/*'], keys: [ed25519Key()] }],
    ]);
    repository.addTarget('a/file', 'a', 'C');
    repository.addTarget('b/file', 'b', 'C');
    repository.publish();
    await using bench = await TufBench.open(repository);
    await bench.download('a/file');
    const details = { ...IMAGE, role: 'delegated/C', valid: 0, threshold: 1 };
    await rejectsCode(bench.download('b/file'), 'THRESHOLD_NOT_MET', details);
    await rejectsCode(bench.download('a/file', 'b/file'), 'THRESHOLD_NOT_MET', details);
    assert.deepEqual(bench.downloaded(), { 'a%2Ffile': 'a' });
  });

  test('has to be in the Snapshot, be served and be fresh, or the search ends (D1)', async () => {
    const repository = graph([
      ['targets', 'A'],
      ['targets', 'B'],
    ]);
    repository.addTarget(WANTED, 'content', 'B');
    const a = repository.role('A');
    repository.publish();
    await using bench = await TufBench.open(repository);
    repository.delegated.delete('A');
    repository.publish();
    const role = 'delegated/A';
    await rejectsCode(bench.download(WANTED), 'SNAPSHOT_ROLE_MISSING', { ...IMAGE, role });
    repository.delegated.set('A', { ...a, version: 2, expires: '2020-01-01T00:00:00Z' });
    repository.publish();
    const times = { expiresAt: '2020-01-01T00:00:00Z', nowAt: '2026-11-21T00:00:00Z' };
    await rejectsCode(bench.download(WANTED), 'METADATA_EXPIRED', { ...IMAGE, role, ...times });
    repository.served.delete('2.A.json');
    const file = '2.A.json';
    await rejectsCode(bench.download(WANTED), 'METADATA_MISSING', { ...IMAGE, file });
    assert.deepEqual(bench.downloaded(), {});
  });

  test('says whether it ends the search: there is no default (D3)', async () => {
    await using bench = await TufBench.open();
    const delegation = { name: 'A', keyids: [], threshold: 1, paths: ['*'] };
    bench.repository.version.targets = 2;
    bench.repository.publishTargets((body) => ({
      ...body,
      delegations: { keys: {}, roles: [delegation] },
    }));
    bench.repository.publishSnapshotAndTimestamp();
    const path = 'image/targets.signed.delegations.roles[0].terminating';
    const details = { path, want: 'true or false' };
    await bench.refuses('METADATA_MALFORMED', details, ['timestamp.json', 'snapshot.json']);
  });

  test('is delegated by paths or by prefixes, and stands once', async () => {
    const keys = [ed25519Key()];
    const wrong: readonly (readonly [readonly TufDelegation[], string, string])[] = [
      [
        [{ name: 'A', keys, paths: ['*'], path_hash_prefixes: ['00'] }],
        '[0].path_hash_prefixes',
        'either paths or path_hash_prefixes',
      ],
      [[{ name: 'A', keys }], '[0].paths', 'an array'],
      [
        [
          { name: 'A', keys, paths: [] },
          { name: 'A', keys, paths: [] },
        ],
        '[1].name',
        'each role once',
      ],
    ];
    for (const [delegations, at, want] of wrong) {
      await using bench = await TufBench.open();
      bench.repository.delegations = delegations;
      bench.repository.publish();
      const path = `image/targets.signed.delegations.roles${at}`;
      const kept = ['timestamp.json', 'snapshot.json'];
      await bench.refuses('METADATA_MALFORMED', { path, want }, kept);
    }
  });
});
