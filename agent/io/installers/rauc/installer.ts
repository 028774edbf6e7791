/**
 * Bundles installed by RAUC, over D-Bus, to the slot that does not run.
 *
 * RAUC checks its own signature, writes, and tells the boot loader; the agent says when. What runs is
 * what RAUC says has booted, and which image that is, what the agent noted when it was installed.
 */
import type { Progress, StagedInstaller } from '../../../ports.ts';
import type { TrustedTarget } from '../../../uptane/plan.ts';
import { verifyImageAt } from '../../image-file.ts';
import { demandKind, guarded } from '../guard.ts';
import { Bus, BusFailure } from './busctl.ts';
import { describeActivation, describeSlot } from './describe.ts';
import { holds, imageId, previous, ranBefore, untouched } from './holding.ts';
import { Rauc } from './rauc.ts';
import { readRecord, writeRecord, type SlotRecord } from './record.ts';
import { stampOf, stampsOf, writtenSlot, type Slot } from './slots.ts';
import { readActivation } from './system-conf.ts';

export interface RaucSettings {
  /** Of the bus that RAUC is on; the system bus where `undefined`. */
  readonly busAddress: string | undefined;
  readonly systemConf: string;
  /** Where the agent notes which slot holds what. */
  readonly recordPath: string;
  readonly callTimeoutMs: number;
  readonly installTimeoutMs: number;
}

/** RAUC may be ended once while it installs, by somebody short of memory; twice is no accident. */
const ATTEMPTS = 2;

export class RaucInstaller implements StagedInstaller {
  readonly kind = 'rauc';
  readonly takes = 'staged';
  readonly needsReboot = true;
  readonly #settings: RaucSettings;
  readonly #rauc: Rauc;
  /** Once for each RAUC, and so for each boot: what boot loaders count in is flash that wears. */
  #goodNotedBy: string | undefined;

  constructor(settings: RaucSettings) {
    const { busAddress, callTimeoutMs, installTimeoutMs } = settings;
    this.#settings = settings;
    this.#rauc = new Rauc(new Bus(busAddress, callTimeoutMs), installTimeoutMs);
  }

