import {
  abortByHand,
  approveByHand,
  confirmByHand,
  pauseByHand,
  resumeByHand,
  rollBackByHand,
} from '../cycle/by-hand.ts';
import { OtaError } from '../errors.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withLocalAgent, type CommandContext } from './context.ts';
import { outcomeResult, type CommandResult } from './result.ts';
import { statusNow } from './status.ts';

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

/**
 * Agrees to the installation of the update that waits: the one that is named, or that waits now.
 *
 * @throws OtaError USAGE if none does
 */
export async function approveCommand(context: CommandContext): Promise<CommandResult> {
  const [named, ...more] = context.rest;
  if (more.length > 0) {
    const what = `approve does not take ${more.join(' ')}`;
    throw new OtaError('USAGE', { what, remedy: 'ota-agent approve [UPDATE]' });
  }
  const update = named ?? (await waitingUpdate(context));
  const question = { method: 'POST', path: '/v1/approve', body: { update } } as const;
  return byDaemonOr(context, question, () =>
    withLocalAgent(context, async ({ ports }) => outcomeResult(await approveByHand(update, ports))),
  );
}

async function waitingUpdate(context: CommandContext): Promise<string> {
  const { json } = await statusNow(context);
  const { waiting } = json as { readonly waiting?: { readonly update: string } | null };
  if (waiting !== undefined && waiting !== null) return waiting.update;
  throw new OtaError('USAGE', { what: 'no update waits', remedy: 'see ota-agent status' });
}
