import { attestTime } from '../cycle/attest-time.ts';
import { verify } from '../cycle/poll.ts';
import { demandNotBehind } from '../cycle/seal.ts';
import type { Ports } from '../ports.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withAgent, type CommandContext } from './context.ts';
import { outcomeResult, planResult, type CommandResult } from './result.ts';

/** Fetches and verifies, in the daemon where one runs; changes nothing but trusted metadata. */
export function checkCommand(context: CommandContext): Promise<CommandResult> {
  return byDaemonOr(context, '/v1/check', () => withAgent(context, ({ ports }) => checkNow(ports)));
}

export async function checkNow(ports: Ports): Promise<CommandResult> {
  await demandNotBehind(ports);
  await attestTime(ports);
  const { outcome, targets, correlationId } = await verify(ports);
  if (outcome === 'up-to-date') return outcomeResult({ outcome });
  return planResult('update-available', { correlationId, targets }, 10);
}
