/**
 * One run over one target: seeds and corpus first, then changed copies of what was worth keeping.
 *
 * An input is worth keeping when it has an outcome that was never seen, or executes source that never
 * was. Coverage is asked for once for a whole batch; only a batch that brought something is run again,
 * half by half.
 */
import type { BlockCoverage } from './coverage.ts';
import { Failures, type Found } from './failures.ts';
import { HangWatch } from './hang-watch.ts';
import { mutateBytes } from './mutate.ts';
import { Random } from './random.ts';
import type { FuzzTarget } from './target.ts';

/** The less there is to find, the less often coverage is asked for. */
const MIN_BATCH_INPUTS = 256;
const MAX_BATCH_INPUTS = 8192;
const MAX_CORPUS_INPUTS = 4096;
/** Different failures after which there is no point in going on. */
const MAX_FAILURES = 10;
/** Enough to tell two failures apart. */
const STACK_FRAMES = 3;
const QUARTERS = 4;

export interface CampaignOptions {
  readonly seed: number;
  /** The run ends with whichever comes first. */
  readonly maxInputs: number;
  readonly maxMs: number;
  /** Kept from earlier runs. */
  readonly corpus: readonly Uint8Array[];
  /** Tried before anything is changed, and kept when they are worth it. */
  readonly candidates?: readonly Uint8Array[];
  /** Where failing inputs are saved. */
  readonly directory: string;
  /** For one input; after it the process is killed. */
  readonly hangMs: number;
  /** Started before the target was loaded; without it, outcomes alone decide what is kept. */
  readonly coverage?: BlockCoverage | undefined;
  /** Called with every input that is worth keeping, seeds excepted. */
  readonly onKept?: (input: Uint8Array) => void;
}

export interface CampaignReport {
  readonly name: string;
  readonly inputs: number;
  readonly elapsedMs: number;
  readonly outcomes: number;
  readonly corpusInputs: number;
  /** Characters of source; 0 without coverage. */
  readonly executedCharacters: number;
  /** Resident memory at the start, after each quarter and at the end: a leak goes on growing. */
  readonly rssBytes: readonly number[];
  readonly slowestMs: number;
  readonly slowest: Uint8Array;
  readonly failures: readonly Found[];
}

export async function runCampaign(
  target: FuzzTarget,
  options: CampaignOptions,
): Promise<CampaignReport> {
  const { hangMs: limitMs, directory } = options;
  const watch = new HangWatch({ limitMs, directory, name: target.name });
  const { stackTraceLimit } = Error;
  // Every refusal is an error, and most of what it costs is its stack.
  Error.stackTraceLimit = STACK_FRAMES;
  try {
    return new Campaign(target, options, watch).run();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    await watch.close();
  }
}

class Campaign {
  readonly #target: FuzzTarget;
  readonly #options: CampaignOptions;
  readonly #watch: HangWatch;
  readonly #random: Random;
  readonly #coverage: BlockCoverage | undefined;
  readonly #failures: Failures;
  readonly #outcomes = new Set<string>();
  readonly #corpus: Uint8Array[] = [];
  readonly #start = performance.now();
  readonly #rssBytes: number[] = [];
  #batchInputs = MIN_BATCH_INPUTS;
  #inputs = 0;
  #slowestMs = 0;
  #slowest: Uint8Array = new Uint8Array();

