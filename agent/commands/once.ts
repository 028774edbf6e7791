import { parseArgs } from 'node:util';
import { resolve } from 'node:path';

import { causeOf, OtaError } from '../errors.ts';
import { runCycle } from '../cycle/cycle.ts';
import { runOfflineCycle } from '../cycle/offline.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withAgent, type CommandContext } from './context.ts';
import { outcomeResult, type CommandResult } from './result.ts';

/** Exactly one cycle in the foreground; resumes an interrupted one first. */
export function onceCommand(context: CommandContext): Promise<CommandResult> {
  return withAgent(context, async ({ ports }) => outcomeResult(await runCycle(ports)));
}

/** A cycle now: in the daemon, which does not wait for its end, or here; or what is on a medium. */
export function updateCommand(context: CommandContext): Promise<CommandResult> {
  const offline = readOffline(context.rest);
  if (offline === undefined) return byDaemonOr(context, '/v1/update', () => onceCommand(context));
  const question = { method: 'POST', path: '/v1/update/offline', body: offline } as const;
  return byDaemonOr(context, question, () =>
    withAgent(context, async ({ ports }) =>
      outcomeResult(await runOfflineCycle(ports, { ...offline, by: 'hand' })),
    ),
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
