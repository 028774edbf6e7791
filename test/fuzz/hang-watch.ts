/**
 * Ends the process when one input takes too long: what hangs can't do that itself.
 *
 * The input in progress lies in memory that a second thread sees, which looks at it now and then.
 */
import { mkdirSync, writeFileSync, writeSync } from 'node:fs';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

import { MAX_INPUT_BYTES } from './mutate.ts';

const SEEDS_MAY_BE_LARGER = 16;
/** Which run this is, 0 while there is none; and how long its input is. */
const RUN = 0;
const LENGTH = 1;

interface Watched {
  readonly numbers: SharedArrayBuffer;
  readonly input: SharedArrayBuffer;
  readonly limitMs: number;
  /** Where the input is to be kept. */
  readonly directory: string;
  readonly name: string;
}

export class HangWatch {
  readonly #numbers: Int32Array;
  readonly #input: Uint8Array;
  readonly #worker: Worker;
  #runs = 0;

  constructor({ limitMs, directory, name }: Pick<Watched, 'limitMs' | 'directory' | 'name'>) {
    const numbers = new SharedArrayBuffer(8);
    const input = new SharedArrayBuffer(SEEDS_MAY_BE_LARGER * MAX_INPUT_BYTES);
    this.#numbers = new Int32Array(numbers);
    this.#input = new Uint8Array(input);
    const watched: Watched = { numbers, input, limitMs, directory, name };
    this.#worker = new Worker(new URL(import.meta.url), { workerData: watched, execArgv: [] });
    this.#worker.unref();
  }

  start(input: Uint8Array): void {
    this.#runs = (this.#runs + 1) & 0x7fff_ffff || 1;
    this.#input.set(input.subarray(0, this.#input.length));
    Atomics.store(this.#numbers, LENGTH, input.length);
    Atomics.store(this.#numbers, RUN, this.#runs);
  }

  end(): void {
    Atomics.store(this.#numbers, RUN, 0);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

function watch({ numbers, input, limitMs, directory, name }: Watched): void {
  const shared = new Int32Array(numbers);
  let seen = 0;
  setInterval(() => {
    const run = Atomics.load(shared, RUN);
    if (run === 0 || run !== seen) {
      seen = run;
      return;
    }
    mkdirSync(directory, { recursive: true });
    const file = `${directory}/${name}-hang`;
    writeFileSync(file, new Uint8Array(input).slice(0, Atomics.load(shared, LENGTH)));
    writeSync(
      2,
      `${name}: an input took longer than ${String(limitMs)} ms; it is in ${file}\n` +
        `replay it: npm run fuzz -- --target ${name} --replay ${file}\n`,
    );
    process.kill(process.pid, 'SIGKILL');
  }, limitMs);
}

if (!isMainThread) watch(workerData as Watched);
