/**
 * The process that works for the daemon: cycles, and whatever the API is asked that needs more than memory.
 *
 * It goes when nothing is left to do for a while, and with it all that it had to load. What it is told
 * comes from `worker.ts`.
 */
import { prepareStorage, type Agent } from '../../assemble.ts';
import { loadSettings } from '../../config.ts';
import { requireGateway } from '../../config-rules.ts';
import { Daemon } from '../../cycle/daemon.ts';
import { causeOf, isOtaError } from '../../errors.ts';
import type { ApiAnswer, ApiQuestion } from '../../io/api/answer.ts';
import { ownUsage } from '../../io/api/metrics.ts';
import { openLog } from '../../io/log.ts';
import { permitted, type Facts } from '../../io/log-fields.ts';
import { keepRefusedPins } from '../../io/token/refused-pins.ts';
import { withAgent, type CommandContext } from '../context.ts';
import { metricsFile } from '../metrics-file.ts';
import { errorResult } from '../result.ts';
import { secretsNow } from '../secrets.ts';
import { answering, DaemonView, readings, type Served } from '../serve-api.ts';
import { Leaving } from './leaving.ts';
import { Link } from './link.ts';
import {
  isStatus,
  STATUS,
  type Beginning,
  type Left,
  type Question,
  type Reply,
} from './messages.ts';
import { stopSignal, WORK_GRACE_MS } from './stop-signal.ts';

const stop = stopSignal(WORK_GRACE_MS);
const link = new Link();
try {
  await work(await link.beginning);
} catch (error) {
  if (isOtaError(error) && error.code !== 'BUG') {
    link.tell({ say: 'failed', result: errorResult(error) });
  } else {
    process.stderr.write(`this is a bug in ota-agent: ${causeOf(error)}\n`);
    process.stderr.write(`${error instanceof Error ? (error.stack ?? '') : ''}\n`);
    process.exitCode = 1;
  }
}
link.close();

async function work({ config, left }: Beginning): Promise<void> {
  const loaded = left?.loaded ?? (await loadSettings({ config }));
  keepRefusedPins(loaded.settings.storage.path);
  const log = openLog(loaded.settings.log, process.stderr);
  if (left === undefined) {
    requireGateway(loaded);
    await prepareStorage(loaded);
    await link.tellAndWait({ say: 'configured', loaded });
  }
  const given = { lock: 'service', isProbed: left !== undefined } as const;
  const context = { loaded, rest: [], json: false, log, given };
  await withAgent(context, (agent) => serve(context, agent, left));
}

async function serve(
  { loaded, log }: CommandContext,
  agent: Agent,
  left: Left | undefined,
): Promise<void> {
  const { settings } = loaded;
  const publish = (event: string, facts: Facts): void => {
    link.tell({ say: 'event', event, facts: permitted(facts) });
  };
  const view = new DaemonView(agent, { publish }, left?.remembered);
  const daemon = new Daemon(
    { ...agent.ports, reporter: view.observed },
    {
      pollIntervalMs: settings.uptane.poll_interval,
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
    const shown = { status: await ask(STATUS), readings: await readings(served) };
    return (wait) => {
      const rest = { ...shown, wait, remembered: view.remembered, usage: ownUsage() };
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
