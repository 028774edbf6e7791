/**
 * A test runner for Stryker that keeps tests and code loaded between mutants.
 *
 * A mutant is switched on by a global, so all but those in code that runs on import need no new
 * process: a run takes as long as the first test that notices, some milliseconds instead of a
 * second.
 */
import { globSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { configureGlobal } from 'fast-check';

import { collect, type CollectedTest } from './collected-tests.ts';
import type {
  DryRunResult,
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
  /** Tests that measure time: instrumented code is several times slower. */
  readonly except: string;
}

interface LoadedTest extends CollectedTest {
  readonly id: string;
  readonly file: string;
}

class WarmTestRunner implements TestRunner {
  static readonly inject = ['options'] as const;
  readonly #selection: Selection;
  #tests: readonly LoadedTest[] | undefined;

  constructor(options: { readonly nodeTest: Selection }) {
    this.#selection = options.nodeTest;
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
    for (const test of await this.#load()) {
      switchboard.currentTestId = test.id;
      tests.push(await resultOf(test));
    }
    delete switchboard.currentTestId;
    return { status: 'complete', tests, mutantCoverage: switchedInTests(mutantCoverage) };
  }

  async mutantRun(options: MutantRunOptions): Promise<MutantRunResult> {
    const { activeMutant, testFilter, hitLimit, mutantActivation } = options;
    if (mutantActivation === 'static') switchboard.activeMutant = activeMutant.id;
    const tests = await this.#load();
    switchboard.activeMutant = activeMutant.id;
    if (hitLimit !== undefined) Object.assign(switchboard, { hitLimit, hitCount: 0 });
    const wanted = testFilter === undefined ? undefined : new Set(testFilter);
    let nrOfTests = 0;
    let killer: TestResult | undefined;
    for (const test of tests.filter(({ id }) => wanted?.has(id) !== false)) {
      const result = await resultOf(test);
      nrOfTests += 1;
      if (result.status !== 'failed') continue;
      killer = result;
      break;
    }
    const { hitCount = 0 } = switchboard;
    delete switchboard.hitLimit;
    if (mutantActivation === 'runtime') await this.#demandUnharmed(killer);
    if (hitLimit !== undefined && hitCount > hitLimit) {
      return { status: 'timeout', reason: `more than ${String(hitLimit)} passes` };
    }
    if (killer?.status !== 'failed') return { status: 'survived', nrOfTests };
    const { id, failureMessage } = killer;
    return { status: 'killed', killedBy: [id], failureMessage, nrOfTests };
  }

  /**
   * A mutant may have spoilt what tests share, which would kill all that come after it.
   *
   * @throws Error if so: Stryker starts a new process and tries the mutant again
   */
  async #demandUnharmed(killer: TestResult | undefined): Promise<void> {
    delete switchboard.activeMutant;
    const test = this.#tests?.find(({ id }) => id === killer?.id);
    if (test === undefined || (await resultOf(test)).status === 'success') return;
    throw new Error(`${test.id} fails without a mutant`);
  }

  async #load(): Promise<readonly LoadedTest[]> {
    if (this.#tests !== undefined) return this.#tests;
    const { files, except } = this.#selection;
    const exception = new RegExp(except, 'u');
    const tests: LoadedTest[] = [];
    for (const name of files.flatMap((pattern) => globSync(pattern).toSorted())) {
      const file = join(process.cwd(), name);
      const counted = (await testsIn(file)).filter((test) => !exception.test(test.name));
      const names = new Map<string, number>();
      for (const test of counted) {
        const times = (names.get(test.name) ?? 0) + 1;
        names.set(test.name, times);
        const id = `${name}: ${test.name}${times === 1 ? '' : ` #${String(times)}`}`;
        tests.push({ ...test, id, file });
      }
    }
    this.#tests = tests;
    return tests;
  }
}

/** A file that cannot be imported is a test that fails, as for `node --test`. */
async function testsIn(file: string): Promise<readonly CollectedTest[]> {
  try {
    return await collect(pathToFileURL(file).href);
  } catch (error) {
    return [{ name: 'import', run: () => Promise.reject(error) }];
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

async function resultOf({ id, file, run }: LoadedTest): Promise<TestResult> {
  const startedMs = performance.now();
  const facts = (): Omit<TestResult, 'status'> => {
    return { id, name: id, fileName: file, timeSpentMs: Math.round(performance.now() - startedMs) };
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
      required: ['files', 'except'],
      additionalProperties: false,
      properties: {
        files: { type: 'array', items: { type: 'string' } },
        except: { type: 'string' },
      },
    },
  },
};

export const strykerPlugins = [
  { kind: 'TestRunner', name: 'warm-node-test', injectableClass: WarmTestRunner },
];
