/** What a worker is once it has its settings: the daemon, until it is told to stop or has nothing to do. */
import type { Agent } from '../../assemble.ts';
import type { LoadedSettings } from '../../config-problem.ts';
import { Daemon, type DaemonOptions } from '../../cycle/daemon.ts';
import { PickUp, type SeenMedia } from '../../cycle/pick-up.ts';
import type { ApiAnswer, ApiQuestion } from '../../io/api/answer.ts';
import { ownUsage } from '../../io/api/metrics.ts';
import { openLog } from '../../io/log.ts';
import type { Facts } from '../../io/log-fields.ts';
import { keepRefusedPins } from '../../io/token/refused-pins.ts';
import type { Settings } from '../../settings.ts';
import { withAgent, type CommandContext } from '../context.ts';
import { metricsFile } from '../metrics-file.ts';
import { secretsNow } from '../secrets.ts';
import { answering, DaemonView, readings, statusAnswer, type Served } from '../serve-api.ts';
import { Leaving } from './leaving.ts';
import type { Link } from './link.ts';
import { isStatus, type Left, type Question, type Reply } from './messages.ts';

export interface Hired {
  readonly link: Link;
  readonly stop: AbortSignal;
  /** Rejects where the PKCS#11 library may not be let in. */
  readonly probed: Promise<void>;
  /** Absent for the first worker. */
  readonly left: Left | undefined;
}

/** @throws OtaError what `assemble` throws, and what ends a daemon */
export async function serveDaemon(loaded: LoadedSettings, hired: Hired): Promise<void> {
  keepRefusedPins(loaded.settings.storage.path);
  const log = openLog(loaded.settings.log, process.stderr);
  const { probed, left } = hired;
  const given = { lock: 'service', probed, sessions: left?.sessions } as const;
  const context = { loaded, rest: [], json: false, log, given };
  await withAgent(context, (agent) => serve(context, agent, hired));
}

async function serve(
  { loaded, log }: CommandContext,
  agent: Agent,
  { link, stop, left }: Hired,
): Promise<void> {
  const { settings } = loaded;
  const publish = (event: string, facts: Facts): void => {
    link.tell({ say: 'event', event, facts });
  };
  const view = new DaemonView(agent, { publish }, left?.remembered);
  const offline = offlineFrom(settings, agent, left?.media);
  const daemon = new Daemon(
    { ...agent.ports, reporter: view.observed },
    {
      pollIntervalMs: settings.uptane.poll_interval,
      offline,
      progressed: (text) => {
        view.cycleEnded(text);
        link.tell({ say: 'status', text });
        leaving.putOff();
        void writeMetrics();
      },
    },
  );
  const served = { agent, daemon, view, settings, secrets: () => secretsNow(agent, loaded, log) };
  const ask = answering(served);
  const writeMetrics = metricsFile(settings.metrics.textfile, () => readings(served), log);
  const leaving = new Leaving(daemon, settings.daemon.linger, async () => {
    const shown = { status: await statusAnswer(served), readings: await readings(served) };
    return (wait) => {
      const { remembered } = view;
      const media = offline?.pickUp.seen ?? new Map();
      const sessions = agent.leaveSessions();
      const rest = { ...shown, wait, remembered, media, sessions, usage: ownUsage() };
      link.leave({ say: 'rest', rest });
    };
  });
  if (left === undefined) {
    await link.tellAndWait({ say: 'ready' });
    log.info('started', { device: agent.identity.deviceId, socket: settings.api.socket });
  }
  const ended = daemon.run(AbortSignal.any([stop, leaving.signal]), left?.wait);
  link.answerWith((question) => leaving.during(() => reply(question, { served, ask, leaving })));
  await ended;
}

/** Sources where media may come, if any are configured. */
function offlineFrom(
  { offline: { sources, interval } }: Settings,
  { ports: { media } }: Agent,
  seen: SeenMedia | undefined,
): DaemonOptions['offline'] {
  if (media === undefined || sources.length === 0) return undefined;
  return { pickUp: new PickUp(media, sources, seen), everyMs: interval };
}

interface Answering {
  readonly served: Served;
  readonly ask: (question: ApiQuestion) => Promise<ApiAnswer>;
  readonly leaving: Leaving;
}

async function reply(asked: Question, { served, ask, leaving }: Answering): Promise<Reply> {
  switch (asked.ask) {
    case 'alive':
      return served.daemon.isAlive();
    case 'readings':
      return { readings: await readings(served), usage: ownUsage() };
    case 'api': {
      const answer = await ask(asked.question);
      // Whoever watches must not keep in memory what is watched.
      if (!isStatus(asked.question)) leaving.putOff();
      return answer;
    }
  }
}
