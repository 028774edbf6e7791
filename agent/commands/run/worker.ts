/** The process that works for the daemon, seen from the one that waits. */
import { fork, type ChildProcess } from 'node:child_process';
import { extname, join } from 'node:path';

import { endsWithUs } from '../../io/last-will.ts';
import type { Beginning, FromWorker, Question, Replies, Reply, ToWorker } from './messages.ts';

const MAIN = join(import.meta.dirname, `worker-main${extname(import.meta.filename)}`);

/** In MiB. What it loads is collected a dozen times with the 1 of the process that waits: 30 ms of a start. */
const YOUNG_GENERATION = '--max-semi-space-size=8';

/** Of a process that waits: `systemd/install.sh`. With them no code cache would be taken. */
const NO_COMPILERS: ReadonlySet<string> = new Set(['--no-opt', '--no-maglev', '--no-sparkplug']);

type Told = Exclude<FromWorker, { say: 'reply' }>;

/** How a worker ended: an exit code, or what ended it. */
export type Ended = number | string;

export class Worker {
  /** Its end; everything that it has said has been told before. */
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #unanswered = new Map<number, (reply: Reply | undefined) => void>();
  #asked = 0;

  /** @param told - whatever it says but replies */
  constructor(beginning: Beginning, told: (message: Told) => void) {
    this.#child = fork(MAIN, {
      execArgv: [...process.execArgv.filter((flag) => !NO_COMPILERS.has(flag)), YOUNG_GENERATION],
      // Settings have maps in them.
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (message) => {
      const said = message as FromWorker;
      if (said.say === 'reply') this.#replied(said);
      else told(said);
    });
    // It would see our end by itself, but not while it hangs in a PKCS#11 library with the storage locked.
    endsWithUs(this.#child, 'alone');
    this.ended = endOf(this.#child);
    this.#send({ say: 'begin', beginning });
  }

  goOn(): void {
    this.#send({ say: 'go on' });
  }

  /** @returns `undefined` after `leaveUnanswered` */
  async ask<Q extends Question>(question: Q): Promise<Replies[Q['ask']] | undefined> {
    const reply = await new Promise<Reply | undefined>((resolve) => {
      this.#asked += 1;
      this.#unanswered.set(this.#asked, resolve);
      this.#send({ say: 'question', id: this.#asked, question });
    });
    return reply as Replies[Q['ask']] | undefined;
  }

  /** After its end: whoever waits for an answer may ask another one. */
  leaveUnanswered(): void {
    for (const resolve of this.#unanswered.values()) resolve(undefined);
    this.#unanswered.clear();
  }

  stop(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  /** What crosses the end of the worker is lost; whoever asked is told by that end. */
  #send(message: ToWorker): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  #replied({ id, reply }: Extract<FromWorker, { say: 'reply' }>): void {
    this.#unanswered.get(id)?.(reply);
    this.#unanswered.delete(id);
  }
}

async function endOf(child: ChildProcess): Promise<Ended> {
  // What it said last may be read after its exit was.
  const silent = new Promise((resolve) => child.once('disconnect', resolve));
  const ended = await new Promise<Ended>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(code ?? signal ?? 1);
    });
    child.once('error', (error) => {
      if (child.pid === undefined) resolve(error.message);
    });
  });
  if (child.pid !== undefined && child.connected) await silent;
  return ended;
}
