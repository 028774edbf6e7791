/** Fuzzes for as long as it is told to: `npm run fuzz`. It ends with 1 when anything was found. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { programOptions } from '../support/program-options.ts';
import { runCampaign, type CampaignOptions, type CampaignReport } from './campaign.ts';
import { BlockCoverage } from './coverage.ts';
import { addToCorpus, KEPT_CORPUS, readCorpus } from './corpus-files.ts';
import type { FuzzTarget } from './target.ts';

const FOUND = fileURLToPath(new URL('found/', import.meta.url));
const DEFAULT_SECONDS = 60;
const HANG_MS = 10_000;
const MEBIBYTE = 1024 * 1024;

const USAGE = `usage: npm run fuzz -- [--target NAME]... [options]
       npm run fuzz -- [--target NAME]... --merge DIR
       npm run fuzz -- --target NAME --replay FILE

  --target NAME   may be repeated; all by default
  --inputs N      so many for each target
  --seconds S     so long for each target (${String(DEFAULT_SECONDS)}, without --inputs)
  --seed X        of what is drawn (1)
  --keep DIR      writes there what reaches something new
  --no-coverage   does not look at what is reached
  --merge DIR     takes from there what the kept corpus does not reach yet
  --replay FILE   runs that input, and says what came of it`;

const values = programOptions(USAGE, {
  target: { type: 'string', multiple: true },
  inputs: { type: 'string' },
  seconds: { type: 'string' },
  seed: { type: 'string', default: '1' },
  keep: { type: 'string' },
  merge: { type: 'string' },
  replay: { type: 'string' },
  'no-coverage': { type: 'boolean', default: false },
});

const coverage = values['no-coverage'] ? undefined : new BlockCoverage();
const { TARGETS } = await import('./targets.ts');

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const targets = values.target?.map(targetNamed) ?? TARGETS;
if (values.replay !== undefined) replay(targets, values.replay);
else if (values.merge !== undefined) await mergeAll(targets, values.merge);
else await fuzzAll(targets);

async function fuzzAll(chosen: readonly FuzzTarget[]): Promise<void> {
  for (const target of chosen) {
    const heapBefore = heapBytes();
    const report = await runCampaign(target, {
      ...optionsFor(target),
      maxInputs: values.inputs === undefined ? Infinity : whole('inputs', values.inputs),
      maxMs: 1000 * secondsGiven(),
      onKept: (input) => {
        if (values.keep !== undefined) addToCorpus(values.keep, target.name, input);
      },
    });
    print(report, heapBefore);
    for (const missing of target.unreached?.() ?? []) console.log(`  never seen: ${missing}`);
    for (const { error, file, replay: command } of report.failures) {
      console.log(`\n${target.name} failed:`, error, `\n  input: ${file}\n  replay: ${command}\n`);
      process.exitCode = 1;
    }
  }
}

/** The smallest first, so that they are the ones that stay. */
async function mergeAll(chosen: readonly FuzzTarget[], directory: string): Promise<void> {
  for (const target of chosen) {
    let merged = 0;
    const { corpusInputs } = await runCampaign(target, {
      ...optionsFor(target),
      maxInputs: 0,
      maxMs: Infinity,
      candidates: readCorpus(directory, target.name).toSorted((a, b) => a.length - b.length),
      onKept: (input) => {
        merged += 1;
        addToCorpus(KEPT_CORPUS, target.name, input);
      },
    });
    console.log(`${target.name}: ${String(merged)} merged, ${String(corpusInputs)} with seeds`);
  }
}

function optionsFor(target: FuzzTarget): CommonOptions {
  return {
    seed: whole('seed', values.seed),
    corpus: readCorpus(KEPT_CORPUS, target.name),
    directory: FOUND,
    hangMs: HANG_MS,
    coverage,
  };
}

type CommonOptions = Pick<CampaignOptions, 'seed' | 'corpus' | 'directory' | 'hangMs' | 'coverage'>;

function replay([target]: readonly FuzzTarget[], file: string): void {
  if (target === undefined || values.target?.length !== 1) {
    throw usage('--replay needs one --target');
  }
  console.log(target.run(Uint8Array.from(readFileSync(file))).join('\n'));
}

/** What is still referred to. */
function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

function print(report: CampaignReport, heapBefore: number): void {
  const { name, inputs, elapsedMs, outcomes, corpusInputs, executedCharacters } = report;
  const mib = (bytes: number): string => (bytes / MEBIBYTE).toFixed(0);
  console.log(
    [
      `${name}: ${String(inputs)} inputs in ${(elapsedMs / 1000).toFixed(0)} s,`,
      `${((1000 * inputs) / elapsedMs).toFixed(0)}/s;`,
      `${String(outcomes)} outcomes, corpus ${String(corpusInputs)},`,
      `${String(executedCharacters)} characters of source;`,
      `RSS ${report.rssBytes.map(mib).join(' → ')} MiB,`,
      `heap ${mib(heapBefore)} → ${mib(heapBytes())} MiB;`,
      `slowest ${report.slowestMs.toFixed(0)} ms (${String(report.slowest.length)} bytes)`,
    ].join(' '),
  );
}

function targetNamed(name: string): FuzzTarget {
  const names = TARGETS.map((target) => target.name);
  const target = TARGETS[names.indexOf(name)];
  if (target === undefined) throw usage(`no target ${name}; there are ${names.join(', ')}`);
  return target;
}

function secondsGiven(): number {
  if (values.seconds !== undefined) return whole('seconds', values.seconds);
  return values.inputs === undefined ? DEFAULT_SECONDS : Infinity;
}

function whole(option: string, text: string): number {
  if (!/^\d{1,15}$/u.test(text)) throw usage(`--${option} wants a whole number, not ${text}`);
  return Number(text);
}

function usage(problem: string): Error {
  return new Error(`${problem}\n${USAGE}`);
}
