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
import { EventHub } from '../io/api/event-hub.ts';
import { metricsText } from '../io/api/metrics.ts';
import { Observed } from '../io/api/observed.ts';
import { serveApi, type Api, type ApiHandlers } from '../io/api/server.ts';
import type { LocalPorts } from '../ports.ts';
import type { Settings } from '../settings.ts';
import { formatInstant, type Instant } from '../uptane/time.ts';
import { VERSION } from '../version.ts';
import { checkNow } from './check.ts';
import { errorResult, outcomeResult, type CommandResult } from './result.ts';
import { readRequest, rotateNow } from './rotate.ts';
import { readHistory, readStatus } from './status.ts';

/** What the API shows of the daemon, beside what is on disk. */
export class DaemonView {
  readonly hub = new EventHub();
  readonly observed: Observed;
  readonly #now: () => Instant;
  lastCycle = 'starting';
  lastCycleAt: Instant | undefined;

  constructor({ ports }: Agent) {
    this.observed = new Observed(ports.reporter, this.hub, () => ports.clock.monotonicMs());
    this.#now = () => ports.clock.now();
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

/** @throws OtaError FILE_UNREADABLE if the socket cannot be made */
export function serveDaemon(served: Served): Promise<Api> {
  const { socket, group } = served.settings.api;
  return serveApi(
    {
      socket,
      group,
      hub: served.view.hub,
      metrics: () => metrics(served),
      // Loaded when asked for: the schemas of a document are large.
      document: async () => (await import('../io/api/openapi.ts')).openApiDocument(VERSION),
    },
    handlersOf(served),
  );
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

async function metrics({ agent, daemon, view, settings }: Served): Promise<string> {
  const { at } = await loadState(agent.store);
  const { warnings } = await readStatus(agent.store, settings.installer.type);
  const snapshot = {
    version: VERSION,
    state: at,
    nextPollAt: daemon.nextPollAt,
    lastCycleAt: view.lastCycleAt,
    refusal: await agent.store.refusal(),
    warnings: Array.isArray(warnings) ? warnings.length : 0,
  };
  return metricsText(snapshot, view.observed);
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
