/** What a .swu may write, by its description: no configuration leads to the slot that runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { slotImages } from '../../../agent/io/installers/swupdate/slot-guard.ts';
import { parseDescription } from '../../../agent/io/installers/swupdate/sw-description.ts';
import { Random } from '../../fuzz/random.ts';

const SELECTION = { set: 'stable', mode: 'copy-b' };
const RUNNING = '/dev/running';
const OTHER = '/dev/other';
const CASES = 1000;

interface Tree {
  [name: string]: Tree | Tree[] | string;
}

/** Sections anywhere SWUpdate may look for them, on devices that are right or wrong. */
function randomPart(random: Random): Tree {
  const device = (): string => (random.oneIn(6) ? RUNNING : OTHER);
  const part: Tree = {};
  for (const section of ['images', 'files', 'partitions']) {
    if (!random.oneIn(section === 'images' ? 2 : 8)) continue;
    part[section] = [
      { filename: 'x', device: device(), ...(random.oneIn(2) ? { type: 'raw' } : {}) },
    ];
  }
  if (random.oneIn(20)) part['bootenv'] = [{ name: 'boot_slot', value: 'b' }];
  return part;
}

function randomDescription(random: Random): Tree {
  const sets = (): Tree => ({
    stable: {
      'copy-a': { images: [{ filename: 'x', type: 'raw', device: RUNNING }] },
      ...(random.oneIn(8) ? {} : { 'copy-b': randomPart(random) }),
    },
    beta: { 'copy-b': { images: [{ filename: 'x', type: 'raw', device: RUNNING }] } },
  });
  const board = { ...(random.oneIn(4) ? randomPart(random) : {}), ...sets() };
  const root = { ...(random.oneIn(4) ? randomPart(random) : {}), ...sets() };
  return { software: { version: '1', ...root, ...(random.oneIn(2) ? { board } : {}) } };
}

/** Where SWUpdate finds a section, as its documentation has it: board and set, set, board, none. */
function foundBySwupdate(description: Tree, section: string): Tree[] {
  const { set, mode } = SELECTION;
  for (const path of [['board', set, mode], [set, mode], ['board'], []]) {
    let part: Tree | Tree[] | string | undefined = description['software'];
    for (const name of [...path, section]) part = (part as Tree | undefined)?.[name];
    if (Array.isArray(part)) return part;
  }
  return [];
}

/** The same in libconfig, with comments where they may be. */
function asLibconfig(tree: Tree): string {
  return Object.entries(tree)
    .map(([name, value]) => `${name} /* ${RUNNING} */ = ${valueOf(value)}; # ${name}\n`)
    .join('');
}

function valueOf(value: Tree | Tree[] | string): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value))
    return `( ${value.map((one) => `{ ${asLibconfig(one)} }`).join(',\n')} )`;
  return `{ ${asLibconfig(value)} }`;
}

test('whatever the description, nothing that is accepted writes the running slot or the boot environment', () => {
  const random = new Random(0x5757);
  const seen = { accepted: 0, refused: 0 };
  for (let round = 0; round < CASES; round += 1) {
    const description = randomDescription(random);
    const written = ['images', 'files', 'partitions'].flatMap((section) =>
      foundBySwupdate(description, section),
    );
    for (const text of [asLibconfig(description), JSON.stringify(description)]) {
      try {
        slotImages(text, SELECTION, [OTHER]);
      } catch (error) {
        assert.match(String(error), /^Error: sw-description /u);
        seen.refused += 1;
        continue;
      }
      seen.accepted += 1;
      assert.ok(written.length > 0, text);
      assert.ok(
        written.every(({ device }) => device === OTHER),
        text,
      );
      assert.deepEqual(foundBySwupdate(description, 'bootenv'), []);
    }
  }
  assert.ok(seen.accepted > CASES / 10 && seen.refused > CASES / 10, JSON.stringify(seen));
});

const part = (text: string): string => `software = { stable: { copy-b: { ${text} } } }`;

test('what only SWUpdate resolves, or would run, is refused by name', () => {
  const image = `filename = "x"; device = "${OTHER}"`;
  for (const [text, said] of [
    ['images: ( { ref = "#./common" } )', /uses "ref"/u],
    [`embedded-script = "os.exit()"; images: ( { ${image} } )`, /uses "embedded-script"/u],
    [
      `images: ( { ${image}; type = "bootloader" } )`,
      /x of type bootloader, which the agent cannot/u,
    ],
    [
      `images: ( { ${image} } ); files: ( { filename = "y"; path = "/etc/y" } )`,
      /writes y into the running system/u,
    ],
    ['images: "all"', /images is not a list/u],
    ['scripts: ( )', /writes nothing to \/dev\/other with mode copy-b/u],
  ] as const) {
    assert.throws(() => slotImages(part(text), SELECTION, [OTHER]), said);
  }
});

test('a description is libconfig: comments, joined texts, escapes, numbers, lists in lists', () => {
  const text = String.raw`
    a = "one" // a comment
        " t\"wo\x41"; /* another;
    */ b: { c = 0x1F, d = true }; # the last
    e = ( [ 1, 2L ], -3.5e1 )`;
  const read = parseDescription(text);
  assert.equal(read.get('a'), 'one t"woA');
  assert.deepEqual(
    read.get('b'),
    new Map([
      ['c', '0x1F'],
      ['d', 'true'],
    ]),
  );
  assert.deepEqual(read.get('e'), [['1', '2L'], '-3.5e1']);
});

test('a description that is cut off, nested too deeply or ambiguous names its line', () => {
  for (const [text, said] of [
    ['a = {\n b = 1;\n', /near line 3: " ": want NAME = VALUE/u],
    ['a = 1;\na = 2;', /near line 2: "a": it stands twice/u],
    ['a = ( 1,\n', /near line 2: "": want a value/u],
    ['a = `;', /near line 1: "`": unexpected/u],
    ['@include "b"', /near line 1: "@": unexpected/u],
    [`a = ${'('.repeat(100)}`, /too deeply nested/u],
    ['"a', /near line 1: "\\"": unexpected/u],
  ] as const) {
    assert.throws(() => parseDescription(text), said);
  }
});
