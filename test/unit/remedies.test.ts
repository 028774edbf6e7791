import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { handlingOf, isFailureCode, type FailureCode } from '../../agent/errors.ts';
import { remedyOf } from '../../agent/remedies.ts';

const AGENT = join(import.meta.dirname, '../../agent');

/** Every code, from the source: the type is gone when this runs. */
function codes(): readonly FailureCode[] {
  const text = readFileSync(join(AGENT, 'errors.ts'), 'utf8');
  const [, rows = ''] = /const FAILURES[^{]*\{\n(.*?)\n\};/su.exec(text) ?? [];
  return [...rows.matchAll(/^ {2}([A-Z_]+):/gmu)].map(([, code = '']) => {
    assert.ok(isFailureCode(code), code);
    return code;
  });
}

/** Those that a repository or its server is to blame for. */
const refusals = codes().filter((code) => [20, 30, 31].includes(handlingOf(code).exit));

test('every refusal says what a person does about it (P10)', () => {
  assert.ok(refusals.length > 25);
  for (const code of refusals) assert.ok(remedyOf(code, {}).length > 20, code);
});

test('what the place knows goes before the table', () => {
  assert.equal(remedyOf('GATEWAY_ANSWER', { remedy: 'ask them' }), 'ask them');
  assert.notEqual(remedyOf('GATEWAY_ANSWER', { remedy: 7 }), '');
  assert.equal(remedyOf('GATEWAY_TLS', {}), '');
});

test('the table of VERIFY.md is the one of the code', () => {
  const rows = [
    ...readFileSync(join(AGENT, 'VERIFY.md'), 'utf8').matchAll(/^\| `([A-Z_]+)`.*$/gmu),
  ];
  const cells = rows.map(([line]) => line.split('|').map((cell) => cell.trim()));
  assert.deepEqual(
    cells.map(([, code = '', exit, attack, remedy]) => [
      code.replaceAll('`', ''),
      exit,
      attack,
      remedy,
    ]),
    refusals.map((code) => {
      const { exit, attack } = handlingOf(code);
      return [code, String(exit), attack ?? '', remedyOf(code, {})];
    }),
  );
});
