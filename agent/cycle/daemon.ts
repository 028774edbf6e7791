/** Runs cycles for ever: at a jittered interval, sooner when asked, later when the way is bad. */
import { isOtaError } from '../errors.ts';
import type { Ports, Reporter } from '../ports.ts';
import type { Instant } from '../uptane/time.ts';
import { mayGoOn, runCycle, type Outcome } from './cycle.ts';
import { runOfflineCycle } from './offline.ts';
import type { PickUp } from './pick-up.ts';

export interface DaemonOptions {
  readonly pollIntervalMs: number;
  /** How often an update that waits is looked at; for tests. */
  readonly gateMs?: number;
  /** Told after every cycle, with what the service should show. */
  readonly progressed: (status: string) => void;
  /** Media that are looked at, and how often. */
  readonly offline?: { readonly pickUp: PickUp; readonly everyMs: number };
}

/** Longer than any wait that a limit of ours allows within a cycle. */
const STUCK_MS = 10 * 60_000;
const FIRST_BACKOFF_MS = 15_000;
/** How soon a new image that is not healthy yet is asked again. */
const RECHECK_MS = 10_000;
/** How soon it is asked again whether an update still has to wait: costs no network. */
const GATE_MS = 60_000;
/** Share of the interval by which polls are spread, so that a fleet does not come all at once. */
const JITTER = 0.1;

/** What others may ask of a running daemon; served between cycles, never during one. */
export class Daemon {
  readonly #ports: Ports;
  readonly #options: DaemonOptions;
  #turn: Promise<unknown> = Promise.resolve();
  #wake: () => void = () => undefined;
  /** A medium that was noticed while waiting. */
  #offered: string | undefined;
  /** On the monotonic clock; `undefined` while a poll is in progress. */
  #dueMs: number | undefined;
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

  /** @param signal - aborting it ends the loop after the cycle in progress */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#ports;
    let failures = 0;
    while (!signal.aborted) {
      this.#dueMs = undefined;
      this.#aliveMs = clock.monotonicMs();
      await this.#takeOffered();
      const ended = await this.#cycle(runCycle);
      failures = ended === 'badly' ? failures + 1 : 0;
      const waitMs = ended === 'unconfirmed' ? RECHECK_MS : this.#waitMs(failures);
      this.#dueMs = clock.monotonicMs() + waitMs;
      await this.#waitUntilDue(waitMs, ended === 'held', signal);
    }
  }

  /** What is on a medium goes first: a person has put it in. */
  async #takeOffered(): Promise<void> {
    const pickUp = this.#options.offline?.pickUp;
    const source = this.#offered ?? (await pickUp?.next());
    this.#offered = undefined;
    if (source === undefined) return;
    const ended = await this.#cycle((ports) => runOfflineCycle(ports, { source, by: 'itself' }));
    // Another image is still on trial.
    if (ended === 'unconfirmed') pickUp?.again(source);
  }

  /** Polls now instead of at the due time. */
  wake(): void {
    this.#wake();
  }

  /** Runs `act` when no cycle is in progress. */
  exclusively<T>(act: (ports: Ports) => Promise<T>): Promise<T> {
    const turn = this.#turn.then(() => act(this.#ports));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** @returns when the next cycle should come: at the usual time, sooner, or after a back-off */
  async #cycle(
    run: (ports: Ports) => Promise<Outcome>,
  ): Promise<'well' | 'badly' | 'unconfirmed' | 'held'> {
    try {
      const outcome = await this.exclusively(run);
      this.#options.progressed(statusText(outcome));
      if (outcome.outcome === 'unconfirmed' || outcome.outcome === 'held') return outcome.outcome;
      return outcome.outcome === 'failed' ? 'badly' : 'well';
    } catch (error) {
      if (!isOtaError(error) || error.handling.kind === 'bug') throw error;
      // Keys that the TLS library has found are dead once their token restarts: a new process helps.
      if (error.code === 'TOKEN_FAILED') throw error;
      this.#ports.reporter.refused(error);
      this.#options.progressed(error.code);
      return error.handling.retry === 'backoff' ? 'badly' : 'well';
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

  #waitMs(failures: number): number {
    const { pollIntervalMs } = this.#options;
    const spread = 1 + JITTER * (2 * this.#ports.clock.random() - 1);
    if (failures === 0) return pollIntervalMs * spread;
    return Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), pollIntervalMs) * spread;
  }

  /** Until the next poll is due, a medium comes, or nothing holds the update back any more. */
  async #waitUntilDue(ms: number, isHeld: boolean, signal: AbortSignal): Promise<void> {
    const { gateMs = GATE_MS, offline } = this.#options;
    const stepMs = Math.min(offline?.everyMs ?? ms, isHeld ? gateMs : ms);
    for (let leftMs = ms; leftMs > 0; leftMs -= stepMs) {
      if (await this.#wait(Math.min(leftMs, stepMs), signal)) return;
      this.#offered = await offline?.pickUp.next();
      if (this.#offered !== undefined) return;
      if (isHeld && (await this.exclusively(mayGoOn))) return;
    }
  }

  /** @returns whether it ended before its time */
  #wait(ms: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isEarly: boolean): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', early);
        this.#wake = () => undefined;
        resolve(isEarly);
      };
      const early = (): void => {
        end(true);
      };
      const timer = setTimeout(end, ms, false);
      this.#wake = early;
      signal.addEventListener('abort', early);
      if (signal.aborted) early();
    });
  }
}

function statusText(outcome: Outcome): string {
  if (outcome.outcome === 'failed') return outcome.failure.code;
  // As the commands say it.
  return outcome.outcome === 'held' ? 'deferred' : outcome.outcome;
}
