import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

import type { Agent } from '../assemble.ts';
import { runCycle, type Outcome } from '../cycle/cycle.ts';
import { runOfflineCycle } from '../cycle/offline.ts';
import { causeOf, isOtaError, OtaError } from '../errors.ts';
import type { Readings } from '../io/api/metrics.ts';
import type { EventSink } from '../io/api/observed.ts';
import type { Ports } from '../ports.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withAgent, type CommandContext } from './context.ts';
import { metricsFile } from './metrics-file.ts';
import { outcomeResult, type CommandResult } from './result.ts';
import { DaemonView, readings } from './serve-api.ts';

/** Nobody can listen to events where no daemon is. */
const NOBODY: EventSink = { publish: () => undefined };

/** Exactly one cycle in the foreground; resumes an interrupted one first. */
export function onceCommand(context: CommandContext): Promise<CommandResult> {
  return withAgent(context, async (agent) =>
    outcomeResult(await observed(context, agent, runCycle)),
  );
}

/** A cycle of which the metrics tell; on a device without a daemon nobody else does. */
async function observed(
  { loaded, log }: CommandContext,
  agent: Agent,
  run: (ports: Ports) => Promise<Outcome>,
): Promise<Outcome> {
  const { settings } = loaded;
  const view = new DaemonView(agent, NOBODY);
  const daemon = { nextPollAt: undefined };
  const read = (): Promise<Readings> => readings({ agent, daemon, view, settings });
  const writeMetrics = metricsFile(settings.metrics.textfile, read, log);
  let ended = 'BUG';
  try {
    const outcome = await run({ ...agent.ports, reporter: view.observed });
    ended = outcome.outcome === 'failed' ? outcome.failure.code : outcome.outcome;
    return outcome;
  } catch (error) {
    if (isOtaError(error)) ended = error.code;
    throw error;
  } finally {
    view.cycleEnded(ended);
    await writeMetrics();
  }
}

/** A cycle now: in the daemon, which does not wait for its end, or here; or what is on a medium. */
export function updateCommand(context: CommandContext): Promise<CommandResult> {
  const offline = readOffline(context.rest);
  if (offline === undefined) return byDaemonOr(context, '/v1/update', () => onceCommand(context));
  const question = { method: 'POST', path: '/v1/update/offline', body: offline } as const;
  return byDaemonOr(context, question, () =>
    withAgent(context, async (agent) => {
      const run = (ports: Ports): Promise<Outcome> =>
        runOfflineCycle(ports, { ...offline, by: 'hand' });
      return outcomeResult(await observed(context, agent, run));
    }),
  );
}

interface Wanted {
  readonly source: string;
  readonly lockbox?: string;
}

/** @throws OtaError USAGE */
function readOffline(rest: readonly string[]): Wanted | undefined {
  const { offline, lockbox } = readOptions(rest);
  if (offline !== undefined && offline !== '') {
    return { source: resolve(offline), ...(lockbox === undefined ? {} : { lockbox }) };
  }
  if (offline === undefined && lockbox === undefined) return undefined;
  throw new OtaError('USAGE', { what: '--offline names no directory', remedy: REMEDY });
}

const REMEDY = 'ota-agent update [--offline DIR [--lockbox NAME]]';

function readOptions(rest: readonly string[]): { offline?: string; lockbox?: string } {
  try {
    return parseArgs({
      args: [...rest],
      options: { offline: { type: 'string' }, lockbox: { type: 'string' } },
    }).values;
  } catch (cause) {
    throw new OtaError('USAGE', { what: causeOf(cause), remedy: REMEDY }, { cause });
  }
}
