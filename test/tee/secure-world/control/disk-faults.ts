/** When the power goes, and when the disk is full. Counts every step that storage takes. */
import type { DiskFaults, DiskStep } from '../storage/faulty-directory.ts';
import { StorageFailure, TEE_ERROR_STORAGE_NO_SPACE } from '../storage/trusted-storage.ts';

/** Where in a step the power goes; `half-way` leaves half of a write, and is `before` elsewhere. */
export type Moment = 'before' | 'half-way' | 'after';

/** What there is room for: so many more writes, or so many more bytes. */
export type Room = { readonly writes: number } | { readonly bytes: number };

export class DiskFaultPlan implements DiskFaults {
  readonly #die: () => void;
  #steps = 0;
  #writtenBytes = 0;
  #kill: { readonly step: number; readonly moment: Moment } | undefined;
  #room: { writes: number; bytes: number } | undefined;

  /** @param die - must not return: a step that goes on would be one that the power did not stop */
  constructor(die: () => void) {
    this.#die = die;
  }

  /** Steps and bytes since the world began. */
  get counts(): { readonly steps: number; readonly writtenBytes: number } {
    return { steps: this.#steps, writtenBytes: this.#writtenBytes };
  }

  /** @param nth - counted from 1, from now */
  killAt(nth: number, moment: Moment): void {
    this.#kill = { step: this.#steps + nth, moment };
  }

  limit(room: Room): void {
    this.#room = { writes: Infinity, bytes: Infinity, ...room };
  }

  clear(): void {
    this.#kill = undefined;
    this.#room = undefined;
  }

  around<T>(step: DiskStep, act: () => T, half?: () => void): T {
    this.#steps += 1;
    const moment = this.#kill?.step === this.#steps ? this.#kill.moment : undefined;
    if (moment === 'half-way') half?.();
    if (moment === 'half-way' || moment === 'before') this.#die();
    this.#takeRoom(step, half);
    const done = act();
    this.#writtenBytes += step.lengthBytes;
    if (moment === 'after') this.#die();
    return done;
  }

  /**
   * New files and all writes take room; what frees room or makes durable never fails for want of it.
   * As on a real disk, half of the write that fails may be there.
   */
  #takeRoom({ do: what, name, lengthBytes }: DiskStep, half?: () => void): void {
    if (this.#room === undefined || (what !== 'write' && what !== 'create')) return;
    if (this.#room.writes < 1 || this.#room.bytes < lengthBytes) {
      this.#room.writes = 0;
      half?.();
      const text = `cannot ${what} ${name}: ENOSPC, as the control socket says`;
      throw new StorageFailure(TEE_ERROR_STORAGE_NO_SPACE, text);
    }
    this.#room.bytes -= lengthBytes;
    if (what === 'write') this.#room.writes -= 1;
  }
}
