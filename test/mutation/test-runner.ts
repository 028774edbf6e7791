/**
 * A test runner for Stryker that keeps tests and code loaded between mutants.
 *
 * A mutant is switched on by a global, so all but those in code that runs on import need no new
 * process: a run takes as long as the first test that notices, some milliseconds instead of a
 * second.
 */
import { globSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { configureGlobal } from 'fast-check';

import { collect, type CollectedTest } from './collected-tests.ts';
import type {
  DryRunResult,
  FailedTest,
  MutantCoverage,
  MutantRunOptions,
  MutantRunResult,
  Switchboard,
  TestResult,
  TestRunner,
} from './stryker.ts';

const COLLECTED_TESTS = new URL('collected-tests.ts', import.meta.url).href;
/** One seed, so that a mutant that only properties notice has the same fate every time. */
const SEED = 20_261_127;

const switchboard: Switchboard = {};

/** Which tests count, from the configuration file of Stryker. */
interface Selection {
  /** Patterns of files, those first that are quick to notice. */
  readonly files: readonly string[];
  /** Those of them that are tried on a mutant which needs a process of its own. */
  readonly onImport: readonly string[];
  /** Tests that measure time: instrumented code is several times slower. */
  readonly except: string;
}

interface LoadedTest extends CollectedTest {
  readonly id: string;
  readonly path: string;
}

class WarmTestRunner implements TestRunner {
  static readonly inject = ['options'] as const;
  readonly #files: readonly string[];
  readonly #onImport: readonly string[];
  readonly #except: RegExp;
  readonly #loaded = new Map<string, readonly LoadedTest[]>();

  constructor({ nodeTest }: { readonly nodeTest: Selection }) {
    this.#files = matching(nodeTest.files);
    this.#onImport = matching(nodeTest.onImport);
    this.#except = new RegExp(nodeTest.except, 'u');
    Object.assign(globalThis, { __stryker__: switchboard });
    configureGlobal({ seed: SEED, endOnFailure: true });
    registerHooks({
      resolve: (specifier, context, next) =>
        next(specifier === 'node:test' ? COLLECTED_TESTS : specifier, context),
    });
  }

  capabilities(): { reloadEnvironment: boolean } {
    return { reloadEnvironment: false };
  }

  async dryRun(): Promise<DryRunResult> {
    const mutantCoverage = { static: {}, perTest: {} };
    switchboard.mutantCoverage = mutantCoverage;
    const tests: TestResult[] = [];
    for await (const test of this.#tests(this.#files)) {
      switchboard.currentTestId = test.id;
      tests.push(await resultOf(test));
      delete switchboard.currentTestId;
    }
    return { status: 'complete', tests, mutantCoverage: switchedInTests(mutantCoverage) };
  }

  async mutantRun(options: MutantRunOptions): Promise<MutantRunResult> {
    const { activeMutant, hitLimit, mutantActivation } = options;
    const onImport = mutantActivation === 'static';
    if (!onImport) for (const file of this.#files) await this.#load(file);
    switchboard.activeMutant = activeMutant.id;
    if (hitLimit !== undefined) Object.assign(switchboard, { hitLimit, hitCount: 0 });
    const files = ownFirst(onImport ? this.#onImport : this.#files, activeMutant.fileName);
    const { nrOfTests, killer } = await this.#run(files, options.testFilter);
    const { hitCount = 0 } = switchboard;
    delete switchboard.hitLimit;
    if (!onImport) await this.#demandUnharmed(killer);
    if (hitLimit !== undefined && hitCount > hitLimit) {
      return { status: 'timeout', reason: `more than ${String(hitLimit)} passes` };
    }
    if (killer === undefined) return { status: 'survived', nrOfTests };
    const { id, failureMessage } = killer;
    return { status: 'killed', killedBy: [id], failureMessage, nrOfTests };
  }

  async #run(
    files: readonly string[],
    filter: readonly string[] | undefined,
  ): Promise<{ nrOfTests: number; killer?: FailedTest }> {
    const wanted = filter && new Set(filter);
    let nrOfTests = 0;
    for await (const test of this.#tests(files)) {
      if (wanted?.has(test.id) === false) continue;
      nrOfTests += 1;
      const result = await resultOf(test);
      if (result.status === 'failed') return { nrOfTests, killer: result };
    }
    return { nrOfTests };
  }

  /**
   * A mutant may have spoilt what tests share, which would kill all that come after it.
   *
   * @throws Error if so: Stryker starts a new process and tries the mutant again
   */
  async #demandUnharmed(killer: FailedTest | undefined): Promise<void> {
    delete switchboard.activeMutant;
    if (killer === undefined) return;
    const test = [...this.#loaded.values()].flat().find(({ id }) => id === killer.id);
    if (test === undefined || (await resultOf(test)).status === 'success') return;
    throw new Error(`${test.id} fails without a mutant`);
  }

  /** Imports a file when it is its turn: a mutant that is on during import often needs but one. */
  async *#tests(files: readonly string[]): AsyncGenerator<LoadedTest> {
    for (const file of files) yield* await this.#load(file);
  }

  async #load(file: string): Promise<readonly LoadedTest[]> {
    const known = this.#loaded.get(file);
    if (known !== undefined) return known;
    const tests: LoadedTest[] = [];
    const names = new Map<string, number>();
    const path = join(process.cwd(), file);
    for (const test of await testsIn(path)) {
      if (this.#except.test(test.name)) continue;
      const times = (names.get(test.name) ?? 0) + 1;
      names.set(test.name, times);
      const id = `${file}: ${test.name}${times === 1 ? '' : ` #${String(times)}`}`;
      tests.push({ ...test, id, path });
    }
    this.#loaded.set(file, tests);
    return tests;
  }
}

function matching(patterns: readonly string[]): readonly string[] {
  return patterns.flatMap((pattern) => globSync(pattern).toSorted());
}

/** The tests that were written for a file notice soonest what is wrong with it. */
function ownFirst(files: readonly string[], mutated: string): readonly string[] {
  const isOwn = (file: string): boolean => basename(file) === `${basename(mutated, '.ts')}.test.ts`;
  return [...files.filter(isOwn), ...files.filter((file) => !isOwn(file))];
}

/** A file that cannot be imported is a test that fails, as for `node --test`. */
async function testsIn(file: string): Promise<readonly CollectedTest[]> {
  try {
    return await collect(pathToFileURL(file).href);
  } catch (error) {
    const run = (): never => {
      throw error;
    };
    return [{ name: 'import', run }];
  }
}

/**
 * Test files prepare metadata on import with the code under test. A mutant that tests reach, too, is
 * switched on for them alone; one that only runs on import gets a process of its own.
 */
function switchedInTests({ static: onImport, perTest }: MutantCoverage): MutantCoverage {
  const reached = new Set(Object.values(perTest).flatMap((hits) => Object.keys(hits)));
  const left = Object.entries(onImport).filter(([mutant]) => !reached.has(mutant));
  return { static: Object.fromEntries(left), perTest };
}

async function resultOf({ id, path, run }: LoadedTest): Promise<TestResult> {
  const startedMs = performance.now();
  const facts = (): Omit<TestResult, 'status'> => {
    return { id, name: id, fileName: path, timeSpentMs: Math.round(performance.now() - startedMs) };
  };
  try {
    await run();
    return { ...facts(), status: 'success' };
  } catch (error) {
    const failureMessage = error instanceof Error ? error.message : String(error);
    return { ...facts(), status: 'failed', failureMessage };
  }
}

/** Read by Stryker, as is the next one. */
export const strykerValidationSchema = {
  type: 'object',
  properties: {
    nodeTest: {
      type: 'object',
      required: ['files', 'onImport', 'except'],
      additionalProperties: false,
      properties: {
        files: { type: 'array', items: { type: 'string' } },
        onImport: { type: 'array', items: { type: 'string' } },
        except: { type: 'string' },
      },
    },
  },
};

export const strykerPlugins = [
  { kind: 'TestRunner', name: 'warm-node-test', injectableClass: WarmTestRunner },
];
