import { runCycle, type Outcome } from '../cycle/cycle.ts';
import { isOtaError } from '../errors.ts';
import type { Agent } from '../assemble.ts';
import type { Readings } from '../io/api/metrics.ts';
import type { EventSink } from '../io/api/observed.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withAgent, type CommandContext } from './context.ts';
import { metricsFile } from './metrics-file.ts';
import { outcomeResult, type CommandResult } from './result.ts';
import { DaemonView, readings } from './serve-api.ts';

/** Nobody can listen to events where no daemon is. */
const NOBODY: EventSink = { publish: () => undefined };

/** Exactly one cycle in the foreground; resumes an interrupted one first. */
export function onceCommand(context: CommandContext): Promise<CommandResult> {
  return withAgent(context, async (agent) => outcomeResult(await observedCycle(context, agent)));
}

/** A cycle of which the metrics tell; on a device without a daemon nobody else does. */
async function observedCycle({ loaded, log }: CommandContext, agent: Agent): Promise<Outcome> {
  const { settings } = loaded;
  const view = new DaemonView(agent, NOBODY);
  const daemon = { nextPollAt: undefined };
  const read = (): Promise<Readings> => readings({ agent, daemon, view, settings });
  const writeMetrics = metricsFile(settings.metrics.textfile, read, log);
  let ended = 'BUG';
  try {
    const outcome = await runCycle({ ...agent.ports, reporter: view.observed });
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

/** A cycle now: in the daemon, which does not wait for its end, or here. */
export function updateCommand(context: CommandContext): Promise<CommandResult> {
  return byDaemonOr(context, '/v1/update', () => onceCommand(context));
}
