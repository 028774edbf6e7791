/**
 * What a device's poll means for rollouts. All of it happens while the device is held, so that no two
 * servers give one device two assignments.
 */
import { reasonOf, Refusal } from '../failure.ts';
import type { Director } from '../director.ts';
import type { ImageRepo } from '../image-repo.ts';
import type { AssignedTarget, Assignment, Device } from '../state/devices.ts';
import type { HeldDevice, Store } from '../state/store.ts';
import { matches, phaseOfLate, type DeviceFacts } from './groups.ts';
import { entryOf, reportedBy } from './history.ts';
import { advance, isBegun, isWithdrawn } from './machine.ts';
import type { Member, Rollout } from './rollout.ts';

interface Parts {
  readonly director: Pick<Director, 'targetFor'>;
  readonly images: Pick<ImageRepo, 'findImage'>;
}

/**
 * Saves what was learned of a device, and what rollouts make of it.
 *
 * @returns rollouts in which it has ended, to be advanced
 */
export async function followRollouts(
  parts: Parts,
  held: HeldDevice,
  learned: Device,
): Promise<readonly string[]> {
  const settled = await settle(held, learned);
  const next = await assignNext(parts, held, settled.device);
  await held.save(next.device);
  return [...settled.ended, ...next.ended];
}

interface Followed {
  readonly device: Device;
  readonly ended: readonly string[];
}

/** What became of the assignment that a rollout had given it. */
async function settle(held: HeldDevice, device: Device): Promise<Followed> {
  const { assignment } = device;
  const id = assignment?.rollout;
  if (assignment === undefined || id === undefined) return { device, ended: [] };
  const member = await held.member(id);
  const { outcome } = assignment;
  if (member === undefined) return { device, ended: [] };
  if (outcome === 'done' && member.state === 'assigned') {
    await held.saveMember(id, { ...member, state: 'succeeded' });
    await held.keep('history', entryOf('succeeded', assignment, reportedBy(assignment)));
    return { device, ended: [id] };
  }
  if (outcome === 'failed') {
    await held.saveMember(id, { ...member, state: 'failed' });
    await held.keep('history', entryOf('failed', assignment, reportedBy(assignment)));
    return { device: without(device), ended: [id] };
  }
  return outcome === 'pending' ? withdraw(held, device, member) : { device, ended: [] };
}

async function withdraw(held: HeldDevice, device: Device, member: Member): Promise<Followed> {
  const { assignment } = device;
  const rollout = await held.heldRollout(assignment?.rollout ?? '');
  if (assignment === undefined || rollout === undefined || !isWithdrawn(rollout))
    return { device, ended: [] };
  await held.saveMember(rollout.id, { ...member, state: 'withdrawn' });
  await held.keep('history', entryOf('withdrawn', assignment, rollout.reason));
  return { device: without(device), ended: [] };
}

/** An operator decides otherwise: the rollout does not wait for this device. */
export async function leaveRollout(held: HeldDevice): Promise<void> {
  const { rollout: id, outcome } = held.device.assignment ?? {};
  if (id === undefined || outcome !== 'pending') return;
  const member = await held.member(id);
  if (member?.state === 'assigned') await held.saveMember(id, { ...member, state: 'withdrawn' });
}

/** A device that failed must not try again by itself: nothing is left to try. */
function without(device: Device): Device {
  const { assignment, ...rest } = device;
  const { rollout, outcome } = assignment ?? {};
  return rollout !== undefined && outcome === 'failed' ? { ...rest, lastFailure: rollout } : rest;
}

/** Gives a device that has nothing to do the image of the first rollout that wants it now. */
async function assignNext(parts: Parts, held: HeldDevice, device: Device): Promise<Followed> {
  const ended: string[] = [];
  if (device.assignment !== undefined && device.assignment.outcome !== 'done')
    return { device, ended };
  for (const { id } of await held.running()) {
    const rollout = await held.heldRollout(id);
    const target = rollout === undefined ? undefined : targetOf(parts, device, rollout);
    if (rollout === undefined || target === undefined) continue;
    const member = await memberOf(parts, held, device, rollout);
    if (member?.state !== 'waiting' || !isBegun(rollout, member.phase)) continue;
    if (runs(device, target)) {
      await held.saveMember(id, { ...member, state: 'succeeded' });
      ended.push(id);
      continue;
    }
    const assignment = assignmentOf(rollout, target);
    await held.saveMember(id, { ...member, state: 'assigned' });
    await held.keep('history', entryOf('assigned', assignment, `by the rollout ${rollout.name}`));
    return { device: { ...device, assignment }, ended };
  }
  return { device, ended };
}

