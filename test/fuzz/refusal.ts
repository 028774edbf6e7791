/** What a refusal may be. */
import { isOtaError, type FailureCode } from '../../agent/errors.ts';
import { holds } from './invariant.ts';

/**
 * Runs `act`, and lets only refusals of the agent's own pass.
 *
 * @returns its result, or the code of the refusal
 * @throws BrokenInvariant for codes that blame the agent or the device; whatever is no `OtaError`
 */
export function refusalOr<T>(act: () => T): { value: T } | { code: FailureCode } {
  try {
    return { value: act() };
  } catch (error) {
    if (!isOtaError(error)) throw error;
    const { kind } = error.handling;
    holds(kind !== 'bug' && kind !== 'device', `a stranger's input ends with ${error.message}`);
    return { code: error.code };
  }
}
