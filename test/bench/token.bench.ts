/**
 * How fast the emulator's token is, beside SoftHSM2: from C and through graphene-pk11.
 *
 *     node test/bench/token.bench.ts [MILLISECONDS]
 *
 * Each workload is run for so long on each token, in short turns, so that what else the machine does
 * slows both down alike. The last columns say how many times faster ours is. Judges nothing.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

import { emulator, softHsm, type TokenWorld } from '../support/token-world.ts';
import { GRAPHENE_WORKLOADS, openGraphene, type GrapheneToken } from './token-graphene.ts';

const DEFAULT_MILLISECONDS = 1000;
const TURNS = 10;
const WARM_UP = 3;
const TEE = join(import.meta.dirname, '..', 'tee');

interface Figures {
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
}

/** What was measured of each module, in their order; none where the module lacks the mechanism. */
type Row = readonly [ours: Figures | undefined, theirs: Figures | undefined];

function measureC(modules: readonly string[], milliseconds: number): ReadonlyMap<string, Row> {
  execFileSync('make', ['-s', '-C', join(TEE, 'normal-world'), 'bench'], { stdio: 'inherit' });
  const program = join(TEE, 'build', 'token-bench');
  const text = execFileSync(program, [String(milliseconds), ...modules], { encoding: 'utf8' });
  const rows = new Map<string, [Figures | undefined, Figures | undefined]>();
  for (const line of text.trim().split('\n')) {
    const [name = '', module, p50, p99, perSecond] = line.split('\t');
    const row = rows.get(name) ?? [undefined, undefined];
    const figures = { p50: Number(p50) / 1e3, p99: Number(p99) / 1e3 };
    row[module === '0' ? 0 : 1] = { ...figures, perSecond: Number(perSecond) };
    rows.set(name, row);
  }
  return rows;
}

function measureGraphene(
  tokens: readonly GrapheneToken[],
  milliseconds: number,
): ReadonlyMap<string, Row> {
  const rows = new Map<string, Row>();
  for (const [name, workload] of GRAPHENE_WORKLOADS) {
    const samples = tokens.map((): number[] => []);
    for (let turn = 0; turn < TURNS; turn += 1) {
      tokens.forEach((token, index) => {
        if (!workload.isServed(token)) return;
        samples[index]?.push(...timed(token, workload.run, milliseconds / TURNS));
      });
    }
    const [ours = [], theirs = []] = samples;
    rows.set(name, [figuresOf(ours), figuresOf(theirs)]);
  }
  return rows;
}

/** @returns microseconds of each run; objects that it made are destroyed off the clock */
function timed(token: GrapheneToken, run: (token: GrapheneToken) => void, ms: number): number[] {
  const microseconds: number[] = [];
  for (let spentMs = 0, turn = 0; spentMs < ms; turn += 1) {
    const start = performance.now();
    run(token);
    const tookMs = performance.now() - start;
    spentMs += tookMs;
    token.destroyMade();
    if (turn >= WARM_UP || spentMs >= ms) microseconds.push(1000 * tookMs);
  }
  return microseconds;
}

function figuresOf(microseconds: number[]): Figures | undefined {
  if (microseconds.length === 0) return undefined;
  microseconds.sort((a, b) => a - b);
  const at = (share: number): number =>
    microseconds[Math.floor(share * (microseconds.length - 1))] ?? 0;
  const sum = microseconds.reduce((total, each) => total + each, 0);
  return { p50: at(0.5), p99: at(0.99), perSecond: (1e6 * microseconds.length) / sum };
}

function print(title: string, rows: ReadonlyMap<string, Row>): void {
  const each = ['p50 µs', 'p99 µs', 'per s'];
  const sides = `${'ours'.padStart(33)}${'SoftHSM2'.padStart(33)}${'ours / SoftHSM2'.padStart(22)}`;
  process.stdout.write(`\n${title.padEnd(31)}${sides}\n`);
  process.stdout.write(`${columns('', [...each, ...each, 'by p50', 'by rate'])}\n`);
  for (const [name, [ours, theirs]] of rows) {
    const ratios = ours && theirs ? [theirs.p50 / ours.p50, ours.perSecond / theirs.perSecond] : [];
    const shown = ratios.map((ratio) => ratio.toFixed(2));
    process.stdout.write(`${columns(name, [...cells(ours), ...cells(theirs), ...shown])}\n`);
  }
}

function cells(figures: Figures | undefined): readonly string[] {
  if (figures === undefined) return ['', '', ''];
  const { p50, p99, perSecond } = figures;
  return [p50.toFixed(1), p99.toFixed(1), perSecond.toFixed(perSecond < 100 ? 1 : 0)];
}

function columns(name: string, values: readonly string[]): string {
  return name.padEnd(31) + values.map((value) => value.padStart(11)).join('');
}

/** Runs on two blank tokens of their own. */
async function withTokens(use: (modules: readonly string[]) => void): Promise<void> {
  const worlds: TokenWorld[] = [];
  try {
    for (const kind of [emulator, softHsm]) {
      const world = await kind.open();
      worlds.push(world);
      Object.assign(process.env, world.env);
    }
    use(worlds.map(({ settings }) => settings.module));
  } finally {
    for (const world of worlds) await world.close();
  }
}

const milliseconds = Number(process.argv[2] ?? DEFAULT_MILLISECONDS);
await withTokens((modules) => {
  print('From C', measureC(modules, milliseconds));
});
await withTokens((modules) => {
  const tokens = modules.map(openGraphene);
  print('Through graphene-pk11', measureGraphene(tokens, milliseconds));
  for (const token of tokens) token.close();
});
