/**
 * Two slots and an active-slot marker: the new image goes to the slot that does not run.
 *
 * Order is what makes it safe: the other slot is struck from the marker before its first byte
 * changes, and named again only after all of it was read back and every hash was right.
 */
import { open, readFile, realpath, stat } from 'node:fs/promises';
import { basename } from 'node:path';

import { OtaError } from '../../errors.ts';
import type { Progress, StagedInstaller } from '../../ports.ts';
import type { Target, TrustedTarget } from '../../uptane/plan.ts';
import { readBytes, verifyImageAt, writeAt } from '../image-file.ts';
import { demandKind, guarded } from './guard.ts';
import { isSlot, otherSlot, readMarker, writeMarker, type Slot } from './boot-marker.ts';

export interface AbSlotSettings {
  readonly slots: Readonly<Record<Slot, string>>;
  readonly markerPath: string;
  /** File in which the boot loader names the slot it booted. */
  readonly bootedPath: string;
  /** Boots of a trial before the boot loader falls back. */
  readonly tries: number;
}

export class AbSlotInstaller implements StagedInstaller {
  readonly kind = 'ab-slot';
  readonly takes = 'staged';
  readonly needsReboot = true;
  readonly #settings: AbSlotSettings;

  constructor(settings: AbSlotSettings) {
    this.#settings = settings;
  }

  async check(target: TrustedTarget): Promise<void> {
    demandKind('bytes', target, this.kind);
    const slot = otherSlot(await this.#bootedSlot(target.ecu));
    const path = this.#settings.slots[slot];
    const neededBytes = target.lengthBytes;
    const capacityBytes = await this.#guard(target.ecu, () => capacity(path));
    if (capacityBytes !== undefined && neededBytes > capacityBytes) {
      throw new OtaError('SPACE_INSUFFICIENT', { path, neededBytes, freeBytes: capacityBytes });
    }
  }

  async write(target: TrustedTarget, stagedPath: string, progress: Progress): Promise<void> {
    const booted = await this.#bootedSlot(target.ecu);
    const slot = otherSlot(booted);
    await this.#guard(target.ecu, async () => {
      const { images } = await readMarker(this.#settings.markerPath, target.ecu);
      const kept = { a: undefined, b: undefined, [booted]: images[booted] };
      const onlyBooted = { active: booted, state: 'good', tries: 0, fallback: undefined } as const;
      await writeMarker(this.#settings.markerPath, { ...onlyBooted, images: kept });
      await copyImage(stagedPath, this.#settings.slots[slot], target, progress);
      await verifyImageAt(this.#settings.slots[slot], target);
      const proven = { ...kept, [slot]: imageId(target) };
      await writeMarker(this.#settings.markerPath, { ...onlyBooted, images: proven });
    });
  }

  async activate(target: TrustedTarget): Promise<void> {
    const { markerPath, tries } = this.#settings;
    const booted = await this.#bootedSlot(target.ecu);
    const slot = otherSlot(booted);
    const marker = await readMarker(markerPath, target.ecu);
    if (marker.images[slot] !== imageId(target)) {
      const cause = `slot ${slot} does not hold ${target.filename}: its content was never proven`;
      throw new OtaError('INSTALL_FAILED', { installer: this.kind, ecu: target.ecu, cause });
    }
    await this.#guard(target.ecu, () =>
      writeMarker(markerPath, { ...marker, active: slot, state: 'trial', tries, fallback: booted }),
    );
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    const slot = await this.#bootedSlot(target.ecu);
    const marker = await readMarker(this.#settings.markerPath, target.ecu);
    return marker.active === slot && marker.images[slot] === imageId(target);
  }

  async confirm(target: TrustedTarget): Promise<void> {
    const marker = await readMarker(this.#settings.markerPath, target.ecu);
    if (marker.state === 'good') return;
    await this.#guard(target.ecu, () =>
      writeMarker(this.#settings.markerPath, { ...marker, state: 'good', tries: 0 }),
    );
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    const { markerPath } = this.#settings;
    const { ecu } = target;
    const booted = await this.#bootedSlot(ecu);
    const marker = await readMarker(markerPath, ecu);
    const back = marker.images[booted] === imageId(target) ? otherSlot(booted) : booted;
    // The slot that does not run is good only while the marker says so: an update may have spoiled it.
    if (back !== booted && marker.active !== back && marker.fallback !== back) {
      const cause = `there is no image to go back to: slot ${back} holds none that ran`;
      throw new OtaError('INSTALL_FAILED', { installer: this.kind, ecu, cause });
    }
    await this.#guard(ecu, () =>
      writeMarker(markerPath, {
        ...marker,
        active: back,
        state: 'good',
        tries: 0,
        fallback: undefined,
      }),
    );
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    const booted = await this.#bootedSlot('');
    const marker = await readMarker(this.#settings.markerPath, '');
    const { a, b } = this.#settings.slots;
    const images = { image_a: marker.images.a ?? 'unknown', image_b: marker.images.b ?? 'unknown' };
    return { booted, active: marker.active, state: marker.state, slot_a: a, slot_b: b, ...images };
  }

  async #bootedSlot(ecu: string): Promise<Slot> {
    const path = this.#settings.bootedPath;
    const text = await this.#guard(ecu, async () => (await readFile(path, 'utf8')).trim());
    if (isSlot(text)) return text;
    const cause = `${path} says ${JSON.stringify(text)}, want a or b: the boot loader or initramfs must write the booted slot there`;
    throw new OtaError('INSTALL_FAILED', { installer: this.kind, ecu, cause });
  }

  #guard<T>(ecu: string, act: () => Promise<T>): Promise<T> {
    return guarded({ installer: this.kind, ecu }, act);
  }
}

/** Bound to the content: the marker must not call a slot good for another image. */
function imageId(target: Target): string {
  const [entry] = target.hashes;
  return entry === undefined ? '' : `${entry[0]}:${entry[1]}`;
}

async function copyImage(
  from: string,
  to: string,
  target: Target,
  progress: Progress,
): Promise<void> {
  const source = await open(from, 'r');
  // Not created: a slot that is missing is a wiring error, not a place to write to.
  const slot = await open(to, 'r+').catch(async (error: unknown) => {
    await source.close();
    throw error;
  });
  try {
    let position = 0;
    for await (const chunk of readBytes(source, target.lengthBytes)) {
      await writeAt(slot, chunk, position);
      position += chunk.byteLength;
      progress(position, target.lengthBytes);
    }
    await slot.sync();
  } finally {
    await slot.close();
    await source.close();
  }
}

/** Bytes a slot can hold; `undefined` for a regular file, which can grow. */
async function capacity(path: string): Promise<number | undefined> {
  const found = await stat(path);
  if (!found.isBlockDevice()) return undefined;
  const sectors = await readFile(`/sys/class/block/${basename(await realpath(path))}/size`, 'utf8');
  return Number(sectors) * 512;
}
