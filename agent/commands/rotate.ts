/** `ota-agent rotate`: a new certificate or key now, instead of when it is due. */
import type { Rest } from '../../provisioning/rotate.ts';
import { SUBJECTS, type Subject } from '../../provisioning/rotation.ts';
import { OtaError } from '../errors.ts';
import type { IdentityUpkeep } from '../../provisioning/upkeep.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withAgent, type CommandContext } from './context.ts';
import { errorResult, failureResult, type CommandResult } from './result.ts';

export type RotateRequest = Subject | 'cancel';

/** In the daemon where one runs, else here. */
export function rotateCommand(context: CommandContext): Promise<CommandResult> {
  const request = readRequest(context.rest);
  return byDaemonOr(context, `/v1/rotate/${request}`, () =>
    withAgent(context, ({ upkeep }) => rotateNow(upkeep, request)),
  );
}

export async function rotateNow(
  upkeep: IdentityUpkeep,
  request: RotateRequest,
): Promise<CommandResult> {
  const rest = request === 'cancel' ? await upkeep.cancel() : await upkeep.rotate(request);
  return restResult(rest, request);
}

/** @throws OtaError USAGE */
export function readRequest(rest: readonly string[]): RotateRequest {
  const [first, ...more] = rest;
  const all = [...SUBJECTS, 'cancel'] as const;
  const request = all.find((one) => one === first);
  if (request !== undefined && more.length === 0) return request;
  const what = `rotate does not take ${rest.join(' ') || 'nothing'}`;
  throw new OtaError('USAGE', { what, remedy: `ota-agent rotate ${all.join('|')}` });
}

function restResult(rest: Rest, request: RotateRequest): CommandResult {
  switch (rest.is) {
    case 'rotated': {
      const lines = [`${request}: rotated; the old one is destroyed`];
      return { exit: 0, json: { outcome: 'rotated', rotated: request }, lines };
    }
    case 'undone': {
      if (request === 'cancel') {
        return { exit: 0, json: { outcome: 'cancelled' }, lines: ['cancelled'] };
      }
      const result = failureResult(rest.failure.code, rest.failure.details);
      const stays = { rotation: 'undone' };
      const lines = [`${request}: not rotated; the old one stays in use`, ...result.lines];
      return { ...result, json: { ...result.json, ...stays }, lines };
    }
    case 'waiting': {
      const result = errorResult(rest.why);
      const { of, at } = rest.rotation;
      const lines = [`${of}: waits at ${at}; it goes on at the next cycle`, ...result.lines];
      return { ...result, json: { ...result.json, rotation: 'waiting', at }, lines };
    }
  }
}
