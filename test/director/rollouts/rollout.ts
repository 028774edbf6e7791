/**
 * Rollouts: one image for many devices, in phases.
 *
 * `machine.ts` and `groups.ts` only compute: what time it is and what devices did are arguments.
 * `follow.ts` and `start.ts` use them on what is stored.
 */

/** Which devices; an empty list asks for nothing. */
export interface Filter {
  readonly hardwareIds: readonly string[];
  /** Versions of the image that any ECU runs. */
  readonly versions: readonly string[];
  /** Any of these. */
  readonly tags: readonly string[];
}

/** A part of the devices, and what has to happen there before the next part follows. */
export interface Phase {
  readonly name: string;
  /** Of all devices of the rollout, those of earlier phases included. */
  readonly percentage: number;
  /** Only devices with any of these tags; empty: all. */
  readonly tags: readonly string[];
  /** The next phase begins when so many of its devices have succeeded. */
  readonly successPercent: number;
  /** The rollout is stopped when so many have failed. */
  readonly failurePercent: number;
  /** How long that success has to last before the next phase begins. */
  readonly soakSeconds: number;
}

export const ROLLOUT_STATES = [
  'draft',
  'running',
  'paused',
  'finished',
  'cancelled',
  'stopped',
] as const;
export type RolloutState = (typeof ROLLOUT_STATES)[number];

export interface Rollout {
  readonly id: string;
  readonly name: string;
  /** The name of a published image. */
  readonly image: string;
  /** The same for every device: `urn:here-ota:mtu:UUID`. */
  readonly correlationId: string;
  readonly filter: Filter;
  readonly phases: readonly Phase[];
  readonly state: RolloutState;
  /** The last phase that has begun. */
  readonly phase: number;
  readonly createdAt: string;
  readonly changedAt: string;
  /** Since when the success threshold of the phase is met. */
  readonly metAt: string | null;
  /** Why it is in this state, in words. */
  readonly reason: string;
}

export const MEMBER_STATES = ['waiting', 'assigned', 'succeeded', 'failed', 'withdrawn'] as const;
export type MemberState = (typeof MEMBER_STATES)[number];

/** A device's part in a rollout. */
export interface Member {
  readonly phase: number;
  readonly state: MemberState;
}

/** How many devices of a phase are in which state. */
export type PhaseCounts = Readonly<Record<MemberState, number>>;

export const NO_DEVICES: PhaseCounts = {
  waiting: 0,
  assigned: 0,
  succeeded: 0,
  failed: 0,
  withdrawn: 0,
};

/** Whether nothing can happen to it any more. */
export function isOver({ state }: Pick<Rollout, 'state'>): boolean {
  return state === 'finished' || state === 'cancelled' || state === 'stopped';
}

export function sizeOf(counts: PhaseCounts): number {
  return MEMBER_STATES.reduce((sum, state) => sum + counts[state], 0);
}

/** How many devices of a phase must succeed. */
export function neededOf(phase: Phase, counts: PhaseCounts): number {
  return Math.ceil((sizeOf(counts) * phase.successPercent) / 100);
}