async function memberOf(
  parts: Parts,
  held: HeldDevice,
  device: Device,
  rollout: Rollout,
): Promise<Member | undefined> {
  const known = await held.member(rollout.id);
  if (known !== undefined) return known;
  const facts = factsOf(device, parts.images);
  const phase = matches(rollout.filter, facts) ? phaseOfLate(rollout, facts) : undefined;
  if (phase === undefined) return undefined;
  const member = { phase, state: 'waiting' } as const;
  await held.saveMember(rollout.id, member);
  return member;
}

/** `undefined` when the image is for none of its ECUs. */
function targetOf(parts: Parts, device: Device, { image }: Rollout): AssignedTarget | undefined {
  const hardwareIds = parts.images.findImage(image)?.hardwareIds ?? [];
  const fits = device.ecus.some((ecu) => hardwareIds.includes(ecu.hardwareId));
  return fits ? parts.director.targetFor(device, image) : undefined;
}

function runs({ installed }: Device, { filename, sha256, ecus }: AssignedTarget): boolean {
  return Object.keys(ecus).every((serial) => {
    const image = installed[serial];
    return image?.filename === filename && image.hashes['sha256'] === sha256;
  });
}

function assignmentOf({ id, correlationId }: Rollout, target: AssignedTarget): Assignment {
  const createdAt = new Date().toISOString();
  return { correlationId, createdAt, targets: [target], outcome: 'pending', rollout: id };
}

/** What filters ask about. */
export function factsOf(
  { id, ecus, installed, tags = [] }: Device,
  images: Pick<ImageRepo, 'findImage'>,
): DeviceFacts {
  const versions = Object.values(installed).flatMap(({ filename }) => {
    const version = images.findImage(filename)?.custom['version'];
    return typeof version === 'string' ? [version] : [];
  });
  return { id, hardwareIds: ecus.map((ecu) => ecu.hardwareId), versions, tags };
}

/** What is under way for each rollout, and what follows it. */
interface Look {
  readonly now: Promise<void>;
  next: Promise<void> | undefined;
}

const looks = new WeakMap<Store, Map<string, Look>>();

/**
 * Looks at what the devices of a rollout did, up to now.
 *
 * It counts all of them and keeps polls of the rollout waiting meanwhile. So devices that end while a
 * look is under way share the next one.
 */
export function advanceRollout(store: Store, id: string): Promise<void> {
  const all = looks.get(store) ?? new Map<string, Look>();
  looks.set(store, all);
  const underWay = all.get(id);
  if (underWay !== undefined) {
    underWay.next ??= underWay.now
      .catch(() => undefined)
      .then(async () => advanceRollout(store, id));
    return underWay.next;
  }
  const now = lookAt(store, id).finally(() => all.delete(id));
  all.set(id, { now, next: undefined });
  return now;
}

async function lookAt(store: Store, id: string): Promise<void> {
  await store.holdRollout(id, async (held) => {
    const next = advance(held.rollout, await held.counts(), Date.now());
    if (next !== held.rollout) await held.save(next);
  });
}

/** Time passes in rollouts too: soaks end. */
export function watchRollouts(
  store: Store,
  everyMs: number,
): { readonly stop: () => Promise<void> } {
  let pass = Promise.resolve();
  const look = async (): Promise<void> => {
    for (const { id, state } of await store.rollouts()) {
      if (state === 'running') await advanceRollout(store, id);
    }
  };
  let isBusy = false;
  const timer = setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    pass = look()
      .catch((error: unknown) => {
        // A database that is away is told to everybody who asks for it.
        if (!(error instanceof Refusal))
          process.stderr.write(`rollouts wait: ${reasonOf(error)}\n`);
      })
      .finally(() => {
        isBusy = false;
      });
  }, everyMs);
  return {
    stop: async () => {
      clearInterval(timer);
      await pass;
    },
  };
}
