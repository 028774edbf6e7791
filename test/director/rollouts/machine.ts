/** How a rollout goes on: by what its devices did, and by what an operator says. */
import { Refusal } from '../failure.ts';
import {
  neededOf,
  NO_DEVICES,
  sizeOf,
  type Phase,
  type PhaseCounts,
  type Rollout,
  type RolloutState,
} from './rollout.ts';

export const COMMANDS = ['pause', 'resume', 'advance', 'cancel', 'stop'] as const;
export type RolloutCommand = (typeof COMMANDS)[number];

const ALLOWED: Readonly<Record<RolloutCommand | 'start', readonly RolloutState[]>> = {
  start: ['draft'],
  pause: ['running'],
  resume: ['paused'],
  advance: ['running', 'paused'],
  cancel: ['draft', 'running', 'paused'],
  stop: ['running', 'paused', 'cancelled'],
};

/** What follows from the counts of all phases, in order. The same rollout when nothing does. */
export function advance(rollout: Rollout, counts: readonly PhaseCounts[], nowMs: number): Rollout {
  if (rollout.state !== 'running' && rollout.state !== 'paused') return rollout;
  const broken = rollout.phases.findIndex((phase, at) => hasFailed(phase, counts[at]));
  if (broken !== -1) return changed(rollout, 'stopped', reasonOf(rollout, counts, broken), nowMs);
  return rollout.state === 'paused' ? rollout : goOn(rollout, counts, nowMs);
}

/**
 * What an operator decides.
 *
 * `cancel` begins no device any more and lets those finish that have begun; `stop` takes the
 * assignment away from these too; `advance` begins the next phase whatever the thresholds say.
 *
 * @throws Refusal 409 `rollout_state` when it makes no sense now, `rollout_last_phase`
 */
export function command(
  rollout: Rollout,
  wanted: RolloutCommand | 'start',
  nowMs: number,
): Rollout {
  const allowed = ALLOWED[wanted];
  if (!allowed.includes(rollout.state)) {
    const what = `${rollout.name} is ${rollout.state}; ${wanted} is for rollouts that are`;
    throw new Refusal(409, 'rollout_state', `${what} ${allowed.join(' or ')}`);
  }
  switch (wanted) {
    case 'start':
      return changed(rollout, 'running', 'started', nowMs);
    case 'pause':
      return changed(rollout, 'paused', 'paused by an operator', nowMs);
    case 'resume':
      return changed(rollout, 'running', 'resumed by an operator', nowMs);
    case 'cancel':
      return changed(rollout, 'cancelled', 'cancelled by an operator', nowMs);
    case 'stop':
      return changed(rollout, 'stopped', 'stopped by an operator', nowMs);
    case 'advance':
      return forced(rollout, nowMs);
  }
}

function goOn(rollout: Rollout, counts: readonly PhaseCounts[], nowMs: number): Rollout {
  const phase = rollout.phases[rollout.phase];
  const here = counts[rollout.phase] ?? NO_DEVICES;
  if (phase === undefined) return rollout;
  const needed = neededOf(phase, here);
  if (here.succeeded < needed) return notMet(rollout, here, needed, nowMs);
  const { metAt } = rollout;
  if (metAt === null && phase.soakSeconds > 0 && sizeOf(here) > 0) {
    const reason = `${nameOf(rollout)} succeeded on ${devicesOf(here.succeeded)}, and is watched`;
    return { ...changed(rollout, 'running', reason, nowMs), metAt: new Date(nowMs).toISOString() };
  }
  if (metAt !== null && nowMs < Date.parse(metAt) + phase.soakSeconds * 1000) return rollout;
  if (rollout.phase + 1 < rollout.phases.length) return begun(rollout, rollout.phase + 1, nowMs);
  const isDone = counts.every(({ waiting, assigned }) => waiting + assigned === 0);
  return isDone ? changed(rollout, 'finished', 'every device has ended', nowMs) : rollout;
}

/** More devices that join late may undo a success; more failures may make it impossible. */
function notMet(rollout: Rollout, here: PhaseCounts, needed: number, nowMs: number): Rollout {
  if (here.succeeded + here.waiting + here.assigned < needed) {
    const reason = `${nameOf(rollout)} cannot reach ${devicesOf(needed)} any more`;
    return changed(rollout, 'paused', reason, nowMs);
  }
  if (rollout.metAt === null) return rollout;
  return changed(rollout, 'running', `${nameOf(rollout)} has got more devices`, nowMs);
}

function forced(rollout: Rollout, nowMs: number): Rollout {
  if (rollout.phase + 1 < rollout.phases.length) return begun(rollout, rollout.phase + 1, nowMs);
  const what = `${rollout.name} is in its last phase; cancel or stop it to end it`;
  throw new Refusal(409, 'rollout_last_phase', what);
}

function begun(rollout: Rollout, phase: number, nowMs: number): Rollout {
  const next = { ...rollout, phase };
  return changed(next, 'running', `${nameOf(next)} has begun`, nowMs);
}

function hasFailed(phase: Phase, counts: PhaseCounts = NO_DEVICES): boolean {
  return counts.failed > 0 && counts.failed * 100 >= phase.failurePercent * sizeOf(counts);
}

function reasonOf(rollout: Rollout, counts: readonly PhaseCounts[], at: number): string {
  const { failed, ...rest } = counts[at] ?? NO_DEVICES;
  const size = sizeOf({ failed, ...rest });
  const limit = String(rollout.phases[at]?.failurePercent ?? 0);
  return `${nameOf({ ...rollout, phase: at })} failed on ${String(failed)} of ${devicesOf(size)}, and ${limit} % is the limit`;
}

function devicesOf(count: number): string {
  return count === 1 ? '1 device' : `${String(count)} devices`;
}

function nameOf({ phases, phase }: Pick<Rollout, 'phases' | 'phase'>): string {
  const number = `phase ${String(phase + 1)}`;
  const name = phases[phase]?.name ?? number;
  return name === number ? number : `${number} (${name})`;
}

/** A soak that was interrupted begins anew. */
function changed(rollout: Rollout, state: RolloutState, reason: string, nowMs: number): Rollout {
  return { ...rollout, state, reason, metAt: null, changedAt: new Date(nowMs).toISOString() };
}

/** Whether a device may be given the image now. */
export function isBegun(rollout: Rollout, phase: number): boolean {
  return rollout.state === 'running' && phase <= rollout.phase;
}

/** Whether what devices were given is taken away from them, where they have not ended. */
export function isWithdrawn(rollout: Rollout): boolean {
  return rollout.state === 'stopped';
}
