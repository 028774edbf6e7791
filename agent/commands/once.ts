import { runCycle } from '../cycle/cycle.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withAgent, type CommandContext } from './context.ts';
import { outcomeResult, type CommandResult } from './result.ts';

/** Exactly one cycle in the foreground; resumes an interrupted one first. */
export function onceCommand(context: CommandContext): Promise<CommandResult> {
  return withAgent(context, async ({ ports }) => outcomeResult(await runCycle(ports)));
}

/** A cycle now: in the daemon, which does not wait for its end, or here. */
export function updateCommand(context: CommandContext): Promise<CommandResult> {
  return byDaemonOr(context, '/v1/update', () => onceCommand(context));
}