  constructor(target: FuzzTarget, options: CampaignOptions, watch: HangWatch) {
    this.#target = target;
    this.#options = options;
    this.#watch = watch;
    this.#random = new Random(options.seed);
    this.#coverage = options.coverage;
    this.#failures = new Failures(
      (input) => this.#runWatched(input),
      target.name,
      options.directory,
    );
  }

  run(): CampaignReport {
    for (const input of [...this.#target.seeds(), ...this.#options.corpus]) {
      this.#try(input);
      this.#corpus.push(input);
    }
    this.#isNewlyCovered();
    this.#measure();
    for (const input of this.#options.candidates ?? []) {
      const hasNewOutcome = this.#try(input);
      if (this.#isNewlyCovered() || hasNewOutcome) this.#keep(input);
    }
    while (!this.#isOver()) {
      this.#runBatch();
      if (this.#progress() * QUARTERS >= this.#rssBytes.length) this.#measure();
    }
    this.#measure();
    const executedCharacters = this.#coverage?.executedCharacters ?? 0;
    return {
      name: this.#target.name,
      inputs: this.#inputs,
      elapsedMs: performance.now() - this.#start,
      outcomes: this.#outcomes.size,
      corpusInputs: this.#corpus.length,
      executedCharacters,
      rssBytes: this.#rssBytes,
      slowestMs: this.#slowestMs,
      slowest: this.#slowest,
      failures: this.#failures.found,
    };
  }

  #runBatch(): void {
    const batch: Uint8Array[] = [];
    while (batch.length < this.#batchInputs && !this.#isOver()) {
      const input = this.#next();
      if (this.#try(input)) this.#keep(input);
      else batch.push(input);
    }
    if (this.#coverage === undefined) return;
    const isNew = this.#coverage.isNew();
    if (isNew) this.#search(batch, this.#coverage);
    // What did not come again, by chance, is no reason to look for it in the next batch.
    this.#coverage.settle();
    const next = isNew ? this.#batchInputs / 2 : this.#batchInputs * 2;
    this.#batchInputs = Math.min(Math.max(next, MIN_BATCH_INPUTS), MAX_BATCH_INPUTS);
  }

  /** Since this was asked the last time. */
  #isNewlyCovered(): boolean {
    const isNew = this.#coverage?.isNew() ?? false;
    this.#coverage?.settle();
    return isNew;
  }

  /** Finds the inputs of a batch that execute something new, by running halves of it again. */
  #search(batch: readonly Uint8Array[], coverage: BlockCoverage): void {
    const middle = Math.ceil(batch.length / 2);
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      if (this.#isOver() || half.length === 0) return;
      for (const input of half) this.#try(input);
      const [only, ...others] = half;
      if (only === undefined || !coverage.isNew()) continue;
      if (others.length > 0) {
        this.#search(half, coverage);
      } else {
        coverage.settle();
        this.#keep(only);
      }
    }
  }

  #isOver(): boolean {
    return this.#progress() >= 1 || this.#failures.found.length >= MAX_FAILURES;
  }

  /** From 0 to 1. */
  #progress(): number {
    const { maxInputs, maxMs } = this.#options;
    return Math.max(this.#inputs / maxInputs, (performance.now() - this.#start) / maxMs);
  }

  #measure(): void {
    this.#rssBytes.push(process.memoryUsage.rss());
  }

  /** Rather a copy of something new than of something old. */
  #next(): Uint8Array {
    const { length } = this.#corpus;
    const index = Math.max(this.#random.below(length), this.#random.below(length));
    const parent = this.#corpus[index] ?? new Uint8Array();
    const other = this.#corpus[this.#random.below(length)] ?? new Uint8Array();
    return (
      this.#target.mutate?.(parent, this.#random, other) ?? mutateBytes(parent, this.#random, other)
    );
  }

  /** @returns whether it had an outcome that was never seen */
  #try(input: Uint8Array): boolean {
    this.#inputs += 1;
    const before = this.#outcomes.size;
    for (const label of this.#failures.guard(input)) this.#outcomes.add(label);
    return this.#outcomes.size > before;
  }

  #runWatched(input: Uint8Array): readonly string[] {
    const start = performance.now();
    this.#watch.start(input);
    try {
      return this.#target.run(input);
    } finally {
      this.#watch.end();
      const ms = performance.now() - start;
      if (ms > this.#slowestMs) {
        this.#slowestMs = ms;
        this.#slowest = input;
      }
    }
  }

  #keep(input: Uint8Array): void {
    if (this.#corpus.length < MAX_CORPUS_INPUTS) this.#corpus.push(input);
    else this.#corpus[this.#random.below(this.#corpus.length)] = input;
    this.#options.onKept?.(input);
  }
}
