/**
 * One live instance of a TA: enters it once at a time, and buries it when it panics.
 *
 * What a TA answers at once is answered at once; nothing is scheduled for it. While a TA takes its
 * time, who comes waits here in a queue.
 */
import type { TaInstance, TrustedApp } from '../ta.ts';
import { Cancellation } from './cancellation.ts';
import { ORIGIN, TEE } from './results.ts';

export interface Outcome {
  readonly result: number;
  readonly origin: number;
}

/** What will be answered later, and how to hurry it. */
export interface Pending<T> {
  readonly outcome: Promise<T>;
  readonly cancellation: Cancellation;
}

type Entry = (ta: TaInstance, cancellation: Cancellation) => number | Promise<number>;

interface Waiting {
  readonly entry: Entry;
  readonly cancellation: Cancellation;
  readonly settle: (outcome: Outcome) => void;
}

const DEAD: Outcome = { result: TEE.TARGET_DEAD, origin: ORIGIN.TEE };
const CANCELLED: Outcome = { result: TEE.CANCEL, origin: ORIGIN.TEE };

export class Instance {
  readonly app: TrustedApp;
  /** Sessions that are open or about to be. */
  sessions = 0;
  readonly #ta: TaInstance;
  readonly #onPanic: (cause: unknown) => void;
  #isDead = false;
  #settleCurrent: ((outcome: Outcome) => void) | undefined;
  #queue: Waiting[] = [];

  /** Whatever TA_CreateEntryPoint throws is passed on. */
  constructor(app: TrustedApp, onPanic: (cause: unknown) => void) {
    this.app = app;
    this.#onPanic = onPanic;
    this.#ta = app.create();
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Enters the TA, now or when those who came before have left it. */
  run(entry: Entry): Outcome | Pending<Outcome> {
    if (this.#isDead) return DEAD;
    const cancellation = new Cancellation();
    if (this.#settleCurrent === undefined) {
      const answered = this.#enter(entry, cancellation);
      return answered instanceof Promise ? { outcome: answered, cancellation } : answered;
    }
    const outcome = new Promise<Outcome>((settle) => {
      const waiting = { entry, cancellation, settle };
      this.#queue.push(waiting);
      cancellation.whileQueued(() => {
        this.#queue = this.#queue.filter((other) => other !== waiting);
        settle(CANCELLED);
      });
    });
    return { outcome, cancellation };
  }

  /** Everything that is under way or waits for its turn is answered TARGET_DEAD. */
  panic(cause: unknown): void {
    if (this.#isDead) return;
    this.bury();
    this.#onPanic(cause);
  }

  /** As `panic`, and nobody is told: the power went, or the TA was done. */
  bury(): void {
    this.#isDead = true;
    this.#settleCurrent?.(DEAD);
    this.#settleCurrent = undefined;
    for (const { settle } of this.#queue) settle(DEAD);
    this.#queue = [];
    this.#ta.reclaim?.();
  }

  /** TA_DestroyEntryPoint, unless it is dead, or still in the middle of something. */
  destroy(): void {
    if (this.#isDead || this.#settleCurrent !== undefined) return;
    try {
      this.#ta.destroy();
    } catch (cause) {
      this.panic(cause);
      return;
    }
    this.bury();
  }

  #enter(entry: Entry, cancellation: Cancellation): Outcome | Promise<Outcome> {
    try {
      const result = entry(this.#ta, cancellation);
      if (typeof result === 'number') return { result, origin: ORIGIN.TRUSTED_APP };
      return this.#follow(result);
    } catch (cause) {
      this.panic(cause);
      return DEAD;
    }
  }

  #follow(later: Promise<number>): Promise<Outcome> {
    return new Promise((settle) => {
      this.#settleCurrent = settle;
      later.then(
        (result) => {
          if (this.#isDead) return;
          this.#settleCurrent = undefined;
          settle({ result, origin: ORIGIN.TRUSTED_APP });
          this.#next();
        },
        (cause: unknown) => {
          this.panic(cause);
        },
      );
    });
  }

  /** A loop, so that a long queue of quick entries does not fill the stack. */
  #next(): void {
    while (this.#settleCurrent === undefined) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      next.cancellation.begin();
      const outcome = this.#enter(next.entry, next.cancellation);
      if (outcome instanceof Promise) void outcome.then(next.settle);
      else next.settle(outcome);
    }
  }
}
