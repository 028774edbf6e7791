/** The daemon: assembles the agent, serves the local API, tells systemd, and runs cycles. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

import type { Agent } from '../assemble.ts';
import {
  abortByHand,
  confirmByHand,
  demandDownload,
  pauseByHand,
  resumeByHand,
  rollBackByHand,
} from '../cycle/by-hand.ts';
import type { Outcome } from '../cycle/cycle.ts';
import { Daemon } from '../cycle/daemon.ts';
import { serveApi, type ApiHandlers } from '../io/api.ts';
import type { LocalPorts } from '../ports.ts';
import { openServiceNotifier } from '../io/systemd.ts';
import { formatInstant } from '../uptane/time.ts';
import { withAgent, type CommandContext } from './context.ts';
import { outcomeResult, type CommandResult } from './result.ts';
import { readRequest, rotateNow } from './rotate.ts';
import { secretsNow } from './secrets.ts';
import { readStatus } from './status.ts';

/** Runs until SIGTERM or SIGINT. Being killed in any other way loses nothing either. */
export function runCommand(context: CommandContext): Promise<CommandResult> {
  return withAgent(context, (agent) => serve(context, agent));
}

async function serve({ loaded, log }: CommandContext, agent: Agent): Promise<CommandResult> {
  const { settings } = loaded;
  const notifier = openServiceNotifier(process.env);
  const stop = stopSignal();
  let status = 'starting';
  const daemon = new Daemon(agent.ports, {
    pollIntervalMs: settings.uptane.poll_interval,
    progressed: (text) => {
      status = text;
      notifier.status(text);
    },
  });
  await mkdir(dirname(settings.api.socket), { recursive: true });
  const { type } = settings.installer;
  const handlers = {
    ...apiHandlers(daemon, agent, { status: () => status, installer: type }),
    secrets: () => daemon.exclusively(() => secretsNow(agent, loaded, log)),
  };
  const api = await serveApi(settings.api.socket, handlers);
  try {
    await notifier.ready();
    notifier.startWatchdog(() => daemon.isAlive());
    log.info('started', { device: agent.identity.deviceId, socket: settings.api.socket });
    await daemon.run(stop);
    return { exit: 0, json: { outcome: 'stopped' }, lines: ['stopped'] };
  } finally {
    await notifier.stopping();
    await api.close();
  }
}

function apiHandlers(
  daemon: Daemon,
  agent: Agent,
  { status, installer }: { readonly status: () => string; readonly installer: string },
): Omit<ApiHandlers, 'secrets'> {
  return {
    status: async () => ({
      ...(await readStatus(agent.store, installer)),
      tlsBackend: agent.identity.tlsBackend,
      lastCycle: status(),
      nextPollAt: daemon.nextPollAt === undefined ? null : formatInstant(daemon.nextPollAt),
    }),
    confirm: () => daemon.exclusively(async (ports) => outcomeResult(await confirmByHand(ports))),
    rollback: () => daemon.exclusively(async (ports) => outcomeResult(await rollBackByHand(ports))),
    pause: () => brake(daemon, agent, 'pause', pauseByHand),
    abort: () => brake(daemon, agent, 'abort', abortByHand),
    resume: async () => {
      const outcome = await daemon.exclusively(resumeByHand);
      daemon.wake();
      return outcomeResult(outcome);
    },
    rotate: (what) => daemon.exclusively(() => rotateNow(agent.upkeep, readRequest([what]))),
    poll: () => {
      daemon.wake();
      return Promise.resolve({ outcome: 'polling' });
    },
  };
}

/** Stops the download first, which has the turn, and then asks what there is to stop. */
async function brake(
  daemon: Daemon,
  { ports }: Agent,
  what: 'pause' | 'abort',
  act: (ports: LocalPorts) => Promise<Outcome>,
): Promise<object> {
  const { plan } = await demandDownload(what, ports);
  ports.brake.ask(what);
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
const STOP_GRACE_MS = 1500;

/** Power-fail safety makes stopping simple: a cycle that does not end in time is ended with us. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      controller.abort();
      setTimeout(() => process.exit(0), STOP_GRACE_MS).unref();
    });
  }
  return controller.signal;
}