  async check(target: TrustedTarget): Promise<void> {
    demandKind('bytes', target, this.kind);
    await this.#guard(target.ecu, async () => {
      const { booted } = await this.#rauc.slots();
      const primary = await this.#rauc.demandPrimary();
      const { begun } = await this.#record();
      if (primary !== booted.name && begun === undefined) throw rebootFirst(booted, primary);
    });
  }

  async write(target: TrustedTarget, stagedPath: string, progress: Progress): Promise<void> {
    await this.#guard(target.ecu, async () => {
      await verifyImageAt(stagedPath, target);
      if (await this.#runsAlready(target)) return;
      await this.#demandCompatible(stagedPath);
      for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
        if (await this.#install(target, stagedPath, progress)) return;
        await this.#rauc.returned();
      }
      throw new Error('RAUC has ended twice while it installed: see journalctl -u rauc');
    });
  }

  async activate(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const slots = await this.#rauc.slots();
      const { slots: noted } = await this.#record();
      const slot = [slots.booted, ...slots.others].find((one) =>
        holds(noted[one.name], target, stampOf(one, slots.all)),
      );
      if (slot === undefined) {
        throw new Error(`no slot holds ${target.filename}: it was not installed to the end`);
      }
      await this.#choose(slot);
    });
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    return this.#guard(target.ecu, async () => {
      const slots = await this.#rauc.slots();
      const { slots: noted } = await this.#record();
      const { booted } = slots;
      return holds(noted[booted.name], target, stampOf(booted, slots.all));
    });
  }

  async confirm(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const slots = await this.#rauc.slots();
      const record = await this.#record();
      const { booted } = slots;
      const noted = record.slots[booted.name];
      if (noted === undefined || !holds(noted, target, stampOf(booted, slots.all))) {
        throw new Error(`slot ${booted.name} runs, and does not hold ${target.filename}`);
      }
      await this.#rauc.mark('good', booted.name);
      // A boot loader that tries a slot once only, such as UEFI's BootNext, has not chosen it for good.
      if ((await this.#rauc.primary()) !== booted.name) await this.#choose(booted);
      await this.#note({ ...record.slots, [booted.name]: { ...noted, confirmed: true } });
    });
  }

  async noteGoodBoot(): Promise<void> {
    await this.#guard('', async () => {
      const by = await this.#rauc.owner();
      if (by !== undefined && by === this.#goodNotedBy) return;
      const { operation } = await this.#rauc.activity();
      if (operation !== 'idle') return;
      const { booted } = await this.#rauc.slots();
      const { slots: noted, begun } = await this.#record();
      const isOnTrial = noted[booted.name]?.confirmed === false;
      const isUnproven = begun !== undefined && begun.from !== booted.name;
      if (!isOnTrial && !isUnproven) await this.#rauc.mark('good', booted.name);
      this.#goodNotedBy = await this.#rauc.owner();
    });
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const slots = await this.#rauc.slots();
      const record = await this.#record();
      const { booted, others } = slots;
      const leaving = ranBefore(record, target, slots);
      if (leaving !== undefined) {
        await this.#choose(previous(leaving, slots));
        if (!leaving.confirmed) await this.#reject(booted);
        return;
      }
      if ((await this.#rauc.primary()) !== booted.name) await this.#choose(booted);
      // What failed its trial must not be what the boot loader falls back to.
      const failed = others.find((slot) =>
        holds(record.slots[slot.name], target, stampOf(slot, slots.all)),
      );
      if (failed !== undefined && record.slots[failed.name]?.confirmed === false) {
        await this.#reject(failed);
      }
    });
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    return this.#guard('', async () => {
      const { operation, compatible, lastError } = await this.#rauc.activity();
      const { systemConf } = this.#settings;
      return {
        operation,
        compatible,
        activation: describeActivation(await readActivation(systemConf), systemConf),
        ...(lastError === '' ? {} : { last_error: lastError }),
        // While it installs, RAUC does not speak of slots.
        ...(operation === 'idle' ? await this.#describeSlots() : {}),
      };
    });
  }

  async #describeSlots(): Promise<Readonly<Record<string, string>>> {
    const slots = await this.#rauc.slots();
    const { slots: noted } = await this.#record();
    const lines = [slots.booted, ...slots.others].map(
      (slot) => [`slot_${slot.name}`, describeSlot(slot, noted[slot.name], slots)] as const,
    );
    const primary = await this.#rauc.demandPrimary();
    return { booted: slots.booted.name, primary, ...Object.fromEntries(lines) };
  }

  /** @returns false where RAUC went away in between */
  async #install(target: TrustedTarget, path: string, progress: Progress): Promise<boolean> {
    const before = await this.#rauc.slots();
    const { booted } = before;
    const { slots: noted, begun: interrupted } = await this.#record();
    const primary = await this.#rauc.primary();
    if (primary !== booted.name) {
      // RAUC has chosen by itself what it had installed, and the agent was killed before it took that back.
      if (interrupted?.from !== booted.name) throw rebootFirst(booted, primary);
      await this.#choose(booted);
    }
    const runs = noted[booted.name];
    const kept = runs === undefined ? {} : { [booted.name]: runs };
    const begun = { image: imageId(target), from: booted.name, stamps: stampsOf(before) };
    // From now on nothing is known of the other slots, until RAUC has come to an end.
    await writeRecord(this.#settings.recordPath, { slots: kept, begun });
    const ending = await this.#rauc.install(path, (percent) => {
      progress(Math.floor((target.lengthBytes * percent) / 100), target.lengthBytes);
    });
    if (ending === 'vanished') return false;
    const after = await this.#rauc.slots();
    if (ending !== 'installed') {
      await this.#note(untouched(noted, before, after));
      throw new Error(`RAUC: ${ending.failed}`);
    }
    const slot = writtenSlot(before, after);
    await this.#keepChosen(booted, slot);
    const stamp = stampOf(slot, after.all);
    await this.#note({ ...kept, [slot.name]: { ...begun, stamp, confirmed: false } });
    progress(target.lengthBytes, target.lengthBytes);
    return true;
  }

  /** Where RAUC chooses what it has installed by itself, that is taken back at once. */
  async #keepChosen(booted: Slot, written: Slot): Promise<void> {
    const primary = await this.#rauc.primary();
    if (primary === booted.name) return;
    await this.#choose(booted);
    await this.#rauc.mark('bad', written.name);
  }

  /**
   * The image runs although the agent never chose it: RAUC did, and then power failed. Installing it
   * again would overwrite the image that is known to be good.
   */
  async #runsAlready(target: TrustedTarget): Promise<boolean> {
    const slots = await this.#rauc.slots();
    const { slots: noted, begun } = await this.#record();
    const { booted } = slots;
    const stamp = stampOf(booted, slots.all);
    if (holds(noted[booted.name], target, stamp)) return true;
    if (begun?.image !== imageId(target) || begun.from === booted.name) return false;
    if (begun.stamps[booted.name] === stamp) {
      throw new Error(`slot ${booted.name} runs, and was never installed to the end`);
    }
    await this.#note({ ...noted, [booted.name]: { ...begun, stamp, confirmed: false } });
    return true;
  }

  async #demandCompatible(path: string): Promise<void> {
    const { compatible } = await this.#rauc.activity();
    const offered = await this.#rauc.compatibleOf(path);
    // Where RAUC refuses the bundle, installing it says why, before any slot is touched.
    if (offered === undefined || offered === compatible) return;
    throw new Error(`the bundle is compatible with ${offered}, and this device is ${compatible}`);
  }

  async #choose(slot: Slot): Promise<void> {
    await this.#rauc.mark('active', slot.name);
    const primary = await this.#rauc.primary();
    if (primary === slot.name) return;
    throw new Error(
      `slot ${slot.name} was marked active, and the boot loader would still choose ${primary ?? 'none'}`,
    );
  }

  async #reject(slot: Slot): Promise<void> {
    if (slot.bootStatus !== 'bad') await this.#rauc.mark('bad', slot.name);
  }

  #record(): Promise<SlotRecord> {
    return readRecord(this.#settings.recordPath);
  }

  #note(slots: SlotRecord['slots']): Promise<void> {
    return writeRecord(this.#settings.recordPath, { slots });
  }

  #guard<T>(ecu: string, act: () => Promise<T>): Promise<T> {
    return guarded({ installer: this.kind, ecu }, async () => {
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof BusFailure)) throw error;
        const remedy = 'see systemctl status rauc.service dbus.service';
        throw new Error(`D-Bus: ${error.message}; ${remedy}`, { cause: error });
      }
    });
  }
}

/** While an image is written, what runs is all there is: the other slot must not be what is needed next. */
function rebootFirst(booted: Slot, primary: string | undefined): Error {
  return new Error(
    `slot ${booted.name} runs, and the boot loader would choose ${primary ?? 'none'}: reboot first`,
  );
}
