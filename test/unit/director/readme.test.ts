import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { COMMANDS } from '../../director/cli/commands.ts';
import { faultTable } from '../../director/faults.ts';

const README = readFileSync(join(import.meta.dirname, '../../director/README.md'), 'utf8');

describe('the README of the Director', () => {
  test('lists exactly the faults there are', () => {
    const rows = README.slice(README.indexOf('| fault ')).trim();
    assert.equal(unpadded(rows), unpadded(faultTable()));
  });

  test('shows every command of the command line', () => {
    for (const [name, { usage }] of Object.entries(COMMANDS)) {
      assert.ok(README.includes(`\n${`${name} ${usage}`.trimEnd()}\n`), name);
    }
  });
});

/** The formatter aligns tables; what they say is the same. */
function unpadded(table: string): string {
  return table
    .split('\n')
    .filter((line) => !/^[|\s-]+$/u.test(line))
    .map((line) => line.replaceAll(/\s+/gu, ' ').replaceAll('| |', '||'))
    .join('\n');
}
