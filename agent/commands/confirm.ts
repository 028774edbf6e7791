import {
  abortByHand,
  confirmByHand,
  pauseByHand,
  resumeByHand,
  rollBackByHand,
} from '../cycle/by-hand.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withLocalAgent, type CommandContext } from './context.ts';
import { outcomeResult, type CommandResult } from './result.ts';

type ByHand = typeof confirmByHand;

/** What a person decides: in the daemon where one runs, else here. */
function decided(context: CommandContext, path: string, act: ByHand): Promise<CommandResult> {
  return byDaemonOr(context, path, () =>
    withLocalAgent(context, async ({ ports }) => outcomeResult(await act(ports))),
  );
}

/** Marks the running image good. */
export function confirmCommand(context: CommandContext): Promise<CommandResult> {
  return decided(context, '/v1/confirm', confirmByHand);
}

/** Goes back to the previous image. */
export function rollbackCommand(context: CommandContext): Promise<CommandResult> {
  return decided(context, '/v1/rollback', rollBackByHand);
}

/** Stops the download that is under way, until it is resumed. */
export function pauseCommand(context: CommandContext): Promise<CommandResult> {
  return decided(context, '/v1/pause', pauseByHand);
}

/** Lets a paused download go on: now where a daemon runs, else in the next cycle. */
export function resumeCommand(context: CommandContext): Promise<CommandResult> {
  return decided(context, '/v1/resume', resumeByHand);
}

/** Ends an update that is downloaded. */
export function abortCommand(context: CommandContext): Promise<CommandResult> {
  return decided(context, '/v1/abort', abortByHand);
}
