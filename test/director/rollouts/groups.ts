/** Which devices belong to a rollout, and to which of its phases. */
import { createHash } from 'node:crypto';

import type { Filter, Phase, Rollout } from './rollout.ts';

/** What filters can ask about. */
export interface DeviceFacts {
  readonly id: string;
  readonly hardwareIds: readonly string[];
  readonly versions: readonly string[];
  readonly tags: readonly string[];
}

export function matches(filter: Filter, device: DeviceFacts): boolean {
  return (
    meets(filter.hardwareIds, device.hardwareIds) &&
    meets(filter.versions, device.versions) &&
    meets(filter.tags, device.tags)
  );
}

/**
 * The phase of each device that is known when a rollout starts; a device without one is in none.
 *
 * By rank and not by chance: the first 1 % of 30 devices is one device, not perhaps none.
 */
export function dealOut(
  rollout: Pick<Rollout, 'id' | 'phases'>,
  devices: readonly DeviceFacts[],
): ReadonlyMap<string, number> {
  const ranked = devices
    .map((device) => ({ device, at: placeOf(rollout.id, device.id) }))
    .sort((a, b) => a.at - b.at || (a.device.id < b.device.id ? -1 : 1));
  const members = new Map<string, number>();
  for (const [at, { device }] of ranked.entries()) {
    const phase = rollout.phases.findIndex(
      (one) => at < Math.ceil((one.percentage * ranked.length) / 100) && takes(one, device),
    );
    if (phase !== -1) members.set(device.id, phase);
  }
  return members;
}

/** The phase of a device that comes later: by chance, but always the same. */
export function phaseOfLate(
  rollout: Pick<Rollout, 'id' | 'phases'>,
  device: DeviceFacts,
): number | undefined {
  const place = placeOf(rollout.id, device.id) * 100;
  const phase = rollout.phases.findIndex((one) => place < one.percentage && takes(one, device));
  return phase === -1 ? undefined : phase;
}

function takes(phase: Phase, device: DeviceFacts): boolean {
  return meets(phase.tags, device.tags);
}

function meets(wanted: readonly string[], has: readonly string[]): boolean {
  return wanted.length === 0 || wanted.some((one) => has.includes(one));
}

/** From 0 to 1, another one in every rollout: the same devices should not always be first. */
function placeOf(rolloutId: string, deviceId: string): number {
  const digest = createHash('sha256').update(`${rolloutId} ${deviceId}`).digest();
  return digest.readUInt32BE() / 2 ** 32;
}
