/**
 * Which source was ever executed, asked of V8 itself.
 *
 * A fuzzer that instruments source does not see TypeScript whose types Node strips: the loader of
 * Jazzer.js 4.0 takes modules of format `module`, not `module-typescript`. V8's block coverage costs
 * a third more time for the code that runs, and a millisecond or two each time that it is asked for;
 * so it is asked for many inputs at once.
 *
 * Source: Chrome DevTools Protocol, Profiler domain, `takePreciseCoverage`.
 */
import { Session, type Profiler } from 'node:inspector';

/** Whose coverage counts: what is tested, and not what tests it. */
const FUZZED = /^file:.*\/(agent|provisioning|tee\/secure-world)\/.*\.ts$/u;

export class BlockCoverage {
  readonly #urls: RegExp;
  readonly #session = new Session();
  /** For each script, by character: 1 where it was executed. */
  readonly #executed = new Map<string, Uint8Array>();
  #pending: readonly Profiler.ScriptCoverage[] = [];

  /**
   * Only functions that were never called yet are followed block by block: start it before what is
   * fuzzed is loaded.
   *
   * @param urls - of the modules whose coverage counts
   */
  constructor(urls = FUZZED) {
    this.#urls = urls;
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: false, detailed: true });
  }

  /**
   * Whether source was executed since the last call that never was before. It is not counted yet:
   * whoever asks looks for the input that does it.
   */
  isNew(): boolean {
    this.#pending = this.#collect();
    return this.#pending.some((script) => this.#mark(script, 'look'));
  }

  /** Counts what the last `isNew` saw. */
  settle(): void {
    for (const script of this.#pending) this.#mark(script, 'count');
    this.#pending = [];
  }

  /** Characters of source that were executed at least once. */
  get executedCharacters(): number {
    let count = 0;
    for (const marks of this.#executed.values()) for (const mark of marks) count += mark;
    return count;
  }

  close(): void {
    this.#session.post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }

  /** Ranges are listed from the outside in: the innermost says what happened. */
  #mark({ url, functions }: Profiler.ScriptCoverage, mode: 'look' | 'count'): boolean {
    const ranges = functions.flatMap((each) => each.ranges);
    const end = ranges.reduce((max, { endOffset }) => Math.max(max, endOffset), 0);
    const known = this.#known(url, end);
    const now = new Uint8Array(end);
    for (const { startOffset, endOffset, count } of ranges) {
      now.fill(count > 0 ? 1 : 0, startOffset, endOffset);
    }
    let isFresh = false;
    for (let at = 0; at < end; at += 1) {
      if (now[at] !== 1 || known[at] === 1) continue;
      if (mode === 'look') return true;
      known[at] = 1;
      isFresh = true;
    }
    return isFresh;
  }

  #collect(): readonly Profiler.ScriptCoverage[] {
    let scripts: readonly Profiler.ScriptCoverage[] = [];
    this.#session.post('Profiler.takePreciseCoverage', (error, { result }) => {
      if (error !== null) throw error;
      scripts = result.filter(({ url }) => this.#urls.test(url));
    });
    return scripts;
  }

  #known(url: string, bytes: number): Uint8Array {
    const known = this.#executed.get(url);
    if (known !== undefined && known.length >= bytes) return known;
    const larger = new Uint8Array(bytes);
    larger.set(known ?? []);
    this.#executed.set(url, larger);
    return larger;
  }
}
