/** Random power cuts, publications and copies put back: no false alarm, and none that is missed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import { newestSeal } from '../../agent/uptane/seal.ts';
import { ed25519 } from '../support/build-metadata.ts';
import { cuttingPorts, PowerCut } from '../support/cut-ports.ts';
import { bytes, TestDevice } from '../support/cycle-device.ts';
import { MemoryAnchor } from '../support/memory-anchor.ts';

const HOUR_MS = 3_600_000;
const ROUNDS = 80;

interface Copy {
  readonly path: string;
  /** Number of the newest seal when it was made. */
  readonly sealed: number;
}

type Pick = (below: number) => number;

class Ordeal {
  readonly device = new TestDevice();
  readonly anchor = new MemoryAnchor();
  readonly #copies: Copy[] = [];
  readonly #pick: Pick;
  cuts = 0;
  detected = 0;
  current = 0;

  constructor(pick: Pick) {
    this.#pick = pick;
    this.device.world.release('fw-1');
  }

  /** One cycle that may lose power, also in the middle of a seal. Any other failure is a false alarm. */
  async live(): Promise<void> {
    const pick = this.#pick;
    const { anchor, device } = this;
    if (pick(3) === 0) anchor.tear = pick(2) === 0 ? 'half' : 'both';
    const cut = { call: 1 + pick(60), moment: pick(2) === 0 ? 'before' : 'after' } as const;
    try {
      await device.cycle(cuttingPorts({ ...(await device.ports()), anchor }, cut).ports);
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error;
      this.cuts += 1;
    }
    anchor.tear = undefined;
    if (pick(3) === 0) {
      this.#copies.push({ path: await device.copyDisk(), sealed: this.#sequence });
    }
    device.boot();
  }

  /** Puts one of the copies back, and demands what follows from its age. */
  async goBack(): Promise<void> {
    const { anchor, device } = this;
    const copy = this.#copies[this.#pick(this.#copies.length)];
    if (copy === undefined) return;
    await device.putBack(copy.path);
    if (this.#sequence > copy.sealed) {
      await assert.rejects(device.cycle({ anchor }), (error: unknown) => {
        assert.ok(isOtaError(error), String(error));
        assert.equal(error.code, 'STORAGE_ROLLED_BACK');
        return true;
      });
      this.detected += 1;
    } else this.current += 1;
    await device.cycle({ anchor });
  }

  get #sequence(): number {
    const found = newestSeal(this.anchor.stored);
    return found === undefined || found === 'newer' ? 0 : found.sequence;
  }
}

test('power lost at any moment is never taken for a rollback, and every copy from before the last seal always is', async (t) => {
  const random = seeded(20_261_127);
  const pick = (below: number): number => Math.floor(random() * below);
  const ordeal = new Ordeal(pick);
  const { device, anchor } = ordeal;
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      if (pick(3) === 0) publishSomething(device, pick, `r${String(round)}`);
      if (pick(4) === 0) device.outside.wallMs += 25 * HOUR_MS;
      await ordeal.live();
      if (pick(4) === 0) await ordeal.goBack();
    }
  } finally {
    await device.close();
  }
  const { cuts, detected, current } = ordeal;
  t.diagnostic(`${String(cuts)} power cuts, ${String(anchor.writes)} seals`);
  t.diagnostic(`${String(detected)} copies older than a seal, ${String(current)} not`);
  assert.ok(cuts > ROUNDS / 4 && detected > ROUNDS / 10);
});

/** New images, new keys, versions that start again under new keys: whatever a repository may do. */
function publishSomething(device: TestDevice, pick: (below: number) => number, name: string): void {
  const repository = device.world[pick(2) === 0 ? 'director' : 'image'];
  const what = pick(4);
  if (what === 0) repository.publishSnapshotAndTimestamp();
  if (what === 1) {
    repository.keys.timestamp = [ed25519()];
    repository.keys.snapshot = [ed25519()];
    repository.publishRoot();
    // Fast-forward recovery: what the old keys signed does not count any more.
    repository.version.timestamp = 0;
    repository.version.snapshot = 0;
    repository.publish();
  }
  if (what >= 2) {
    device.outside.image = () => bytes(name);
    device.world.release(name);
  }
}

/** The same numbers in every run (Marsaglia's xorshift). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
