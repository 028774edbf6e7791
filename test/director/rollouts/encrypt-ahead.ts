/**
 * Encrypts the image of a rollout for each of its devices before they are given it.
 *
 * A poll holds its device, and encrypting takes as long as the image is large. What is ready lies with
 * the device until the poll that assigns it.
 */
import type { Director } from '../director.ts';
import { reasonOf, Refusal } from '../failure.ts';
import type { ImageRepo } from '../image-repo.ts';
import type { Assignment, Device, Encryption } from '../state/devices.ts';
import type { Store } from '../state/store.ts';
import type { Rollout } from './rollout.ts';

export interface EncryptAheadParts {
  readonly store: Pick<Store, 'find' | 'findRollout' | 'members' | 'hold'>;
  readonly director: Pick<Director, 'encrypt'>;
  readonly images: Pick<ImageRepo, 'findImage' | 'files'>;
}

export class EncryptAhead {
  readonly #parts: EncryptAheadParts;
  readonly #wanted = new Set<string>();
  readonly #begun = new Set<string>();
  #last = Promise.resolve();
  #isStopping = false;

  constructor(parts: EncryptAheadParts) {
    this.#parts = parts;
  }

  /** For the devices of a phase that has begun; of a large one, those that are left ask at their poll. */
  async begin({ id, phase, image }: Rollout): Promise<void> {
    const key = `${id} ${String(phase)}`;
    if (this.#begun.has(key) || this.#parts.images.findImage(image)?.encrypt !== true) return;
    this.#begun.add(key);
    const waiting = await this.#parts.store.members(id, 'waiting');
    for (const member of waiting) if (member.phase <= phase) this.want(member.deviceId, id);
  }

  /** One after the other: each reads the whole image. */
  want(deviceId: string, rolloutId: string): void {
    const key = `${rolloutId} ${deviceId}`;
    if (this.#wanted.has(key)) return;
    this.#wanted.add(key);
    this.#last = this.#last
      .then(async () => this.#prepare(deviceId, rolloutId))
      .catch((error: unknown) => {
        // The next poll asks for it again.
        if (this.#isStopping || error instanceof Refusal) return;
        process.stderr.write(`${deviceId} waits for its image: ${reasonOf(error)}\n`);
      })
      .finally(() => {
        this.#wanted.delete(key);
      });
  }

  stop(): void {
    this.#isStopping = true;
  }

  async #prepare(deviceId: string, rolloutId: string): Promise<void> {
    const { store, director, images } = this.#parts;
    const [device, rollout] = await Promise.all([
      store.find(deviceId),
      store.findRollout(rolloutId),
    ]);
    const isWanted = !this.#isStopping && rollout?.state === 'running';
    if (!isWanted || device === undefined || preparedFor(device, rolloutId) !== undefined) return;
    const wanted = [{ image: rollout.image, ecus: [] }];
    const encryption = (await director.encrypt(device, wanted)).get(rollout.image);
    const kid = device.secretsKey?.kid;
    if (encryption === undefined || kid === undefined) return;
    const spent = await store.hold(deviceId, async (held) => {
      const { secretsKey, prepared } = held.device;
      // Its key is another now, or another server was faster.
      if (secretsKey?.kid !== kid || preparedFor(held.device, rolloutId) !== undefined)
        return encryption;
      await held.save({ ...held.device, prepared: { rollout: rolloutId, kid, encryption } });
      return prepared?.encryption;
    });
    if (spent !== undefined) images.files.removeMade(spent.sha256);
  }
}

/** What is ready for a device and one rollout, encrypted to the key that it has now. */
export function preparedFor(device: Device, rolloutId: string): Encryption | undefined {
  const { prepared, secretsKey } = device;
  const isReady = prepared?.rollout === rolloutId && prepared.kid === secretsKey?.kid;
  return isReady ? prepared.encryption : undefined;
}

/** What was encrypted for an assignment. Once that is over, nobody can use it. */
export function cipherTextsOf(assignment: Assignment | undefined): readonly string[] {
  const targets = assignment?.targets ?? [];
  return targets.flatMap(({ encryption }) => (encryption === undefined ? [] : [encryption.sha256]));
}
