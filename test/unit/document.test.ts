/** What reads the commands out of a document has to notice when the document is wrong. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { commandsOf, fencesOf, missingLine, type DocumentCommand } from '../support/document.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const directory = temporaryDirectory('document');
after(() => {
  directory.remove();
});

function read(...lines: readonly string[]): readonly DocumentCommand[] {
  const path = join(directory.path, 'document.md');
  writeFileSync(path, lines.join('\n'));
  return commandsOf(path);
}

test('a command has its heading, its terminal, its line, and the output up to the next one', () => {
  const blocks = ['# T', '```console', '$ a', 'one', '', '$ b \\', '  c', '```'];
  const other = ['## U', '```sh', '$ no', '```', '```console terminal=2', '$ d', '```'];
  assert.deepEqual(read(...blocks, ...other), [
    { line: 3, section: 'T', terminal: '1', text: 'a', output: ['one', ''] },
    { line: 6, section: 'T', terminal: '1', text: 'b \\\n  c', output: [] },
    { line: 14, section: 'U', terminal: '2', text: 'd', output: [] },
  ]);
});

test('a here-document is part of its command, lines that look like commands and headings too', () => {
  const [command, next] = read('```console', "$ cat <<'END'", '# x', '$ y', 'END', '$ z', '```');
  assert.equal(command?.text, "cat <<'END'\n# x\n$ y\nEND");
  assert.equal(next?.text, 'z');
});

test('a block that begins with something else, or ends too early, is refused with its line', () => {
  assert.throws(() => read('```console', 'output'), /:2: a console block begins with a command/);
  assert.throws(
    () => read('```console', "$ cat <<'END'", '```'),
    /line 2: the command does not end/,
  );
});

test('a fence has its language and its lines, and one that would be overlooked is refused', () => {
  const path = join(directory.path, 'document.md');
  writeFileSync(path, ['# T', '```sh x', 'a', '', '```', '```', '```'].join('\n'));
  assert.deepEqual(fencesOf(path), [
    { line: 3, info: 'sh x', lines: ['a', ''] },
    { line: 7, info: '', lines: [] },
  ]);
  for (const fence of ['  ```sh', '~~~', '````sh']) {
    writeFileSync(path, ['text', fence].join('\n'));
    assert.throws(() => fencesOf(path), /:2: a fence is three backticks/);
  }
});

for (const [what, wanted, printed, missing] of [
  ['the same lines', ['a', 'b'], 'a\nb\n', undefined],
  ['nothing is wanted', [], 'anything\n', undefined],
  ['a part of a line that differs each time', ['a … c', 'd …'], 'a b c\nd e\n', undefined],
  ['any lines between', ['a', '…', 'd'], 'a\nb\nc\nd\n', undefined],
  ['any lines before and after', ['…', 'b', '…'], 'a\nb\nc\n', undefined],
  ['another line', ['a', 'b'], 'a\nc\n', 'b'],
  ['a line fewer', ['a', 'b'], 'a\n', 'b'],
  ['a line more', ['a'], 'a\nb\n', 'only that, not: b'],
  ['lines in another order', ['…', 'b', '…', 'a'], 'a\nb\n', 'a'],
  ['a pattern is no regular expression', ['a.c'], 'abc\n', 'a.c'],
] as const) {
  test(`what is printed is held against what is shown: ${what}`, () => {
    assert.equal(missingLine(wanted, printed), missing);
  });
}
