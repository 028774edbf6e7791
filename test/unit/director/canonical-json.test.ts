import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import {
  canonicalJson,
  escapedCanonicalJson,
  type Json,
  type JsonMap,
} from '../../director/json/canonical-json.ts';

const VECTORS = join(import.meta.dirname, '../../vectors/uptane');

const json = fc
  .jsonValue({ maxDepth: 4 })
  .map((value) => JSON.parse(JSON.stringify(value)) as Json);

describe('canonical JSON of the Director', () => {
  test('says the same as what it was made from', () => {
    fc.assert(
      fc.property(json, (value) => {
        fc.pre(isExact(value));
        assert.deepEqual(JSON.parse(canonicalJson(value)), value);
        assert.deepEqual(JSON.parse(escapedCanonicalJson(value)), value);
      }),
    );
  });

  test('does not depend on the order of names', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.integer()), (map) => {
        const reversed = Object.fromEntries(Object.entries(map).reverse());
        assert.equal(canonicalJson(map), canonicalJson(reversed));
      }),
    );
  });

  test('sorts names by their bytes, also where UTF-16 would sort otherwise', () => {
    const map = { '\u{1f680}': 1, '\uffee': 2, b: 3, B: 4, '': 5 };
    assert.equal(canonicalJson(map), '{"":5,"B":4,"b":3,"\uffee":2,"\u{1f680}":1}');
  });

  test('keeps names that look like numbers or like the prototype in order', () => {
    const map = JSON.parse('{"b":0,"10":1,"9":2,"__proto__":3}') as JsonMap;
    assert.equal(canonicalJson(map), '{"10":1,"9":2,"__proto__":3,"b":0}');
  });

  test('escapes as JSON does, unlike the canonical form of the TUF specification', () => {
    assert.equal(canonicalJson('a\n"\\/\u0001é'), '"a\\n\\"\\\\/\\u0001é"');
    assert.equal(escapedCanonicalJson('é\u{1f680}'), '"\\u00e9\\ud83d\\ude80"');
  });

  test('refuses numbers that two readers could read differently', () => {
    for (const number of [2 ** 53, -(2 ** 53), Infinity, NaN]) {
      assert.throws(() => canonicalJson({ number }), RangeError);
    }
  });

  test('writes the files of the field byte for byte', () => {
    let compared = 0;
    for (const file of fieldFiles()) {
      const text = readFileSync(file, 'utf8').trim();
      // Some roots were signed by hand there, and are indented.
      if (text.includes('\n')) continue;
      const value = JSON.parse(text) as Json;
      const form = text.includes('\\u') ? escapedCanonicalJson(value) : canonicalJson(value);
      assert.equal(form, text, file);
      compared += 1;
    }
    assert.ok(compared > 100, `only ${String(compared)} files were compared`);
  });
});

/** Metadata that uptane-generator wrote and left well-formed. */
function fieldFiles(): readonly string[] {
  return readdirSync(VECTORS, { withFileTypes: true, recursive: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.json') && entry.name !== 'vector.json',
    )
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => /\/g\d\d-[^/]*\/steps\//u.test(path));
}

function isExact(value: Json): boolean {
  try {
    canonicalJson(value);
    return true;
  } catch {
    return false;
  }
}
