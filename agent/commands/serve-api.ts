/** What the running daemon answers over its API: the same results that the commands print. */
import type { Agent } from '../assemble.ts';
import {
  abortByHand,
  approveByHand,
  confirmByHand,
  demandDownload,
  pauseByHand,
  resumeByHand,
  rollBackByHand,
} from '../cycle/by-hand.ts';
import type { Outcome } from '../cycle/cycle.ts';
import type { Daemon } from '../cycle/daemon.ts';
import { loadState } from '../cycle/drive.ts';
import { runOfflineCycle } from '../cycle/offline.ts';
import { isOtaError } from '../errors.ts';
import { answerOf, type ApiAnswer, type ApiQuestion } from '../io/api/answer.ts';
import type { ApiHandlers } from '../io/api/dispatch.ts';
import type { Readings } from '../io/api/metrics.ts';
import { Observed, type Counts, type EventSink } from '../io/api/observed.ts';
import type { LocalPorts } from '../ports.ts';
import type { Settings } from '../settings.ts';
import { formatInstant, type Instant } from '../uptane/time.ts';
import { VERSION } from '../version.ts';
import { checkNow } from './check.ts';
import { errorResult, outcomeResult, type CommandResult } from './result.ts';
import { readRequest, rotateNow } from './rotate.ts';
import { readHistory, readStatus } from './status.ts';

/** What has to outlive a process of the daemon: only memory has it. */
export interface Remembered {
  readonly lastCycle: string;
  readonly lastCycleAt: Instant | undefined;
  readonly counts: Counts;
}

/** What the API shows of the daemon, beside what is on disk. */
export class DaemonView {
  readonly observed: Observed;
  readonly #now: () => Instant;
  lastCycle: string;
  lastCycleAt: Instant | undefined;

  /** @param before - what the process before this one has left */
  constructor({ ports }: Agent, events: EventSink, before?: Remembered) {
    const { clock, reporter } = ports;
    this.observed = new Observed(reporter, events, () => clock.monotonicMs(), before?.counts);
    this.#now = () => clock.now();
    this.lastCycle = before?.lastCycle ?? 'starting';
    this.lastCycleAt = before?.lastCycleAt;
  }

  get remembered(): Remembered {
    const { lastCycle, lastCycleAt, observed } = this;
    return { lastCycle, lastCycleAt, counts: observed.counts };
  }

  cycleEnded(outcome: string): void {
    this.lastCycle = outcome;
    this.lastCycleAt = this.#now();
    this.observed.cycleEnded(outcome);
  }
}

export interface Served {
  readonly agent: Agent;
  readonly daemon: Daemon;
  readonly view: DaemonView;
  readonly settings: Settings;
  /** Receives what was encrypted to this device. */
  readonly secrets: () => Promise<CommandResult>;
}

type Answering = (question: ApiQuestion) => Promise<ApiAnswer>;

/** Answers what the API is asked. */
export function answering(served: Served): Answering {
  let loaded: Promise<Answering> | undefined;
  return async (question) => {
    loaded ??= loadDispatcher(served);
    return (await loaded)(question);
  };
}

/** Loaded when somebody asks: schemas are large, and most cycles have no audience. */
async function loadDispatcher(served: Served): Promise<Answering> {
  const { dispatcher } = await import('../io/api/dispatch.ts');
  return dispatcher(handlersOf(served), async () => {
    return (await import('../io/api/openapi.ts')).openApiDocument(VERSION);
  });
}

/** What the route of the status answers. */
export async function statusAnswer(served: Served): Promise<ApiAnswer> {
  return answerOf(200, await status(served));
}

