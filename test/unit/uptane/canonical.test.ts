import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { parseJson, type Json } from '../../../agent/decode.ts';
import { canonicalText } from '../../../agent/json-text.ts';
import {
  CanonicalForms,
  canonicalJson,
  matchesHashes,
  signedText,
} from '../../../agent/uptane/canonical.ts';
import { canonical, hashesOf } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';

const parse = (text: string): Json => parseJson(Buffer.from(text), 'doc');
const utf8 = (text: string): string => Buffer.from(canonicalJson(parse(text))).toString();

const forms = (text: string): readonly string[] =>
  Array.from(new CanonicalForms(canonicalText(Buffer.from(text), 'doc')), (form) =>
    Buffer.from(form).toString(),
  );

/** JSON values without fractions, whose names and strings may be anything well-formed. */
const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.string({ unit: 'binary' }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ unit: 'binary', maxLength: 6 }), tie('value'), { maxKeys: 6 }),
  ),
})).value;

describe('canonicalJson', () => {
  test('sorts names by code point, not as UTF-16 does', () => {
    assert.equal(
      utf8('{"b":1,"\\ud83d\\ude80":2,"\\ue000":3,"a":4,"10":5,"9":6}'),
      '{"10":5,"9":6,"a":4,"b":1,"\ue000":3,"\u{1f680}":2}',
    );
  });

  test('keeps unknown fields, drops white space, keeps the order of arrays', () => {
    assert.equal(
      utf8(' { "z" : [ 3 , 1 ] , "x-new" : { "k" : null } } '),
      '{"x-new":{"k":null},"z":[3,1]}',
    );
  });

  test('escapes as JSON.stringify does, so that PEM keys keep their \\n', () => {
    assert.equal(utf8('"a\\nb\\t\\u0001\\/\\"\\\\\\u007f"'), '"a\\nb\\t\\u0001/\\"\\\\\u007f"');
  });

  test('agrees with the canonical JSON that the tests sign with, which was written apart from it', () => {
    fc.assert(
      fc.property(values, (value) => {
        assert.equal(utf8(JSON.stringify(value)), canonical(JSON.parse(JSON.stringify(value))));
      }),
    );
  });
});

test('a document of our own with half a character in it is refused, not sent', () => {
  throwsCode(() => canonicalJson(['\ud800']), 'METADATA_MALFORMED', {
    path: 'document@1',
    want: 'no lone surrogate',
  });
});

describe('CanonicalForms', () => {
  test('has a second form with lower-case escapes, only where there is something to escape', () => {
    const [first, second] = forms('{"n":"gr\\u00fc\\u00df \\ud83d\\ude80 \\u20ac\\n"}');
    assert.equal(first, '{"n":"grüß \u{1f680} €\\n"}');
    assert.equal(second, '{"n":"gr\\u00fc\\u00df \\ud83d\\ude80 \\u20ac\\n"}');
    assert.equal(forms('{"n":"plain"}').length, 1);
  });

  test('escapes the first and the last character of each length in UTF-8', () => {
    const escapes = {
      '\u0080': '\\u0080',
      '\u07ff': '\\u07ff',
      '\u0800': '\\u0800',
      '\uffff': '\\uffff',
      '\u{10000}': '\\ud800\\udc00',
      '\u{10ffff}': '\\udbff\\udfff',
    };
    for (const [character, escape] of Object.entries(escapes)) {
      assert.deepEqual(forms(`"${character}"`), [`"${character}"`, `"${escape}"`]);
      assert.equal(forms(`"\u007f${character}~"`)[1], `"\u007f${escape}~"`);
    }
  });

  test('does not change what it wrote itself, in either form', () => {
    fc.assert(
      fc.property(values, (value) => {
        const once = forms(JSON.stringify(value));
        for (const form of once) assert.deepEqual(forms(form), once);
      }),
    );
  });
});

test('what no parser lets through has no signed part, which is an error of ours', () => {
  for (const text of ['[]', '{}', '1']) {
    throwsCode(() => signedText(Buffer.from(text)), 'BUG', { what: 'no envelope' });
  }
});

describe('matchesHashes', () => {
  const pretty = '{\n  "b": 2,\n  "a": "\\u00fc"\n}';
  const document = new CanonicalForms(canonicalText(Buffer.from(pretty), 'doc'));
  const listed = (content: string): ReadonlyMap<'sha256', string> =>
    new Map([['sha256', hashesOf(content).sha256]]);
  const matches = (content: string): boolean =>
    matchesHashes(listed(content), Buffer.from(pretty), document);

  test('takes the hash of the bytes as received, or of either canonical form (S2, G2)', () => {
    assert.equal(matches(pretty), true);
    assert.equal(matches('{"a":"ü","b":2}'), true);
    assert.equal(matches('{"a":"\\u00fc","b":2}'), true);
  });

  test('refuses any other (S2, G2)', () => {
    assert.equal(matches('{"a":"ü","b":3}'), false);
  });

  test('wants every listed hash of one and the same form', () => {
    const raw = hashesOf(pretty).sha256;
    const other = hashesOf('{"a":"ü","b":2}').sha512;
    const mixed = new Map([
      ['sha256', raw],
      ['sha512', other],
    ] as const);
    assert.equal(matchesHashes(mixed, Buffer.from(pretty), document), false);
  });
});
