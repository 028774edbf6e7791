/**
 * Where everything lives that devices change: one port, and several servers may stand behind it.
 *
 * What is answered to a device is durable before it is answered. Every method throws Refusal 503
 * `database_unavailable` while the database cannot be reached; then nothing was changed, or the
 * change was whole.
 */
import type { IssuedSet } from '../metadata/metadata-set.ts';
import type { Member, PhaseCounts, Rollout } from '../rollouts/rollout.ts';
import type { Device, RecordKind } from './devices.ts';

/** A device, and nobody else has it: other servers wait. All of what is done is kept, or nothing. */
export interface HeldDevice {
  readonly device: Device;
  save(device: Device): Promise<void>;
  /**
   * Keeps one more record; the oldest go when there are about 2000.
   *
   * @param eventId - the same one again is not kept again
   */
  keep(kind: RecordKind, record: object, eventId?: string): Promise<void>;
  issued(): Promise<IssuedSet | undefined>;
  saveIssued(issued: IssuedSet): Promise<void>;
  /** Rollouts that run, oldest first. */
  running(): Promise<readonly Rollout[]>;
  /** A rollout that stays as it is until this is over. */
  heldRollout(id: string): Promise<Rollout | undefined>;
  member(rolloutId: string): Promise<Member | undefined>;
  saveMember(rolloutId: string, member: Member): Promise<void>;
}

/** A rollout, and nobody else changes it. */
export interface HeldRollout {
  readonly rollout: Rollout;
  save(rollout: Rollout): Promise<void>;
  /** Of every phase. */
  counts(): Promise<readonly PhaseCounts[]>;
  /** Adds devices that wait, by id, with their phase. */
  enrol(members: ReadonlyMap<string, number>): Promise<void>;
}

/** How many devices have the same hardware, run the same image and are in the same state. */
export interface FleetRow {
  readonly hardwareId: string;
  readonly image: string;
  readonly state: DeviceState;
  readonly devices: number;
}

export const DEVICE_STATES = ['idle', 'updating', 'failed', 'silent'] as const;
/** `silent`: it never sent a manifest. `failed`: its last update did. */
export type DeviceState = (typeof DEVICE_STATES)[number];

export interface MemberRow extends Member {
  readonly deviceId: string;
}

export interface Store {
  find(id: string): Promise<Device | undefined>;
  /** In the order of their ids. */
  list(): Promise<readonly Device[]>;
  /** Of devices whose id begins so, the first 50. */
  idsOf(begins: string): Promise<readonly string[]>;
  count(): Promise<number>;
  fleet(): Promise<readonly FleetRow[]>;
  issued(id: string): Promise<IssuedSet | undefined>;
  /** Oldest first. */
  records(id: string, kind: RecordKind): Promise<readonly unknown[]>;
  /** The device is known from then on; a second time it costs nothing. */
  meet(id: string): Promise<void>;
  /** Holds a device, which is known from then on. */
  hold<T>(id: string, work: (held: HeldDevice) => T | Promise<T>): Promise<T>;
  /** Newest first. */
  rollouts(): Promise<readonly Rollout[]>;
  findRollout(id: string): Promise<Rollout | undefined>;
  addRollout(rollout: Rollout): Promise<void>;
  counts(rollout: Rollout): Promise<readonly PhaseCounts[]>;
  /** Devices of a rollout that are in one state, in the order of their ids, at most 1000. */
  members(rolloutId: string, state: Member['state']): Promise<readonly MemberRow[]>;
  /** @returns `undefined` when there is none */
  holdRollout<T>(id: string, work: (held: HeldRollout) => T | Promise<T>): Promise<T | undefined>;
  close(): Promise<void>;
}
