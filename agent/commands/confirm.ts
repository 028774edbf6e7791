import { confirmByHand, rollBackByHand } from '../cycle/by-hand.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withLocalAgent, type CommandContext } from './context.ts';
import { outcomeResult, type CommandResult } from './result.ts';

/** Marks the running image good: in the daemon where one runs, else here. */
export function confirmCommand(context: CommandContext): Promise<CommandResult> {
  return byDaemonOr(context, '/confirm', () =>
    withLocalAgent(context, async ({ ports }) => outcomeResult(await confirmByHand(ports))),
  );
}

/** Goes back to the previous image: in the daemon where one runs, else here. */
export function rollbackCommand(context: CommandContext): Promise<CommandResult> {
  return byDaemonOr(context, '/rollback', () =>
    withLocalAgent(context, async ({ ports }) => outcomeResult(await rollBackByHand(ports))),
  );
}
