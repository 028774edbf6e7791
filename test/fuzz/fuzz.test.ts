/**
 * A short run of every fuzz target with a fixed seed, and everything that was kept from long ones.
 * `npm run fuzz` runs them for longer.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { runCampaign, type CampaignOptions } from './campaign.ts';
import { BlockCoverage } from './coverage.ts';
import { KEPT_CORPUS, readCorpus } from './corpus-files.ts';
import type { FuzzTarget } from './target.ts';
import { TARGETS } from './targets.ts';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const BUILD = fileURLToPath(new URL('../tee/build/fuzz/', import.meta.url));
const found = mkdtempSync(join(tmpdir(), 'fuzz-'));
after(() => {
  rmSync(found, { recursive: true });
});

/** Seeds and corpus run whole; then as many changed inputs as there is time for. */
const SHORT: CampaignOptions = {
  seed: 1,
  maxInputs: Infinity,
  maxMs: 2000,
  corpus: [],
  directory: found,
  hangMs: 20_000,
};

describe('a short run finds nothing', () => {
  for (const target of TARGETS) {
    test(`${target.name}: seeds, the corpus and two seconds of changes`, async () => {
      const corpus = readCorpus(KEPT_CORPUS, target.name);
      const { inputs, failures } = await runCampaign(target, { ...SHORT, corpus });

      for (const { error } of failures) throw error;
      assert.ok(inputs > corpus.length);
      assert.deepEqual(target.unreached?.() ?? [], []);
    });
  }

  for (const name of ['wire-answer', 'cryptoki-templates']) {
    test(`${name}: the C library, sanitized, with the corpus and changes of it`, () => {
      const made = spawnSync('make', ['-s', '-C', HERE, `../tee/build/fuzz/${name}`], {
        encoding: 'utf8',
      });
      assert.equal(made.status, 0, made.stderr);
      const corpus = join(KEPT_CORPUS, name);
      const files = readdirSync(corpus).map((file) => join(corpus, file));
      const failed = join(found, name);

      const run = spawnSync(`${BUILD}${name}`, ['1', '20000', failed, ...files], {
        encoding: 'utf8',
        timeout: 60_000,
      });

      assert.equal(run.status, 0, `${run.stderr}\nthe input is in ${failed}`);
      assert.equal(run.stdout, `${String(20_000 + files.length)} inputs\n`);
    });
  }
});

/** One byte after another has to be right: nobody gets there in one step. */
const BRANCHES = `
  export function branch(input) {
    if (input[0] !== 0x51) return;
    if (input[1] !== 0x52) return;
    if (input[2] !== 0x53) return;
    throw new Error('reached');
  }
`;

describe('the runner', () => {
  /** Fails for inputs with a 0x7f in them that are longer than four bytes. */
  const fragile: FuzzTarget = {
    name: 'fragile',
    seeds: () => [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)],
    run(input) {
      if (input.length > 4 && input.includes(0x7f)) throw new RangeError('0x7f');
      return [String(input.length)];
    },
  };

  test('finds a failure once, makes its input small and saves it', async () => {
    const { failures } = await runCampaign(fragile, { ...SHORT, maxInputs: 20_000 });

    const [failure, ...others] = failures;
    assert.ok(failure);
    assert.deepEqual(others, []);
    assert.ok(failure.error instanceof RangeError);
    const saved = readFileSync(failure.file);
    assert.equal(saved.length, 5);
    assert.ok(saved.includes(0x7f));
    assert.match(failure.replay, /^npm run fuzz -- --target fragile --replay /u);
  });

  test('does the same for the same seed, and something else for another', async () => {
    const inputsOf = async (seed: number): Promise<readonly string[]> => {
      const inputs: string[] = [];
      const target: FuzzTarget = {
        ...fragile,
        run: (input) => (inputs.push(Buffer.from(input).toString('hex')), []),
      };
      await runCampaign(target, { ...SHORT, seed, maxInputs: 500 });
      return inputs;
    };

    const first = await inputsOf(1);

    assert.equal(first.length, 500);
    assert.deepEqual(await inputsOf(1), first);
    assert.notDeepEqual(await inputsOf(2), first);
  });

  test('keeps inputs that execute something new although their outcome is known', async () => {
    const file = join(found, 'branches.mjs');
    writeFileSync(file, BRANCHES);
    const coverage = new BlockCoverage(/branches\.mjs$/u);
    const { branch } = (await import(file)) as { branch: (input: Uint8Array) => void };
    const target: FuzzTarget = {
      name: 'branches',
      seeds: () => [Uint8Array.of(0, 0, 0)],
      run: (input) => (branch(input), []),
    };
    const options = { ...SHORT, maxInputs: 50_000 };

    const guided = await runCampaign(target, { ...options, coverage });
    coverage.close();
    const blind = await runCampaign(target, options);

    assert.match(String(guided.failures[0]?.error), /reached/u);
    assert.deepEqual(blind.failures, []);
    assert.equal(blind.corpusInputs, 1);
  });

  test('ends a process whose input takes too long, and keeps the input', () => {
    const program = `
      import { runCampaign } from ${JSON.stringify(new URL('campaign.ts', import.meta.url).href)};
      const target = {
        name: 'endless',
        seeds: () => [Uint8Array.of(42)],
        run: () => { for (;;); },
      };
      await runCampaign(target, { seed: 1, maxInputs: 1, maxMs: 60000, corpus: [],
        directory: ${JSON.stringify(found)}, hangMs: 300 });
    `;
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      timeout: 30_000,
    });

    assert.equal(run.signal, 'SIGKILL');
    assert.match(run.stderr, /took longer than 300 ms/u);
    assert.deepEqual(readFileSync(join(found, 'endless-hang')), Buffer.of(42));
  });
});
