/**
 * What a device's poll means for rollouts. All of it happens while the device is held, so that no two
 * servers give one device two assignments.
 */
import { reasonOf, Refusal } from '../failure.ts';
import type { Director } from '../director.ts';
import type { ImageRepo } from '../image-repo.ts';
import type { Image } from '../metadata/image-content.ts';
import type { AssignedTarget, Assignment, Device } from '../state/devices.ts';
import type { HeldDevice, Store } from '../state/store.ts';
import { cipherTextsOf, preparedFor, type EncryptAhead } from './encrypt-ahead.ts';
import { matches, phaseOfLate, type DeviceFacts } from './groups.ts';
import { entryOf, reportedBy } from './history.ts';
import { advance, isBegun, isWithdrawn } from './machine.ts';
import type { Member, Rollout } from './rollout.ts';

interface Parts {
  readonly director: Pick<Director, 'targetFor'>;
  readonly images: Pick<ImageRepo, 'findImage'>;
}

/** What is left to be done once the device is no longer held. */
export interface Consequences {
  /** Rollouts in which it has ended, to be advanced. */
  readonly ended: readonly string[];
  /** Cipher texts that nobody can use any more. */
  readonly spent?: readonly string[];
  /** The rollout whose image has yet to be encrypted for it. */
  readonly lacks?: string;
}

/** Saves what was learned of a device, and what rollouts make of it. */
export async function followRollouts(
  parts: Parts,
  held: HeldDevice,
  learned: Device,
): Promise<Consequences> {
  const { device, ...settled } = await settle(held, learned);
  const { device: followed, ...next } = await assignNext(parts, held, device);
  await held.save(followed);
  return {
    ...next,
    ended: [...settled.ended, ...next.ended],
    spent: [...(settled.spent ?? []), ...(next.spent ?? [])],
  };
}

interface Followed extends Consequences {
  readonly device: Device;
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
    return { device, ended: [id], spent: cipherTextsOf(assignment) };
  }
  if (outcome === 'failed') {
    await held.saveMember(id, { ...member, state: 'failed' });
    await held.keep('history', entryOf('failed', assignment, reportedBy(assignment)));
    return { device: without(device), ended: [id], spent: cipherTextsOf(assignment) };
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
  return { device: without(device), ended: [], spent: cipherTextsOf(assignment) };
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
  const running = await held.running();
  for (const { id } of running) {
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
    return { ...(await give({ parts, held, device }, rollout, target, member)), ended };
  }
  return { ...withoutStale(device, running), ended };
}

/** What is ready for a rollout that does not run will hardly be given any more. */
function withoutStale(device: Device, running: readonly Rollout[]): Omit<Followed, 'ended'> {
  const { prepared, ...rest } = device;
  if (prepared === undefined || running.some(({ id }) => id === prepared.rollout))
    return { device };
  return { device: rest, spent: [prepared.encryption.sha256] };
}

async function give(
  { parts, held, device }: { parts: Parts; held: HeldDevice; device: Device },
  rollout: Rollout,
  target: AssignedTarget,
  member: Member,
): Promise<Omit<Followed, 'ended'>> {
  if (parts.images.findImage(rollout.image)?.encrypt !== true) {
    const assignment = assignmentOf(rollout, target);
    await begin(held, rollout, member, assignment);
    return { device: { ...device, assignment } };
  }
  const { prepared, ...rest } = device;
  const encryption = preparedFor(device, rollout.id);
  // It keeps its turn: a later rollout would overtake this one otherwise.
  if (prepared === undefined || encryption === undefined) return { device, lacks: rollout.id };
  const assignment = assignmentOf(rollout, { ...target, encryption });
  await begin(held, rollout, member, assignment);
  return { device: { ...rest, assignment } };
}

async function begin(
  held: HeldDevice,
  { id, name }: Rollout,
  member: Member,
  assignment: Assignment,
): Promise<void> {
  await held.saveMember(id, { ...member, state: 'assigned' });
  await held.keep('history', entryOf('assigned', assignment, `by the rollout ${name}`));
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

/** `undefined` when it cannot have the image. */
function targetOf(parts: Parts, device: Device, { image }: Rollout): AssignedTarget | undefined {
  const published = parts.images.findImage(image);
  return published !== undefined && isFit(device, published)
    ? parts.director.targetFor(device, image)
    : undefined;
}

/** Whether the image is for one of its ECUs, and can be encrypted to it if it has to be. */
export function isFit(
  { ecus, secretsKey }: Device,
  { hardwareIds, encrypt }: Pick<Image, 'hardwareIds' | 'encrypt'>,
): boolean {
  const isFor = ecus.some((ecu) => hardwareIds.includes(ecu.hardwareId));
  return isFor && (encrypt !== true || secretsKey !== undefined);
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

/**
 * Time passes in rollouts too: soaks end.
 *
 * @param ahead - of the one server that encrypts what no device has asked for yet
 */
export function watchRollouts(
  store: Store,
  everyMs: number,
  ahead?: EncryptAhead,
): { readonly stop: () => Promise<void> } {
  let pass = Promise.resolve();
  const look = async (): Promise<void> => {
    for (const rollout of await store.rollouts()) {
      if (rollout.state !== 'running') continue;
      await advanceRollout(store, rollout.id);
      await ahead?.begin(rollout);
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
