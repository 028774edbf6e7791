/** Canonical text and the views into what was read: both against JSON.parse and another writer. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { parseJson } from '../../agent/decode.ts';
import { isOtaError } from '../../agent/errors.ts';
import { canonicalText } from '../../agent/json-text.ts';
import { ArrayView, ObjectView, view, type JsonView } from '../../agent/json-view.ts';
import { olpcForm } from '../../agent/uptane/tuf-canonical.ts';
import { canonical } from '../support/build-metadata.ts';
import { throwsCode } from '../support/expect-code.ts';
import { olpc } from '../support/tuf-keys.ts';

const text = (json: string): string =>
  Buffer.from(canonicalText(Buffer.from(json), 'doc')).toString();

/** Characters that escapes, sorting and quoting get wrong. */
const unit = fc.constantFrom(
  ...Array.from('"\\/!#[ab\u0001\b\t\n\f\r\u001f\u007f\u00fc\ue000\u{1f680}'),
);
const string = fc.oneof(fc.string({ unit, maxLength: 4 }), fc.string({ unit: 'binary' }));
const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    string,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(string, tie('value'), { maxKeys: 8, noNullPrototype: true }),
  ),
})).value;

/** The same value, written in as many ways as JSON has: order, white space, escapes. */
const written = fc.tuple(values, fc.infiniteStream(fc.nat())).map(([value, stream]) => {
  const choose = (count: number): number => Number(stream.next().value) % count;
  return { value, json: write(value, choose) };
});

