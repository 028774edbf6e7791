import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';
import { parse } from 'smol-toml';

import { keyText, locateKeys } from '../../agent/config-lines.ts';

const DOCUMENT = String.raw`# a comment with [table] and key = 1
title = "x # y" # comment
[gateway] # [not.a.table]
url = 'https://x/#[a]'
"time\u006fut" = """
[fake]
fake = "\""" still inside"
"""""
note = '''
ca = 'no'
'''
[ "installer" . slots ]
a.path = "/dev/a"
list = [ # ]
  1979-05-27 07:32:00, "]",
  { x = 1, y.z = [2] },
]
[[unit]]
name = 1
[[unit]]
name = 2
`;

test('points at tables, dotted, quoted and nested keys (TOML v1.0.0 "Keys")', () => {
  parse(DOCUMENT);
  assert.deepEqual(
    [...locateKeys(DOCUMENT)],
    [
      ['title', 2],
      ['gateway', 3],
      ['gateway.url', 4],
      ['gateway.timeout', 5],
      ['gateway.note', 9],
      ['installer', 12],
      ['installer.slots', 12],
      ['installer.slots.a', 13],
      ['installer.slots.a.path', 13],
      ['installer.slots.list', 14],
      ['installer.slots.list.x', 16],
      ['installer.slots.list.y', 16],
      ['installer.slots.list.y.z', 16],
      ['unit', 18],
      ['unit[0]', 18],
      ['unit.name', 19],
      ['unit[0].name', 19],
      ['unit[1]', 20],
      ['unit[1].name', 21],
    ],
  );
});

test('counts lines that end in CR LF once', () => {
  assert.equal(locateKeys('a = 1\r\n\r\nb = 2\r\n').get('b'), 3);
});

test('writes a path as TOML would, with quotes only where they are needed', () => {
  assert.equal(keyText(['gateway', 'director_url']), 'gateway.director_url');
  assert.equal(keyText(['gate.way', '', 'é"\x7f']), String.raw`"gate.way".""."é\"\u007f"`);
});

const name = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9_-]{1,6}$/),
  fc.string({ unit: 'grapheme', maxLength: 4 }),
  fc.constantFrom('__proto__', 'constructor', '', 'a.b', '#', '=', ']'),
);
const spelled = (key: string, literally: boolean): string =>
  literally && /^[\x20-\x26\x28-\x7e]*$/.test(key) ? `'${key}'` : keyText([key]);

/** A value in one of TOML's spellings that could be taken for something else; some span lines. */
const value = fc.constantFrom(
  '1',
  'true',
  '"a = 1 # \\" ["',
  "'[x] # \\'",
  '"""\nx = 1\n[y]\n\\"""\n"""',
  "'''\n# '' \nz = 2'''''",
  '[1, # [\n "]", [2]\n]',
  '[\n\n]',
  '{}',
  '1979-05-27 07:32:00Z',
  '-0.1e+5',
);

const written = fc.array(
  fc.record({
    table: name,
    literally: fc.boolean(),
    before: fc.constantFrom('', '# [c]\n', '\n\n', '  '),
    header: fc.boolean(),
    keys: fc.uniqueArray(name, { minLength: 1, maxLength: 3 }),
    value,
  }),
  { maxLength: 6 },
);

test('finds the line of every key, however the document is spelled', () => {
  fc.assert(
    fc.property(written, (tables) => {
      const expected = new Map<string, number>();
      let text = '';
      const put = (path: readonly string[]): void => {
        const line = text.split('\n').length;
        path.forEach((_, index) => {
          const key = keyText(path.slice(0, index + 1));
          if (!expected.has(key)) expected.set(key, line);
        });
      };
      const unique = new Map(tables.map((table) => [table.table, table]));
      // Dotted keys at the root belong before the first header.
      const ordered = [...unique.values()].sort((a, b) => Number(a.header) - Number(b.header));
      for (const { table, literally, before, header, keys, value: spelling } of ordered) {
        text += before;
        if (header) {
          put([table]);
          text += `[${spelled(table, literally)}]\n`;
        }
        for (const key of keys) {
          const path = [table, key];
          put(path);
          const left = header ? [key] : path;
          text += `${left.map((one) => spelled(one, literally)).join(' . ')} = ${spelling} # e\n`;
        }
      }
      parse(text);
      assert.deepEqual(locateKeys(text), expected);
    }),
  );
});

test('neither throws nor hangs on text that is not TOML', () => {
  const fragment = fc.constantFrom('[', ']', '{', '}', '"', "'", '"""', '=', 'a', '.', '\n', ',');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(fragment).map((some) => some.join('')),
      ),
      (text) => {
        for (const line of locateKeys(text).values()) {
          assert.ok(line >= 1 && line <= text.split('\n').length);
        }
      },
    ),
    { numRuns: 1000 },
  );
});
