/** Runs cycles for ever: at a jittered interval, sooner when asked, later when the way is bad. */
import { isOtaError, type AnyOtaError } from '../errors.ts';
import type { Ports, Reporter } from '../ports.ts';
import type { Instant } from '../uptane/time.ts';
import { runCycle, stillHeld, type Outcome } from './cycle.ts';
import { mayGoOnAt } from './gate.ts';
import type { Held } from './hold.ts';
import { runOfflineCycle } from './offline.ts';
import type { PickUp } from './pick-up.ts';
import { waitMs } from './schedule.ts';

export interface DaemonOptions {
  readonly pollIntervalMs: number;
  /** How often an update that waits is looked at; for tests. */
  readonly gateMs?: number;
  /** Told after every cycle, with what the service should show. */
  readonly progressed: (status: string) => void;
  /** Calls `act` so much later on the clock of the ports, unless it is cancelled; for simulations. */
  readonly after?: After;
  /** Media that are looked at, and how often. */
  readonly offline?: { readonly pickUp: PickUp; readonly everyMs: number } | undefined;
}

/** @returns what cancels it */
export type After = (ms: number, act: () => void) => () => void;

/** Where the wait for the next poll stands: all of a daemon that has to outlive its process. */
export interface Wait {
  readonly leftMs: number;
  /** Polls that went badly, one after the other. */
  readonly failures: number;
  /**
   * Where an update is held back: how long that cannot end by itself. Infinite where only a person or the
   * next poll can end it, negative where it has to be asked again and again.
   */
  readonly heldMs: number | undefined;
}

/** Longer than any wait that a limit of ours allows within a cycle. */
const STUCK_MS = 10 * 60_000;
/** How soon a new image that is not healthy yet is asked again. */
const RECHECK_MS = 10_000;
/** How soon it is asked again whether an update still has to wait: costs no network. */
const GATE_MS = 60_000;

/** What holds an update back; `nothing` where it cannot be told what. */
type Holding = Awaited<ReturnType<typeof stillHeld>>;

/** How a cycle ended, as far as the next one is concerned. */
interface End {
  readonly went: 'well' | 'badly' | 'unconfirmed' | Held;
  readonly retryAfterMs?: number;
}

/** What others may ask of a running daemon; served between cycles, never during one. */
export class Daemon {
  readonly #ports: Ports;
  readonly #options: DaemonOptions;
  #turn: Promise<unknown> = Promise.resolve();
  #wake: () => void = () => undefined;
  #isWoken = false;
  /** A medium that was noticed while waiting. */
  #offered: string | undefined;
  /** On the monotonic clock; `undefined` while a poll is in progress. */
  #dueMs: number | undefined;
  #failures = 0;
  /** On the monotonic clock: until then an update is held back, if one is. */
  #heldUntilMs: number | undefined;
  #aliveMs: number;

  constructor(ports: Ports, options: DaemonOptions) {
    this.#ports = { ...ports, reporter: this.#noting(ports.reporter) };
    this.#options = options;
    this.#aliveMs = ports.clock.monotonicMs();
  }

