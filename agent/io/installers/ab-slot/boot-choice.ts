/** Which slot boots next: the same three questions to every boot loader. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';

import { causeOf, OtaError } from '../../../errors.ts';

export type Slot = 'a' | 'b';

/** Where a boot loader keeps what it boots. A promise resolved means it is on disk. */
export interface BootChoice {
  /** What the boot loader would do now. */
  read(): Promise<Chosen>;
  /** From now on `slot` boots, and the other one does not, whatever happens to `slot`. */
  only(slot: Slot): Promise<void>;
  /** `slot` boots for as many times as the settings say; unless somebody says `only`, `fallback` then. */
  attempt(slot: Slot, fallback: Slot): Promise<void>;
  /**
   * Before anything is downloaded; changes nothing.
   *
   * @throws OtaError INSTALL_FAILED if it could not be changed when the time comes
   */
  demandUsable(): Promise<void>;
  /** Where it is kept, for people. */
  readonly where: string;
}

export interface Chosen {
  readonly active: Slot;
  /** `trial`: not yet confirmed. */
  readonly state: 'good' | 'trial';
}

export const KIND = 'ab-slot';
export const SLOTS = ['a', 'b'] as const;

export function otherSlot(slot: Slot): Slot {
  return slot === 'a' ? 'b' : 'a';
}

export function isSlot(text: string | undefined): text is Slot {
  return text === 'a' || text === 'b';
}

/** A failure that no ECU is to blame for: `guarded` names the one that it happened to. */
export function failed(cause: string, error?: unknown): OtaError<'INSTALL_FAILED'> {
  return new OtaError('INSTALL_FAILED', { installer: KIND, ecu: '', cause }, { cause: error });
}

/** A directory in which files are replaced or renamed. */
export async function demandWritable(directory: string): Promise<void> {
  try {
    await access(directory, constants.W_OK);
  } catch (error) {
    const remedy = 'the boot loader is told there which slot to boot: let the agent write there';
    throw failed(`${directory}: ${causeOf(error)}; ${remedy}`, error);
  }
}
