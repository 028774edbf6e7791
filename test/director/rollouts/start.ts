/** Begins a rollout: which devices are in it, and in which phase. */
import { Refusal } from '../failure.ts';
import type { ImageRepo } from '../image-repo.ts';
import type { Device } from '../state/devices.ts';
import type { Store } from '../state/store.ts';
import { factsOf, isFit } from './follow.ts';
import { dealOut, matches } from './groups.ts';
import { command, type RolloutCommand } from './machine.ts';
import type { Rollout } from './rollout.ts';

interface Parts {
  readonly store: Store;
  readonly images: Pick<ImageRepo, 'findImage'>;
}

/**
 * @throws Refusal 404 `rollout_not_found` · 409 `rollout_state`, and `rollout_empty` when no device is
 *   in the first phase: nothing would have been tried before the others follow
 */
export async function startRollout(parts: Parts, id: string): Promise<Rollout> {
  const devices = await parts.store.list();
  return changeRollout(parts.store, id, async (rollout, enrol) => {
    const started = command(rollout, 'start', Date.now());
    const members = membersOf(parts, rollout, devices);
    if (![...members.values()].includes(0)) {
      const what = `no device that was here is in the first phase of ${rollout.name}`;
      const isSecret = parts.images.findImage(rollout.image)?.encrypt === true;
      const key = isSecret ? ', and which of them have registered a key to encrypt to' : '';
      throw new Refusal(409, 'rollout_empty', `${what}; look at its filter and its phases${key}`);
    }
    await enrol(members);
    return started;
  });
}

/** @throws Refusal 404 `rollout_not_found` · 409 `rollout_state`, `rollout_last_phase` */
export async function commandRollout(
  store: Store,
  id: string,
  wanted: RolloutCommand,
): Promise<Rollout> {
  return changeRollout(store, id, (rollout) => command(rollout, wanted, Date.now()));
}

async function changeRollout(
  store: Store,
  id: string,
  change: (
    rollout: Rollout,
    enrol: (members: ReadonlyMap<string, number>) => Promise<void>,
  ) => Rollout | Promise<Rollout>,
): Promise<Rollout> {
  const changed = await store.holdRollout(id, async (held) => {
    const next = await change(held.rollout, async (members) => held.enrol(members));
    await held.save(next);
    return next;
  });
  if (changed !== undefined) return changed;
  throw new Refusal(404, 'rollout_not_found', `there is no rollout ${id}`);
}

function membersOf(
  { images }: Parts,
  rollout: Rollout,
  devices: readonly Device[],
): ReadonlyMap<string, number> {
  const image = images.findImage(rollout.image);
  const fitting = devices
    .filter((device) => image !== undefined && isFit(device, image))
    .map((device) => factsOf(device, images))
    .filter((facts) => matches(rollout.filter, facts));
  return dealOut(rollout, fitting);
}
