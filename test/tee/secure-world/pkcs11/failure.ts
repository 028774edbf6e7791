import { TaPanic } from '../ta.ts';
import { TEE } from '../world/results.ts';
import type { Mode } from './mode.ts';

/** A command's refusal: the TA stays as it is and the caller gets the value. Anything else panics. */
export class TaFailure extends Error {
  override readonly name = 'TaFailure';
  /** A CKR value. */
  readonly rv: number;

  constructor(rv: number, options?: ErrorOptions) {
    super(`rv=0x${rv.toString(16).padStart(8, '0')}`, options);
    this.rv = rv;
  }
}

/** Runs something whose refusals are known to the caller by other names. */
export function renaming<T>(names: ReadonlyMap<number, number>, run: () => T): T {
  try {
    return run();
  } catch (failure) {
    const renamed = failure instanceof TaFailure ? names.get(failure.rv) : undefined;
    throw renamed === undefined ? failure : new TaFailure(renamed, { cause: failure });
  }
}

/** What kills OP-TEE's TA: in strict mode, ours too. */
export function panic(what: string): TaPanic {
  return new TaPanic(TEE.GENERIC, what);
}

/**
 * Refuses what OP-TEE's TA does not survive.
 *
 * @throws TaPanic in strict mode
 * @throws TaFailure with `rv` otherwise
 */
export function panicOr(mode: Mode, rv: number, what: string): never {
  throw mode === 'strict' ? panic(what) : new TaFailure(rv);
}
