import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { Fields, parseJson, type Json } from '../../agent/decode.ts';
import { isOtaError } from '../../agent/errors.ts';
import { throwsCode } from '../support/expect-code.ts';

const parse = (text: string): Json => parseJson(Buffer.from(text), 'doc');

describe('parseJson', () => {
  const INTEGER = 'an integer within ±(2^53-1)';
  const refused: Readonly<Record<string, readonly [text: string, at: number, want: string]>> = {
    'a name given twice, of which parsers take the first or the last': [
      '{"a":1,"a":2}',
      7,
      'each name once',
    ],
    'a name given twice, once in escapes': ['{"a":1,"\\u0061":2}', 7, 'each name once'],
    '2^53, which many numbers round to': ['9007199254740992', 0, INTEGER],
    '2^53+1, which JSON.parse changes': ['{"v":9007199254740993}', 5, INTEGER],
    'a fraction': ['[1.0]', 1, INTEGER],
    'an exponent': ['1e3', 0, INTEGER],
    'minus zero': ['-0', 0, INTEGER],
    'a lone surrogate': ['"\\ud800"', 0, 'no lone surrogate'],
    'surrogates in the wrong order': ['"\\udc00\\ud800"', 0, 'no lone surrogate'],
    'a byte order mark': ['\ufeff{}', 0, 'a JSON value'],
    'anything after the document': ['{}{}', 2, 'nothing more'],
    'an empty document': ['', 0, 'a JSON value'],
    'a comma at the end of an object': ['{"a":1,}', 7, 'a string'],
    'a comma at the end of an array': ['[1,]', 3, 'a JSON value'],
    'a missing colon': ['{"a" 1}', 5, 'a colon'],
    'an unfinished object': ['{"a":1', 6, 'a comma or }'],
    'an unfinished string': ['"abc', 4, 'the rest of a string'],
    'a raw line feed in a string': ['"a\nb"', 2, 'the rest of a string'],
    'an unknown escape': ['"\\x41"', 2, 'a known escape'],
    'a short escape': ['"\\u12"', 2, 'a known escape'],
    'a leading zero': ['01', 1, 'nothing more'],
    'a plus sign': ['+1', 0, 'a JSON value'],
    NaN: ['NaN', 0, 'a JSON value'],
    'a truncated literal': ['tru', 0, 'a JSON value'],
    'HTML of a captive portal': ['<html>', 0, 'a JSON value'],
  };
  for (const [what, [text, at, want]] of Object.entries(refused)) {
    test(`refuses ${what}`, () => {
      throwsCode(() => parse(text), 'METADATA_MALFORMED', { path: `doc@${String(at)}`, want });
    });
  }

  test('refuses bytes that are not UTF-8', () => {
    const bytes = Buffer.from([0x22, 0xc3, 0x28, 0x22]);
    throwsCode(() => parseJson(bytes, 'doc'), 'METADATA_MALFORMED', { path: 'doc', want: 'UTF-8' });
  });

  test('refuses nesting that would exhaust the stack, and takes 64 levels', () => {
    const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
    parse(nested(64));
    for (const levels of [65, 100_000]) {
      throwsCode(() => parse(nested(levels)), 'METADATA_MALFORMED', {
        path: 'doc@64',
        want: 'nesting of at most 64 levels',
      });
    }
  });

  test('takes the largest and the smallest safe integer', () => {
    assert.deepEqual(parse('[9007199254740991,-9007199254740991]'), [
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
    ]);
  });

  test('keeps the order of names, also of those that look like numbers or prototypes', () => {
    const parsed = parse('{"zeta":1,"10":2,"__proto__":3,"2":4}');
    assert.ok(parsed instanceof Map);
    assert.deepEqual([...parsed.keys()], ['zeta', '10', '__proto__', '2']);
  });

  test('agrees with JSON.parse about every document that both take', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), (text) => {
        const ours = attempt(() => plain(parse(text)));
        if (ours !== undefined) assert.deepEqual(ours.value, JSON.parse(text));
      }),
    );
  });

  test('takes no text that JSON.parse refuses', () => {
    const token = fc.constantFrom('{', '}', '[', ']', ':', ',', '"', '\\', 'u0041', '1', '-', ' ');
    fc.assert(
      fc.property(fc.array(token, { maxLength: 12 }), (tokens) => {
        const text = tokens.join('');
        if (attempt(() => parse(text)) !== undefined) JSON.parse(text);
      }),
      { numRuns: 2000 },
    );
  });

  test('never throws anything but OtaError, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        attempt(() => parseJson(bytes, 'doc'));
      }),
    );
  });
});