function handlersOf(served: Served): ApiHandlers {
  const { agent, daemon, secrets } = served;
  const exclusively = (act: (ports: LocalPorts) => Promise<Outcome>): Promise<object> =>
    result(() => daemon.exclusively(async (ports) => outcomeResult(await act(ports))));
  return {
    status: () => status(served),
    history: async () => ({ history: await readHistory(agent.store) }),
    check: () => result(() => daemon.exclusively(checkNow)),
    update: () =>
      result(() => {
        daemon.wake();
        return Promise.resolve({ exit: 0, json: { outcome: 'polling' }, lines: [POLLING] });
      }),
    offline: ({ body }) => result(() => offlineNow(served, body)),
    pause: () => result(() => brake(served, 'pause', pauseByHand)),
    abort: () => result(() => brake(served, 'abort', abortByHand)),
    resume: () =>
      result(async () => {
        const outcome = await daemon.exclusively(resumeByHand);
        daemon.wake();
        return outcomeResult(outcome);
      }),
    approve: ({ body }) =>
      result(async () => {
        const update = String(body['update']);
        const outcome = await daemon.exclusively((ports) => approveByHand(update, ports));
        daemon.wake();
        return outcomeResult(outcome);
      }),
    confirm: () => exclusively(confirmByHand),
    rollback: () => exclusively(rollBackByHand),
    rotate: ({ parts }) =>
      result(() =>
        daemon.exclusively(() => rotateNow(agent.upkeep, readRequest([parts['what'] ?? '']))),
      ),
    secrets: () => result(() => daemon.exclusively(secrets)),
  };
}

const POLLING = 'the daemon runs a cycle now: ota-agent status --watch shows it';

/** A command's result as one document; an expected failure, too. */
async function result(act: () => Promise<CommandResult>): Promise<object> {
  try {
    return documentOf(await act());
  } catch (error) {
    if (!isOtaError(error) || error.code === 'BUG') throw error;
    return documentOf(errorResult(error));
  }
}

function documentOf({ exit, json, lines }: CommandResult): object {
  return { ...json, exit, lines };
}

async function status({ agent, daemon, view, settings }: Served): Promise<object> {
  return {
    version: VERSION,
    ...(await readStatus(agent.store, settings.installer.type)),
    progress: view.observed.progressNow ?? null,
    tlsBackend: agent.identity.tlsBackend,
    lastCycle: view.lastCycle,
    nextPollAt: daemon.nextPollAt === undefined ? null : formatInstant(daemon.nextPollAt),
  };
}

type Shown = Pick<Served, 'agent' | 'view' | 'settings'> & {
  readonly daemon: Pick<Daemon, 'nextPollAt'>;
};

/** What the metrics are made of. */
export async function readings({ agent, daemon, view, settings }: Shown): Promise<Readings> {
  const { at } = await loadState(agent.store);
  const { warnings } = await readStatus(agent.store, settings.installer.type);
  return {
    state: at,
    nextPollAt: daemon.nextPollAt,
    lastCycleAt: view.lastCycleAt,
    refusal: await agent.store.refusal(),
    warnings: Array.isArray(warnings) ? warnings.length : 0,
    progress: view.observed.progressNow,
    counts: view.observed.counts,
  };
}

/** A person has asked, and waits for what becomes of it. */
async function offlineNow(
  { daemon, view }: Served,
  { source, lockbox }: Readonly<Record<string, unknown>>,
): Promise<CommandResult> {
  const chosen = typeof lockbox === 'string' ? { lockbox } : {};
  const offer = { source: String(source), ...chosen, by: 'hand' } as const;
  const outcome = await daemon.exclusively((ports) => runOfflineCycle(ports, offer));
  view.cycleEnded(outcome.outcome);
  daemon.wake();
  return outcomeResult(outcome);
}

/** Stops what the cycle in progress downloads: before the turn of the request itself. */
async function brake(
  { daemon, agent }: Served,
  what: 'pause' | 'abort',
  act: (ports: LocalPorts) => Promise<Outcome>,
): Promise<CommandResult> {
  const { plan } = await demandDownload(what, agent.ports);
  agent.ports.brake.ask(what);
  const outcome = await daemon.exclusively(async (own): Promise<Outcome> => {
    // Taken by the cycle that had the turn.
    if (own.brake.asked === undefined) return { outcome: DONE[what], plan };
    own.brake.release();
    return act(own);
  });
  daemon.wake();
  return outcomeResult(outcome);
}

const DONE = { pause: 'paused', abort: 'aborted' } as const;
