/** Programs for developers: each says what it takes. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';

const ROOT = join(import.meta.dirname, '..', '..');
const PROGRAMS = [
  'test/demo/main.ts',
  'test/demo/staging-device.ts',
  'test/director/main.ts',
  'test/fleet/main.ts',
  'test/fuzz/runner.ts',
  'test/crash/matrix.ts',
  'test/power/system-calls.ts',
  'test/power/blocks/main.ts',
  'test/bench/footprint.bench.ts',
];

interface Said {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

const run = (program: string, option: string): Promise<Said> =>
  new Promise((resolve) => {
    execFile(process.execPath, [join(ROOT, program), option], (error, stdout, stderr) => {
      resolve({ exit: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });

describe('a program for developers', () => {
  for (const program of PROGRAMS) {
    test(`${program} says what it takes when it is asked, and when it is used wrongly`, async () => {
      const options = ['--help', '--no-such-option'];
      const [asked, wrong] = await Promise.all(options.map((option) => run(program, option)));
      assert.equal(asked?.exit, 0, asked?.stderr);
      assert.match(asked.stdout, /^usage: /u);
      assert.equal(wrong?.exit, 2, wrong?.stderr);
      assert.match(wrong.stderr, /no-such-option[^]*(?:usage: |--help)/u);
      assert.doesNotMatch(wrong.stderr, /^ +at /mu, 'no stack');
    });
  }
});
