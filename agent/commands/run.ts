/** The daemon: assembles the agent, serves the local API, tells systemd, and runs cycles. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

import type { Agent } from '../assemble.ts';
import { Daemon, type DaemonOptions } from '../cycle/daemon.ts';
import { PickUp } from '../cycle/pick-up.ts';
import { openServiceNotifier } from '../io/systemd.ts';
import type { Settings } from '../settings.ts';
import { withAgent, type CommandContext } from './context.ts';
import type { CommandResult } from './result.ts';
import { secretsNow } from './secrets.ts';
import { DaemonView, serveDaemon } from './serve-api.ts';

/** Runs until SIGTERM or SIGINT. Being killed in any other way loses nothing either. */
export function runCommand(context: CommandContext): Promise<CommandResult> {
  return withAgent(context, (agent) => serve(context, agent));
}

async function serve({ loaded, log }: CommandContext, agent: Agent): Promise<CommandResult> {
  const { settings } = loaded;
  const notifier = openServiceNotifier(process.env);
  const stop = stopSignal();
  const view = new DaemonView(agent);
  const daemon = new Daemon(
    { ...agent.ports, reporter: view.observed },
    {
      pollIntervalMs: settings.uptane.poll_interval,
      ...pickUpFrom(settings, agent),
      progressed: (text) => {
        view.cycleEnded(text);
        notifier.status(text);
      },
    },
  );
  await mkdir(dirname(settings.api.socket), { recursive: true });
  const secrets = (): Promise<CommandResult> => secretsNow(agent, loaded, log);
  const api = await serveDaemon({ agent, daemon, view, settings, secrets });
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

/** Sources where media may come, if any are configured. */
function pickUpFrom(
  { offline: { sources, interval } }: Settings,
  { ports: { media } }: Agent,
): Pick<DaemonOptions, 'offline'> {
  if (media === undefined || sources.length === 0) return {};
  return { offline: { pickUp: new PickUp(media, sources), everyMs: interval } };
}

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
