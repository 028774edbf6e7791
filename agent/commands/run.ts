/** The daemon: assembles the agent, serves the local API, tells systemd, and runs cycles. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

import type { Agent } from '../assemble.ts';
import { confirmByHand, rollBackByHand } from '../cycle/by-hand.ts';
import { Daemon } from '../cycle/daemon.ts';
import { serveApi, type ApiHandlers } from '../io/api.ts';
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
  const handlers = {
    ...apiHandlers(daemon, agent, () => status),
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
  status: () => string,
): Omit<ApiHandlers, 'secrets'> {
  return {
    status: async () => ({
      ...(await readStatus(agent.store, agent.ports.installer.kind)),
      tlsBackend: agent.identity.tlsBackend,
      lastCycle: status(),
      nextPollAt: daemon.nextPollAt === undefined ? null : formatInstant(daemon.nextPollAt),
    }),
    confirm: () => daemon.exclusively(async (ports) => outcomeResult(await confirmByHand(ports))),
    rollback: () => daemon.exclusively(async (ports) => outcomeResult(await rollBackByHand(ports))),
    rotate: (what) => daemon.exclusively(() => rotateNow(agent.upkeep, readRequest([what]))),
    poll: () => {
      daemon.wake();
      return Promise.resolve({ outcome: 'polling' });
    },
  };
}

const STOP_GRACE_MS = 5000;

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
