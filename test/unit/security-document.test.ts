/** What SECURITY.md says is proven, and by which test. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '../..');
const text = readFileSync(join(ROOT, 'SECURITY.md'), 'utf8');

/** Uptane Standard 2.1 §4.3. */
const ATTACKS = [
  'eavesdrop',
  'drop request',
  'slow retrieval',
  'freeze',
  'partial bundle installation',
  'roll-back',
  'endless data',
  'mix and match',
  'arbitrary software',
];

const rows = text
  .split('\n')
  .map((line) => /^\| ([^|]+?) +\|.*\| `(test\/[^`]+)` "([^"]+)" *\|$/u.exec(line))
  .filter((row) => row !== null)
  .map(([, attack = '', file = '', title = '']) => ({ attack, file, title }));

test('SECURITY.md answers every attack that the Standard names (§4.3)', () => {
  const answered = rows.map(({ attack }) => attack);
  assert.deepEqual(
    ATTACKS.filter((attack) => !answered.includes(attack)),
    [],
  );
});

for (const { attack, file, title } of rows) {
  test(`SECURITY.md names a test that is there for “${attack}”`, () => {
    const path = join(ROOT, file);
    assert.ok(existsSync(path), file);
    assert.ok(readFileSync(path, 'utf8').includes(title), `${file} has no “${title}”`);
  });
}

test('every row of the table of attacks is read', () => {
  const table = text.slice(text.indexOf('## Each attack'), text.indexOf('## Duties'));
  const lines = table.split('\n').filter((line) => line.startsWith('|'));
  assert.equal(rows.length, lines.length - 2);
});
