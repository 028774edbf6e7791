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
  if (view?.standing.is !== 'behind' && view?.standing.is !== 'foreign') return view;
  const { seal, binding, disk, standing } = view;
  const reports = standing.is === 'behind' ? (seal?.reports ?? 0) : 0;
  const sequence = Math.max(seal?.sequence ?? 0, binding.sequence) + 1;
  const stateId =
    (standing.is === 'behind' ? seal?.stateId : binding.stateId) ?? ports.clock.uuid();
  const own = { ...binding, stateId, sequence, failed: undefined };
  await ports.store.catchUp({
    reports,
    latestKnownTime: 0 as Instant,
    releases: new Map(),
    unknown: [],
    binding: own,
    state: formatState({ at: 'idle' }),
    attack: standing.is === 'behind' ? 'STORAGE_ROLLED_BACK' : undefined,
  });
  const accepted = fitted(sealedAs({ stateId, sequence, reports }, disk));
  await write(ports, { ...view, binding: own }, accepted);
  return view;
}
