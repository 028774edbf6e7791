import { causeOf, isOtaError, OtaError } from '../../errors.ts';

/** Which installer does what to which ECU. */
export interface Work {
  readonly installer: string;
  readonly ecu: string;
}

/**
 * Runs `act`; what the system says goes on as INSTALL_FAILED with it as the cause.
 *
 * @throws OtaError INSTALL_FAILED, and every OtaError of `act` as it is
 */
export async function guarded<T>(work: Work, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (isOtaError(error)) throw error;
    throw new OtaError('INSTALL_FAILED', { ...work, cause: causeOf(error) }, { cause: error });
  }
}
