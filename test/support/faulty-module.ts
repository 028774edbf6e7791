/** A PKCS#11 library that goes wrong at one call: test/tee/normal-world/test/faulty-module.c. */
import { join } from 'node:path';

import { BUILD, buildDrivers } from '../integration/support-tee-drivers.ts';

export type FaultyCall =
  'load' | 'C_Initialize' | 'C_GetSlotList' | 'C_Login' | 'C_SignInit' | 'C_Sign';

let built = false;

/** Its path; compiled when it is first asked for. */
export function faultyModule(): string {
  if (!built) buildDrivers('plain');
  built = true;
  return join(BUILD, 'faulty-module.so');
}

/**
 * The environment in which it goes wrong.
 *
 * @param module - the library that it otherwise is
 * @param how - a number is a return value of Cryptoki
 * @param more - FAULTY_AFTER, FAULTY_FILE, FAULTY_HUNG
 */
export function faults(
  module: string,
  call: FaultyCall,
  how: 'crash' | 'hang' | 'exit' | `0x${string}`,
  more: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return { FAULTY_MODULE: module, FAULTY_CALL: call, FAULTY_HOW: how, ...more };
}
