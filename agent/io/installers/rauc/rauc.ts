/** RAUC's interface on D-Bus, `de.pengutronix.rauc.Installer`, as of RAUC 1.8. */
import { setTimeout } from 'node:timers/promises';

import { BusFailure, type Bus, type Owner, type Receiver } from './busctl.ts';
import { readSlots, type Slots } from './slots.ts';

const NAME = 'de.pengutronix.rauc';
const INTERFACE = 'de.pengutronix.rauc.Installer';
const RAUC: Receiver = { name: NAME, path: '/', interface: INTERFACE };
const PROPERTIES: Receiver = { ...RAUC, interface: 'org.freedesktop.DBus.Properties' };

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;

/** What RAUC is doing now. */
export interface Activity {
  readonly operation: string;
  /** Of the last installation; empty if it went well. */
  readonly lastError: string;
  readonly percent: number;
  readonly compatible: string;
}

/** How an installation ended. `vanished`: RAUC or the bus went away, and nobody knows how far it came. */
export type Ending = 'installed' | 'vanished' | { readonly failed: string };

export class Rauc {
  readonly #bus: Bus;
  readonly #timeoutMs: number;

  /** @param timeoutMs - for one installation, and for somebody else's that has to end first */
  constructor(bus: Bus, timeoutMs: number) {
    this.#bus = bus;
    this.#timeoutMs = timeoutMs;
  }

  /** Asked of the well-known name, which starts RAUC where the bus knows how. */
  activity(): Promise<Activity> {
    return this.#activityOf(NAME);
  }

  /** Which process it is now, on which bus; `undefined` where there is none. */
  async owner(): Promise<string | undefined> {
    const owner = await this.#bus.owner(NAME);
    return owner === undefined ? undefined : `${owner.bus} ${owner.unique}`;
  }

  /** As soon as RAUC is idle: it does not say while it installs. */
  async slots(): Promise<Slots> {
    await this.#idle();
    const [answer] = await this.#bus.call(RAUC, 'GetSlotStatus');
    return readSlots(answer);
  }

  /**
   * The slot that the boot loader would choose.
   *
   * @throws BusFailure where RAUC cannot ask the boot loader, or that would choose none
   */
  async demandPrimary(): Promise<string> {
    const [name] = await this.#bus.call(RAUC, 'GetPrimary');
    return String(name);
  }

  /** The same for those who are about to choose one. */
  async primary(): Promise<string | undefined> {
    try {
      return await this.demandPrimary();
    } catch (error) {
      if (error instanceof BusFailure) return undefined;
      throw error;
    }
  }

  async mark(state: 'good' | 'bad' | 'active', slot: string): Promise<void> {
    await this.#bus.call(RAUC, 'Mark', 'ss', state, slot);
  }

  /** @returns what a bundle is compatible with; `undefined` where RAUC does not say, or refuses it */
  async compatibleOf(bundle: string): Promise<string | undefined> {
    try {
      const [compatible] = await this.#bus.call(RAUC, 'Info', 's', bundle);
      return String(compatible);
    } catch (error) {
      if (error instanceof BusFailure) return undefined;
      throw error;
    }
  }

  /**
   * Installs a bundle, and asks how far that is until it is done: a signal may be lost, a property
   * is there to be read.
   *
   * @throws Error if RAUC stops answering, or takes too long
   */
  async install(bundle: string, onPercent: (percent: number) => void): Promise<Ending> {
    const deadline = performance.now() + this.#timeoutMs;
    const by = await this.#bus.owner(NAME);
    if (by === undefined) return 'vanished';
    try {
      await this.#bus.call({ ...RAUC, name: by.unique }, 'InstallBundle', 'sa{sv}', bundle, '0');
      for (const pause of pauses()) {
        await setTimeout(pause);
        const { operation, percent, lastError } = await this.#activityOf(by.unique);
        if (operation === 'idle') return await this.#ending(by, lastError);
        if (performance.now() > deadline) {
          throw new Error(`RAUC has not installed within ${seconds(this.#timeoutMs)}; ${RESTART}`);
        }
        onPercent(percent);
      }
    } catch (error) {
      if (!(error instanceof BusFailure) || (await this.#isThere(by))) throw error;
    }
    return 'vanished';
  }

  /** Waits for the next RAUC as long as for an answer; then the next call says what is wrong. */
  async returned(): Promise<void> {
    const deadline = performance.now() + Math.min(this.#timeoutMs, RETURN_MS);
    for (const pause of pauses()) {
      try {
        await this.activity();
        return;
      } catch (error) {
        if (!(error instanceof BusFailure) || performance.now() > deadline) return;
        await setTimeout(pause);
      }
    }
  }

  /**
   * An installation that somebody else has started, or an agent that was killed, cannot be stopped.
   *
   * @throws Error if it takes too long
   */
  async #idle(): Promise<void> {
    const deadline = performance.now() + this.#timeoutMs;
    for (const pause of pauses()) {
      const { operation } = await this.activity();
      if (operation === 'idle') return;
      if (performance.now() > deadline) throw new Error(`RAUC is still ${operation}; ${RESTART}`);
      await setTimeout(pause);
    }
  }

  /** What looks idle and without error may be one that has just been started. */
  async #ending(by: Owner, lastError: string): Promise<Ending> {
    if (!(await this.#isThere(by))) return 'vanished';
    return lastError === '' ? 'installed' : { failed: lastError };
  }

  async #isThere({ unique, bus }: Owner): Promise<boolean> {
    const now = await this.#bus.owner(NAME);
    return now?.unique === unique && now.bus === bus;
  }

  async #activityOf(name: string): Promise<Activity> {
    const [all] = await this.#bus.call({ ...PROPERTIES, name }, 'GetAll', 's', INTERFACE);
    if (!(all instanceof Map)) throw new BusFailure(`${NAME} has no properties of ${INTERFACE}`);
    const text = (key: string): string => String(all.get(key) ?? '');
    const progress: unknown = all.get('Progress');
    return {
      operation: text('Operation'),
      lastError: text('LastError'),
      percent: Array.isArray(progress) ? Number(progress[0]) : 0,
      compatible: text('Compatible'),
    };
  }
}

const RETURN_MS = 30_000;
const RESTART = 'see journalctl -u rauc, and restart it (systemctl restart rauc)';

function* pauses(): Generator<number, never> {
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    yield pause;
    pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS);
  }
}

function seconds(ms: number): string {
  return `${String(ms / 1000)} s`;
}