describe('Fields', () => {
  const fields = (text: string): Fields => new Fields(parse(text), 'doc');

  test('reads each type by name', () => {
    const all = fields('{"o":{"x":1},"s":"t","i":7,"b":false,"l":["a","b"],"os":[{"x":2}]}');
    assert.equal(all.object('o').integer('x', 0), 1);
    assert.equal(all.string('s'), 't');
    assert.equal(all.integer('i', 7), 7);
    assert.equal(all.boolean('b'), false);
    assert.deepEqual(all.strings('l'), ['a', 'b']);
    assert.deepEqual(
      all.objects('os').map((each) => each.integer('x', 0)),
      [2],
    );
  });

  test('reads plain objects as it reads parsed ones', () => {
    assert.equal(new Fields({ a: { b: 'c' } }, 'row').object('a').string('b'), 'c');
  });

  test('takes absent and null for none where a field is optional', () => {
    const some = fields('{"n":null,"s":"t","i":0,"b":true,"o":{}}');
    assert.deepEqual(
      [some.optionalString('n'), some.optionalString('absent'), some.optionalString('s')],
      [undefined, undefined, 't'],
    );
    assert.deepEqual([some.optionalInteger('n', 0), some.optionalInteger('i', 0)], [undefined, 0]);
    assert.deepEqual([some.optionalBoolean('n'), some.optionalBoolean('b')], [undefined, true]);
    assert.equal(some.optionalObject('n'), undefined);
    assert.equal(some.optionalObject('o')?.path, 'doc.o');
  });

  const wrong: readonly (readonly [text: string, (read: Fields) => unknown, string, string])[] = [
    ['{"a":1}', (read) => read.string('a'), 'doc.a', 'a string'],
    ['{"a":"1"}', (read) => read.integer('a', 0), 'doc.a', 'an integer of at least 0'],
    ['{"a":0}', (read) => read.integer('a', 1), 'doc.a', 'an integer of at least 1'],
    ['{"a":1}', (read) => read.boolean('a'), 'doc.a', 'true or false'],
    ['{"a":[]}', (read) => read.object('a'), 'doc.a', 'an object'],
    ['{"a":null}', (read) => read.object('a'), 'doc.a', 'an object'],
    ['{"a":{}}', (read) => read.strings('a'), 'doc.a', 'an array'],
    ['{"a":["x",1]}', (read) => read.strings('a'), 'doc.a[1]', 'a string'],
    ['{"a":[{},"x"]}', (read) => read.objects('a'), 'doc.a[1]', 'an object'],
    ['{"a":{"b":2}}', (read) => [...read.object('a').members()], 'doc.a.b', 'an object'],
    ['{"a":{"b":2}}', (read) => read.object('a').string('b'), 'doc.a.b', 'a string'],
    ['{"a":1}', (read) => read.optionalString('a'), 'doc.a', 'a string'],
  ];
  for (const [text, read, path, want] of wrong) {
    test(`says where ${text} is wrong: ${path} should be ${want}`, () => {
      throwsCode(() => read(fields(text)), 'METADATA_MALFORMED', { path, want });
    });
  }

  test('is made of objects only', () => {
    for (const text of ['[]', 'null', '1', '"x"']) {
      throwsCode(() => fields(text), 'METADATA_MALFORMED', { path: 'doc', want: 'an object' });
    }
  });
});

/** Plain objects, to compare with those of `JSON.parse`. */
function plain(value: Json): unknown {
  if (value instanceof Map) {
    const fields: Record<string, unknown> = {};
    for (const [name, item] of value as ReadonlyMap<string, Json>) {
      Object.defineProperty(fields, name, {
        value: plain(item),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    return fields;
  }
  return Array.isArray(value) ? (value as readonly Json[]).map(plain) : value;
}

/** The value, or `undefined` after an expected refusal; anything else fails the test. */
function attempt<T>(act: () => T): { readonly value: T } | undefined {
  try {
    return { value: act() };
  } catch (error) {
    if (isOtaError(error)) return undefined;
    throw error;
  }
}
