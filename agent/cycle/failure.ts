import { isOtaError } from '../errors.ts';
import type { TrustedTarget } from '../uptane/plan.ts';
import type { Failure } from './machine.ts';

/** Which ECU an error is about: the error itself may not know. */
const ecuOf = new WeakMap<object, string>();

/** Runs `act`; what it throws is about the ECU of `target`. */
export async function ofTarget<T>(target: TrustedTarget, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof Error) ecuOf.set(error, target.ecu);
    throw error;
  }
}

/**
 * An expected failure as the machine keeps it.
 *
 * @throws whatever it was given, if that is a bug and not an expected failure
 */
export function failureOf(error: unknown): Failure {
  if (!isOtaError(error) || error.handling.kind === 'bug') throw error;
  const failure = { code: error.code, details: { ...error.details }, description: error.message };
  const ecu = ecuOf.get(error);
  return ecu === undefined ? failure : { ...failure, ecu };
}