describe('canonicalText', () => {
  test('is the same for every way to write a value, and what another writer makes of it (R8)', () => {
    fc.assert(
      fc.property(written, ({ value, json }) => {
        assert.equal(text(json), canonical(value));
      }),
      { numRuns: 500 },
    );
  });

  test('is stable: the canonical form of a canonical form is itself', () => {
    fc.assert(
      fc.property(written, ({ json }) => {
        const once = canonicalText(Buffer.from(json), 'doc');
        assert.equal(canonicalText(once, 'doc'), once);
      }),
    );
  });

  test('gives OLPC canonical JSON, with characters for escapes', () => {
    fc.assert(
      fc.property(written, ({ value, json }) => {
        const form = olpcForm(canonicalText(Buffer.from(json), 'doc'));
        assert.equal(Buffer.from(form).toString(), olpc(value));
      }),
    );
  });

  test('refuses two equal names wherever they are and however they are spelt', () => {
    fc.assert(
      fc.property(fc.dictionary(string, values, { minKeys: 1, maxKeys: 8 }), fc.nat(), (map, n) => {
        const names = Object.keys(map);
        const again = names[n % names.length] ?? '';
        const members = [...names, again].map((name, i) => `${spelt(name, () => i)}:0`);
        assert.throws(
          () => text(`{${members.join(',')}}`),
          (error) =>
            isOtaError(error) &&
            error.code === 'METADATA_MALFORMED' &&
            error.details.want === 'each name once',
        );
      }),
    );
  });

  test('says where the second of two names is that are far apart', () => {
    throwsCode(() => text('{"b":1,"c":2,"a":3,"\\u0063":4}'), 'METADATA_MALFORMED', {
      path: 'doc@19',
      want: 'each name once',
    });
  });

  const many = (count: number, name: (i: number) => string): string =>
    `{${Array.from({ length: count }, (_, i) => `"${name(i)}":0`).join(',')}}`;

  test('takes any 1024 members, and more where they are as long as those of metadata', () => {
    text(many(1024, String));
    text(many(5000, (i) => `some/directory/file-${String(i)}`));
    throwsCode(() => text(`[${many(1025, String)}]`), 'METADATA_MALFORMED', {
      path: 'doc@1',
      want: 'at most 1024 members as short as these',
    });
  });

  for (const [what, json, at, want] of [
    ['half a surrogate pair', '"\\ud800\\u0041"', 0, 'no lone surrogate'],
    ['half a surrogate pair before a broken escape', '"\\ud800\\uzzzz"', 8, 'a known escape'],
    ['-', '[-]', 1, 'a JSON value'],
    ['a number of many digits', `[${'1'.repeat(1000)}]`, 1, 'an integer within ±(2^53-1)'],
    ['a fraction without digits', '1.', 0, 'an integer within ±(2^53-1)'],
    ['a lone quote', '"', 1, 'the rest of a string'],
    ['a backslash at the end', '"\\', 2, 'a known escape'],
    ['no-break space', '\u00a0{}', 0, 'a JSON value'],
  ] as const) {
    test(`refuses ${what}`, () => {
      throwsCode(() => text(json), 'METADATA_MALFORMED', { path: `doc@${String(at)}`, want });
    });
  }

  test('refuses overlong, surrogate and cut-off UTF-8, of which decoders make different text', () => {
    for (const bytes of [
      [0xc0, 0xaf],
      [0xed, 0xa0, 0x80],
      [0xe2, 0x82],
      [0xf5, 0x80, 0x80, 0x80],
    ]) {
      throwsCode(
        () => canonicalText(Buffer.from([0x22, ...bytes, 0x22]), 'doc'),
        'METADATA_MALFORMED',
        {
          path: 'doc',
          want: 'UTF-8',
        },
      );
    }
  });

  test('has one reading: any byte changed is refused, or JSON.parse reads the same as we do', () => {
    fc.assert(
      fc.property(written, fc.nat(), fc.nat(255), ({ json }, at, byte) => {
        const bytes = Buffer.from(json);
        bytes[at % bytes.length] = byte;
        let form: Uint8Array;
        try {
          form = canonicalText(bytes, 'doc');
        } catch (error) {
          if (isOtaError(error)) return;
          throw error;
        }
        assert.deepEqual(JSON.parse(Buffer.from(form).toString()), JSON.parse(bytes.toString()));
        assert.deepEqual(plain(view(bytes)), JSON.parse(bytes.toString()));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('views', () => {
  test('read what JSON.parse reads', () => {
    fc.assert(
      fc.property(written, ({ value, json }) => {
        assert.deepEqual(plain(view(Buffer.from(json))), value);
      }),
    );
  });

  test('find every member by its name, and no other', () => {
    fc.assert(
      fc.property(written, string, ({ value, json }, other) => {
        const found = view(Buffer.from(json));
        if (!(found instanceof ObjectView)) return;
        const fields = value as Record<string, unknown>;
        for (const name of Object.keys(fields)) {
          assert.deepEqual(plain(found.get(name)), fields[name]);
        }
        if (!Object.hasOwn(fields, other)) assert.equal(found.get(other), undefined);
        assert.equal(found.size, Object.keys(fields).length);
      }),
    );
  });

  test('do not look past the end of a name', () => {
    const found = view(Buffer.from('{"a":1,"a\\":1":2}'));
    assert.ok(found instanceof ObjectView);
    assert.equal(found.get('a":1,"a'), undefined);
    assert.equal(found.get('a":1'), 2);
  });

  test('know the bytes of a member, and the length of an array', () => {
    const found = view(Buffer.from(' { "a" : [ 1 , "]" , { } ] , "b":"x" } '));
    assert.ok(found instanceof ObjectView);
    assert.equal(Buffer.from(found.textOf('a') ?? []).toString(), '[ 1 , "]" , { } ]');
    const array = found.get('a');
    assert.ok(array instanceof ArrayView);
    assert.equal(array.length, 3);
    assert.equal(found.textOf('c'), undefined);
  });
});

test('parseJson keeps the order of names, of whatever length', () => {
  const parsed = parseJson(Buffer.from('{"zeta":{},"10":[],"__proto__":"","2":0}'), 'doc');
  assert.ok(parsed instanceof Map);
  assert.deepEqual([...parsed.keys()], ['zeta', '10', '__proto__', '2']);
});

function write(value: unknown, choose: (count: number) => number): string {
  const space = (): string => ['', '', ' ', '\n\t\r'][choose(4)] ?? '';
  if (typeof value === 'string') return spelt(value, choose);
  if (Array.isArray(value)) {
    const items = value.map((item) => space() + write(item, choose) + space());
    return `[${items.length === 0 ? space() : items.join(',')}]`;
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(
    ([name, item]) =>
      `${space()}${spelt(name, choose)}${space()}:${space()}${write(item, choose)}${space()}`,
  );
  if (choose(2) === 1) members.reverse();
  return `{${members.length === 0 ? space() : members.join(',')}}`;
}

/** A string with some of its characters in escapes that are not needed. */
function spelt(value: string, choose: (count: number) => number): string {
  const units = value.split('').map((each, i) => {
    const pair = isSurrogate(each) || isSurrogate(value.charAt(i + 1));
    // Half of a pair in UTF-8 would be no UTF-8.
    const must = each === '"' || each === '\\' || each < ' ' || isSurrogate(each);
    if (!must && (pair || choose(3) > 0)) return each;
    if (each === '/' && choose(2) === 1) return '\\/';
    const hex = each.charCodeAt(0).toString(16).padStart(4, '0');
    return `\\u${choose(2) === 1 ? hex.toUpperCase() : hex}`;
  });
  return `"${units.join('')}"`;
}

function isSurrogate(unitOfText: string): boolean {
  return unitOfText >= '\ud800' && unitOfText <= '\udfff';
}

function plain(value: JsonView | undefined): unknown {
  if (value instanceof ArrayView) return Array.from(value, plain);
  if (!(value instanceof ObjectView)) return value;
  const fields = {};
  for (const [name, item] of value) {
    const member = { value: plain(item), enumerable: true, configurable: true, writable: true };
    Object.defineProperty(fields, name, member);
  }
  return fields;
}
