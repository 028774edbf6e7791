/** The daemon: assembles the agent, serves the local API, tells systemd, and runs cycles. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

import type { Agent } from '../assemble.ts';
import { Daemon } from '../cycle/daemon.ts';
import { openServiceNotifier } from '../io/systemd.ts';
import { withAgent, type CommandContext } from './context.ts';
import { metricsFile } from './metrics-file.ts';
import type { CommandResult } from './result.ts';
import { secretsNow } from './secrets.ts';
import { DaemonView, metricsOf, serveDaemon } from './serve-api.ts';

/** Runs until SIGTERM or SIGINT. Being killed in any other way loses nothing either. */
export function runCommand(context: CommandContext): Promise<CommandResult> {
  // Before anything that may hang: opening the token, say.
  const stop = stopSignal();
  return withAgent(context, (agent) => serve(context, agent, stop));
}

async function serve(
  { loaded, log }: CommandContext,
  agent: Agent,
  stop: AbortSignal,
): Promise<CommandResult> {
  const { settings } = loaded;
  const notifier = openServiceNotifier(process.env);
  const view = new DaemonView(agent);
  const daemon = new Daemon(
    { ...agent.ports, reporter: view.observed },
    {
      pollIntervalMs: settings.uptane.poll_interval,
      progressed: (text) => {
        view.cycleEnded(text);
        notifier.status(text);
        void writeMetrics();
      },
    },
  );
  const shown = { agent, daemon, view, settings };
  const writeMetrics = metricsFile(settings.metrics.textfile, () => metricsOf(shown), log);
  await mkdir(dirname(settings.api.socket), { recursive: true });
  const secrets = (): Promise<CommandResult> => secretsNow(agent, loaded, log);
  const api = await serveDaemon({ ...shown, secrets });
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

const STOP_GRACE_MS = 500;

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
