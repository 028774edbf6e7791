/**
 * SWUpdate: its daemon writes a .swu to the slot that does not run; the agent chooses what boots.
 *
 * SWUpdate's own signature and hardware checks decide beside ours, in a rehearsal before the first
 * byte is written. What a slot holds is recorded before and after, so that what runs is known from
 * the slot that booted.
 */
import type { Progress, StagedInstaller } from '../../../ports.ts';
import type { TrustedTarget } from '../../../uptane/plan.ts';
import { verifyImageAt } from '../../image-file.ts';
import { demandKind, guarded } from '../guard.ts';
import { same, shown, type BootVariables, type Variables } from './boot-variables.ts';
import type { Selection } from './control-messages.ts';
import { askHardware, type Daemon } from './control-socket.ts';
import { runInstallation } from './installation.ts';
import { copies, readBack, refuseTooLarge, syncDevice } from './slot-devices.ts';
import { slotImages, type SlotImage } from './slot-guard.ts';
import { imageId, readRecord, writeRecord, type Slot, type SlotRecord } from './slot-record.ts';
import { readSwu, type SwuArchive } from './swu-archive.ts';
import { bootedSlot, freeSlot, type SlotsSettings } from './which-slot.ts';

export interface SwupdateSettings extends SlotsSettings {
  readonly daemon: Daemon;
  readonly recordPath: string;
  readonly boot: BootVariables;
}

/** A .swu and what it would write. */
interface Contents {
  readonly archive: SwuArchive;
  readonly images: readonly SlotImage[];
}

export class SwupdateInstaller implements StagedInstaller {
  readonly kind = 'swupdate';
  readonly takes = 'staged';
  readonly needsReboot = true;
  readonly #settings: SwupdateSettings;

  constructor(settings: SwupdateSettings) {
    this.#settings = settings;
  }

  async check(target: TrustedTarget): Promise<void> {
    demandKind('bytes', target, this.kind);
    await this.#guard(target.ecu, async () => {
      await freeSlot(this.#settings);
      await this.#settings.boot.read();
      await readRecord(this.#settings.recordPath);
      await askHardware(this.#settings.daemon);
    });
  }

  async write(target: TrustedTarget, stagedPath: string, progress: Progress): Promise<void> {
    const { boot, daemon } = this.#settings;
    await this.#guard(target.ecu, async () => {
      const { booted, slot, selection, devices } = await freeSlot(this.#settings);
      await verifyImageAt(stagedPath, target);
      await askHardware(this.#settings.daemon);
      const contents = await this.#judge(stagedPath, selection, devices);
      const work = { stagedPath, lengthBytes: target.lengthBytes, selection };
      await runInstallation({ ...work, run: 'dry', progress: () => undefined }, daemon);
      await this.#strike(booted, slot);
      const before = await boot.read();
      const written = (done: number): void => {
        progress(done, target.lengthBytes);
      };
      await runInstallation({ ...work, run: 'install', progress: written }, daemon).finally(() =>
        this.#refuseChoice(before),
      );
      for (const device of devices) await syncDevice(device);
      for (const { device, entry } of copies(contents.images, contents.archive)) {
        await readBack(device, entry, stagedPath);
      }
      await this.#record(slot, { state: 'written', image: imageId(target) });
    });
  }

  async activate(target: TrustedTarget): Promise<void> {
    const { boot, recordPath } = this.#settings;
    await this.#guard(target.ecu, async () => {
      const { booted, slot } = await freeSlot(this.#settings);
      const record = await readRecord(recordPath);
      // Chosen before a power cut: it runs already.
      if (record[booted].image === imageId(target)) return;
      const { state, image } = record[slot];
      if (state === 'writing' || image !== imageId(target)) {
        throw new Error(`slot ${slot} does not hold ${target.filename}: it was never proven there`);
      }
      await boot.attempt(slot);
    });
  }

  booted(target: TrustedTarget): Promise<boolean> {
    return this.#guard(target.ecu, async () => {
      const { state, image } = (await readRecord(this.#settings.recordPath))[
        await bootedSlot(this.#settings)
      ];
      return state !== 'writing' && image === imageId(target);
    });
  }

  async confirm(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const booted = await bootedSlot(this.#settings);
      const { image } = (await readRecord(this.#settings.recordPath))[booted];
      if (image !== imageId(target)) throw new Error(`${target.filename} does not run`);
      await this.#settings.boot.only(booted);
      await this.#record(booted, { state: 'good', image });
    });
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const { booted, slot } = await freeSlot(this.#settings);
      const record = await readRecord(this.#settings.recordPath);
      const { state, image } = record[booted];
      // What was never proven may run if a script of the image has chosen it.
      const unproven = state === 'writing' && record[slot].state === 'good';
      const runs = unproven || image === imageId(target);
      // The other slot is good only while the record says so: an update may have spoiled it.
      if (runs && record[slot].state !== 'good') {
        throw new Error(`there is no image to go back to: slot ${slot} holds none that ran`);
      }
      await this.#settings.boot.only(runs ? slot : booted);
    });
  }

  describe(): Promise<Readonly<Record<string, string>>> {
    const { boot, daemon, slots, recordPath } = this.#settings;
    return this.#guard('', async () => {
      const { booted } = await freeSlot(this.#settings);
      const record = await readRecord(recordPath);
      const holds = (slot: Slot): string =>
        `${slots[slot].devices.join(', ')}: ${record[slot].image ?? 'unknown'}, ${record[slot].state}`;
      return {
        booted,
        slot_a: holds('a'),
        slot_b: holds('b'),
        hardware: await askHardware(this.#settings.daemon),
        socket: daemon.socketPath,
        boot_environment: boot.where,
        boot_variables: shown(await boot.read()),
      };
    });
  }

  /** What the image would do, before SWUpdate hears of it. */
  async #judge(
    stagedPath: string,
    selection: Selection,
    devices: readonly string[],
  ): Promise<Contents> {
    const archive = await readSwu(stagedPath);
    const images = slotImages(archive.description, selection, devices);
    for (const { device, entry } of copies(images, archive)) await refuseTooLarge(device, entry);
    return { archive, images };
  }

  /** Before the first byte changes nothing leads to the other slot any more. */
  async #strike(booted: Slot, slot: Slot): Promise<void> {
    const { boot, recordPath } = this.#settings;
    await boot.only(booted);
    const { image } = (await readRecord(recordPath))[booted];
    const kept = { state: 'good', image } as const;
    const struck = { state: 'writing', image: undefined } as const;
    const record: SlotRecord = slot === 'a' ? { a: struck, b: kept } : { a: kept, b: struck };
    await writeRecord(recordPath, record);
  }

  /** Scripts in an image, or a daemon that keeps marks in our variables, choose before we do. */
  async #refuseChoice(before: Variables): Promise<void> {
    const { boot } = this.#settings;
    const after = await boot.read();
    if (same(before, after)) return;
    await boot.write(before);
    throw new Error(
      `SWUpdate changed the boot environment to ${shown(after)}, which is undone: start its daemon with -B none, or with -M -m, and let no script of the image do it`,
    );
  }

  async #record(slot: Slot, content: SlotRecord[Slot]): Promise<void> {
    const { recordPath } = this.#settings;
    const record = await readRecord(recordPath);
    const { state, image } = record[slot];
    if (state === content.state && image === content.image) return;
    await writeRecord(recordPath, { ...record, [slot]: content });
  }

  #guard<T>(ecu: string, act: () => Promise<T>): Promise<T> {
    return guarded({ installer: this.kind, ecu }, act);
  }
}
