/** The form that TUF signs, from the one that the Uptane dialect signs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { canonicalText } from '../../../agent/json-text.ts';
import { olpcForm } from '../../../agent/uptane/tuf-canonical.ts';

const form = (text: string): string =>
  Buffer.from(olpcForm(canonicalText(Buffer.from(text), 'doc'))).toString();

test('only quotes and backslashes are escaped in OLPC form; every other character is itself', () => {
  assert.equal(form('{"b":1,"a":["x"]}'), '{"a":["x"],"b":1}');
  assert.equal(form('"\\"\\\\\\/"'), '"\\"\\\\/"');
  for (let code = 0; code < 0x20; code += 1) {
    const escape = `\\u00${code.toString(16).padStart(2, '0')}`;
    assert.equal(form(`"a${escape}z"`), `"a${String.fromCharCode(code)}z"`);
  }
  for (const [letter, character] of Object.entries({
    b: '\b',
    f: '\f',
    n: '\n',
    r: '\r',
    t: '\t',
  })) {
    assert.equal(form(`"a\\${letter}${letter}"`), `"a${character}${letter}"`);
  }
  assert.equal(form('"\\u00fc\\ud83d\\ude80u0041"'), '"ü\u{1f680}u0041"');
});
