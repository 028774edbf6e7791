/** A person's word that the disk is right, whatever the token says. */
import type { Instant } from '../uptane/time.ts';
import { fitted } from '../uptane/seal.ts';
import { sealedAs } from '../uptane/standing.ts';
import { look, write, type SealingPorts, type View } from './seal.ts';
import { formatState } from './state.ts';

/**
 * Makes the disk as it is now the truth, whatever was sealed: a person put it there.
 *
 * Report counters are not lowered: the Director would refuse every report until they have passed
 * what it has seen. It is told of the attack that this would otherwise be.
 *
 * @returns what was found; nothing is changed unless the disk was behind or the token another one
 */
export async function acceptDisk(ports: SealingPorts): Promise<View | undefined> {
  const view = await look(ports);
  const is = view?.standing.is;
  if (view !== undefined && (is === 'behind' || is === 'foreign')) await accept(ports, view);
  return view;
}

async function accept(ports: SealingPorts, view: View): Promise<void> {
  const { seal, binding, disk, standing } = view;
  const isBehind = standing.is === 'behind';
  const own = isBehind ? seal : undefined;
  const reports = own?.reports ?? 0;
  const sequence = Math.max(seal?.sequence ?? 0, binding.sequence) + 1;
  const stateId = own?.stateId ?? binding.stateId ?? ports.clock.uuid();
  const joined = { ...binding, stateId, sequence, failed: undefined };
  await ports.store.catchUp({
    reports,
    latestKnownTime: 0 as Instant,
    releases: new Map(),
    unknown: [],
    binding: joined,
    state: formatState({ at: 'idle' }),
    attack: isBehind ? 'STORAGE_ROLLED_BACK' : undefined,
  });
  const accepted = fitted(sealedAs({ stateId, sequence, reports }, disk));
  await write(ports, { ...view, binding: joined }, accepted);
}
