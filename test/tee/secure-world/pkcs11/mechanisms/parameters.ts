/** Mechanism parameters that more than one family has. */
import { CKR } from '../abi.ts';
import { ArgReader } from '../args.ts';
import { TaFailure } from '../failure.ts';

/** @throws TaFailure MECHANISM_PARAM_INVALID */
export function requireNone(parameter: Uint8Array): void {
  if (parameter.byteLength !== 0) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
}

/**
 * Reads how many bytes of a MAC are wanted (CK_MAC_GENERAL_PARAMS).
 *
 * @throws TaFailure MECHANISM_PARAM_INVALID for a parameter of another size
 * @throws TaFailure SIGNATURE_LEN_RANGE for none, or more than there are
 */
export function readMacBytes(parameter: Uint8Array, maxBytes: number): number {
  if (parameter.byteLength !== 4) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
  const bytes = new ArgReader(parameter).u32();
  if (bytes === 0 || bytes > maxBytes) throw new TaFailure(CKR.SIGNATURE_LEN_RANGE);
  return bytes;
}

/**
 * Reads a parameter to its last byte.
 *
 * @param wrongSize - what OP-TEE says of one that is too short or too long
 * @throws TaFailure with `wrongSize`
 */
export function readParameter<T>(
  parameter: Uint8Array,
  wrongSize: number,
  read: (reader: ArgReader) => T,
): T {
  const reader = new ArgReader(parameter);
  try {
    const value = read(reader);
    reader.end();
    return value;
  } catch (cause) {
    const isWrongSize = cause instanceof TaFailure && cause.rv === CKR.ARGUMENTS_BAD;
    throw isWrongSize ? new TaFailure(wrongSize, { cause }) : cause;
  }
}
