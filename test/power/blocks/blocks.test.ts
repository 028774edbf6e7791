/** A sample of the states of the disk; all of them are for `npm run power-blocks`. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';

import { SECTOR_BYTES, type Entry } from './block-log.ts';
import { crashStates, diskAt } from './crash-states.ts';
import { loggedDiskProblem } from './logged-disk.ts';

const MAIN = join(import.meta.dirname, 'main.ts');

/** In a mount namespace of its own. */
async function powerBlocks(
  ...args: readonly string[]
): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const child = spawn('unshare', ['-m', process.execPath, MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<unknown[]>,
  ]);
  return { code, stdout, stderr };
}

const skip = loggedDiskProblem() ?? false;

for (const [board, cycle] of [
  ['grub', 'trial'],
  ['uboot', 'update'],
] as const) {
  test(
    `wherever power fails between two block writes of the ${cycle}, a board with ${board} boots a whole image and knows which`,
    { skip },
    async (t) => {
      const sample = ['--cycle', cycle, '--every', '37', '--converge', '4'];
      const { code, stdout, stderr } = await powerBlocks('--board', board, ...sample);
      t.diagnostic(stdout);
      assert.equal(code, 0, stderr);
      const row = `^${board} +${cycle} +[1-9]\\d+ +[1-9]\\d+ +[1-9].* [1-9]\\d* +0$`;
      assert.match(stdout, new RegExp(row, 'mu'));
    },
  );
}

test(
  'an environment that grub-editenv writes is found to be lost',
  {
    skip,
  },
  async () => {
    const careless = [
      '--board',
      'careless',
      '--cycle',
      'update',
      '--every',
      '60',
      '--converge',
      '9',
    ];
    const { code, stderr } = await powerBlocks(...careless);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /choice is neither what was promised nor what was begun/u);
  },
);

test('a disk has what it flushed, and any part of what it got after that', () => {
  const write = (sector: number, letters: string): Entry => ({
    offsetBytes: sector * SECTOR_BYTES,
    data: Buffer.concat(Array.from(letters, (letter) => Buffer.alloc(SECTOR_BYTES, letter))),
  });
  const log = [write(0, 'a'), undefined, write(1, 'bc'), write(0, 'd'), undefined];
  const sectorsAt = (disk: Buffer): string =>
    [0, 1, 2].map((sector) => disk.toString('latin1').charAt(sector * SECTOR_BYTES)).join('');
  const found = new Map<string, Set<string>>();
  for (const state of crashStates(log, { mixtures: 64, singles: 8, seed: 1 })) {
    const durable = state.from === 0 ? '---' : state.from === 2 ? 'a--' : 'dbc';
    const before = Buffer.concat(
      Array.from(durable, (letter) => Buffer.alloc(SECTOR_BYTES, letter)),
    );
    const sectors = found.get(state.mode) ?? new Set();
    found.set(state.mode, sectors.add(sectorsAt(diskAt(before, state))));
  }
  assert.deepEqual(found.get('prefix'), new Set(['---', 'a--', 'abc', 'dbc']));
  assert.deepEqual(found.get('torn'), new Set(['ab-']));
  assert.deepEqual(found.get('lost'), new Set(['---', 'a--']));
  assert.deepEqual(found.get('dropped'), new Set(['d--', 'abc']));
  assert.deepEqual(found.get('alone'), new Set(['d--', 'abc']));
  const mixed = ['---', 'a--', 'ab-', 'a-c', 'abc', 'd--', 'db-', 'd-c', 'dbc'];
  assert.deepEqual(found.get('mixed'), new Set(mixed));
});
