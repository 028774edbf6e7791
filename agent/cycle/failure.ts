import { isOtaError } from '../errors.ts';
import type { Failure } from './machine.ts';

/**
 * An expected failure as the machine keeps it.
 *
 * @throws whatever it was given, if that is a bug and not an expected failure
 */
export function failureOf(error: unknown): Failure {
  if (!isOtaError(error) || error.handling.kind === 'bug') throw error;
  return { code: error.code, details: { ...error.details }, description: error.message };
}