  /** When the next poll is due; `undefined` while one is in progress. */
  get nextPollAt(): Instant | undefined {
    const { clock } = this.#ports;
    if (this.#dueMs === undefined) return undefined;
    return Math.round(clock.now() + this.#dueMs - clock.monotonicMs()) as Instant;
  }

  /** For a watchdog: waiting for a poll that is due later, or in a cycle that makes progress. */
  isAlive(): boolean {
    const stuckMs = this.#ports.clock.monotonicMs() - STUCK_MS;
    return this.#aliveMs > stuckMs || (this.#dueMs !== undefined && this.#dueMs > stuckMs);
  }

  /** `undefined` while a cycle is in progress. */
  get wait(): Wait | undefined {
    if (this.#dueMs === undefined) return undefined;
    const nowMs = this.#ports.clock.monotonicMs();
    const heldMs = this.#heldUntilMs === undefined ? undefined : this.#heldUntilMs - nowMs;
    return { leftMs: this.#dueMs - nowMs, failures: this.#failures, heldMs };
  }

  /**
   * @param signal - aborting it ends the loop after the cycle in progress
   * @param from - goes on with this wait; by default the first cycle comes at once
   */
  async run(signal: AbortSignal, from?: Wait): Promise<void> {
    const { clock } = this.#ports;
    if (from !== undefined) await this.#goOn(from, signal);
    while (!signal.aborted) {
      this.#dueMs = undefined;
      this.#heldUntilMs = undefined;
      this.#isWoken = false;
      this.#aliveMs = clock.monotonicMs();
      await this.#takeOffered();
      const { went, retryAfterMs } = await this.#cycle(runCycle);
      this.#failures = went === 'badly' ? this.#failures + 1 : 0;
      const ms = went === 'unconfirmed' ? RECHECK_MS : this.#waitMs(retryAfterMs);
      this.#dueMs = clock.monotonicMs() + ms;
      await this.#waitUntilDue(typeof went === 'string' ? undefined : went, signal);
    }
  }

  /** What is on a medium goes first: a person has put it in. */
  async #takeOffered(): Promise<void> {
    const pickUp = this.#options.offline?.pickUp;
    const source = this.#offered ?? (await pickUp?.next());
    this.#offered = undefined;
    if (source === undefined) return;
    const { went } = await this.#cycle((ports) => runOfflineCycle(ports, { source, by: 'itself' }));
    // Another image is still on trial.
    if (went === 'unconfirmed') pickUp?.again(source);
  }

  /** Polls now instead of at the due time. */
  wake(): void {
    // A cycle in progress is what was asked for.
    this.#isWoken = this.#dueMs !== undefined;
    this.#wake();
  }

  /** Runs `act` when no cycle is in progress. */
  exclusively<T>(act: (ports: Ports) => Promise<T>): Promise<T> {
    const turn = this.#turn.then(() => act(this.#ports));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** @returns what decides when the next cycle comes: at the usual time, sooner, or after a back-off */
  async #cycle(run: (ports: Ports) => Promise<Outcome>): Promise<End> {
    try {
      const outcome = await this.exclusively(run);
      this.#options.progressed(statusText(outcome));
      if (outcome.outcome === 'unconfirmed') return { went: outcome.outcome };
      if (outcome.outcome === 'held') return { went: outcome.held };
      return { went: outcome.outcome === 'failed' ? 'badly' : 'well' };
    } catch (error) {
      if (!isOtaError(error) || error.handling.kind === 'bug') throw error;
      // Keys that the TLS library has found are dead once their token restarts: a new process helps.
      if (error.code === 'TOKEN_FAILED') throw error;
      this.#ports.reporter.refused(error);
      this.#options.progressed(error.code);
      if (error.handling.retry !== 'backoff') return { went: 'well' };
      return { went: 'badly', ...retryAfter(error) };
    }
  }

  /** Every sign of progress counts, a byte downloaded as much as a transition. */
  #noting(reporter: Reporter): Reporter {
    const note = (): void => {
      this.#aliveMs = this.#ports.clock.monotonicMs();
    };
    return {
      transition: (...facts) => {
        note();
        reporter.transition(...facts);
      },
      progress: (...facts) => {
        note();
        reporter.progress(...facts);
      },
      refused: (error) => {
        note();
        reporter.refused(error);
      },
    };
  }

  #waitMs(retryAfterMs: number | undefined): number {
    const misfortune = { failures: this.#failures, retryAfterMs };
    return waitMs(this.#options.pollIntervalMs, misfortune, this.#ports.clock.random());
  }

  /** As the process before this one would have. */
  async #goOn({ leftMs, failures, heldMs }: Wait, signal: AbortSignal): Promise<void> {
    this.#failures = failures;
    if (leftMs <= 0) return;
    this.#dueMs = this.#ports.clock.monotonicMs() + leftMs;
    this.#offered = await this.#options.offline?.pickUp.next();
    if (this.#offered !== undefined) return;
    const held = heldMs === undefined ? undefined : await this.exclusively(stillHeld);
    await this.#waitUntilDue(held, signal);
  }

  /** Until the next poll is due, a medium comes, or nothing holds the update back any more. */
  async #waitUntilDue(found: Holding | undefined, signal: AbortSignal): Promise<void> {
    const { offline } = this.#options;
    let held = found;
    while (held !== 'released') {
      this.#heldUntilMs = held === undefined ? undefined : this.#heldUntil(held);
      const leftMs = this.wait?.leftMs ?? 0;
      const stepMs = this.#stepMs(held, leftMs);
      if (leftMs <= 0 || (await this.#wait(stepMs, signal)) || stepMs === leftMs) return;
      this.#offered = await offline?.pickUp.next();
      if (this.#offered !== undefined) return;
      if (held !== undefined) held = await this.exclusively(stillHeld);
    }
  }

  /** How long nothing has to be looked at. */
  #stepMs(held: Holding | undefined, leftMs: number): number {
    const { gateMs = GATE_MS, offline } = this.#options;
    return Math.min(leftMs, offline?.everyMs ?? leftMs, held === undefined ? leftMs : gateMs);
  }

  #heldUntil(held: Held | 'nothing'): number | undefined {
    if (held === 'nothing') return undefined;
    const { clock } = this.#ports;
    return clock.monotonicMs() + mayGoOnAt(held.reasons, held.deadline) - clock.now();
  }

  /** @returns whether it ended before its time */
  #wait(ms: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isEarly: boolean): void => {
        cancel();
        signal.removeEventListener('abort', early);
        this.#wake = () => undefined;
        resolve(isEarly);
      };
      const early = (): void => {
        end(true);
      };
      const cancel = (this.#options.after ?? later)(ms, () => {
        end(false);
      });
      this.#wake = early;
      signal.addEventListener('abort', early);
      if (signal.aborted || this.#isWoken) early();
    });
  }
}

/** Node fires a longer timer at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const later: After = (ms, act) => {
  const timer = setTimeout(act, Math.min(ms, LONGEST_TIMER_MS));
  return () => {
    clearTimeout(timer);
  };
};

function retryAfter(error: AnyOtaError): Pick<End, 'retryAfterMs'> {
  const { retryAfterSeconds } = error.code === 'GATEWAY_ANSWER' ? error.details : {};
  return retryAfterSeconds === undefined ? {} : { retryAfterMs: retryAfterSeconds * 1000 };
}

function statusText(outcome: Outcome): string {
  if (outcome.outcome === 'failed') return outcome.failure.code;
  // As the commands say it.
  return outcome.outcome === 'held' ? 'deferred' : outcome.outcome;
}
