/**
 * What Stryker and a test runner say to each other, as far as it is needed.
 *
 * Its own declarations do not pass this project's compiler options.
 */

/** Tests by mutant: how often each ran it. */
type Hits = Readonly<Record<string, number>>;

export interface MutantCoverage {
  /** While no test ran. */
  readonly static: Hits;
  readonly perTest: Readonly<Record<string, Hits>>;
}

/** What instrumented code reads and counts in, as the global `__stryker__`. */
export interface Switchboard {
  activeMutant?: string;
  currentTestId?: string;
  mutantCoverage?: MutantCoverage;
  hitCount?: number;
  hitLimit?: number;
}

interface TestFacts {
  readonly id: string;
  readonly name: string;
  readonly fileName: string;
  readonly timeSpentMs: number;
}
export interface FailedTest extends TestFacts {
  readonly status: 'failed';
  readonly failureMessage: string;
}
export type TestResult = FailedTest | (TestFacts & { readonly status: 'success' });

export interface DryRunResult {
  readonly status: 'complete';
  readonly tests: readonly TestResult[];
  readonly mutantCoverage: MutantCoverage;
}

export interface MutantRunOptions {
  readonly activeMutant: { readonly id: string; readonly fileName: string };
  /** Tests that reach the mutant; `undefined` for all. */
  readonly testFilter?: readonly string[];
  /** More passes than this through the mutant are an endless loop. */
  readonly hitLimit?: number;
  /** `static`: on before anything is imported. */
  readonly mutantActivation: 'static' | 'runtime';
}

export type MutantRunResult =
  | { readonly status: 'survived'; readonly nrOfTests: number }
  | { readonly status: 'timeout'; readonly reason: string }
  | {
      readonly status: 'killed';
      readonly killedBy: readonly string[];
      readonly failureMessage: string;
      readonly nrOfTests: number;
    };

export interface TestRunner {
  capabilities(): { readonly reloadEnvironment: boolean };
  dryRun(): Promise<DryRunResult>;
  mutantRun(options: MutantRunOptions): Promise<MutantRunResult>;
}
