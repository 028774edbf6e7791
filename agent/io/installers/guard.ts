import { causeOf, isOtaError, OtaError } from '../../errors.ts';
import type { TrustedTarget } from '../../uptane/plan.ts';

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
    if (!isOtaError(error)) {
      throw new OtaError('INSTALL_FAILED', { ...work, cause: causeOf(error) }, { cause: error });
    }
    // Parts of an installer do not know for which ECU they work.
    if (error.code !== 'INSTALL_FAILED' || error.details.ecu !== '' || work.ecu === '') throw error;
    const { cause } = error.details;
    throw new OtaError('INSTALL_FAILED', { ...work, cause }, { cause: error.cause });
  }
}

/**
 * For installers that hand on what was downloaded as it is.
 *
 * @throws OtaError INSTALL_FAILED if it had to be unpacked first
 */
export function refuseCompressed({ installer, ecu }: Work, { compressed }: TrustedTarget): void {
  if (compressed === undefined) return;
  const cause = `the image is published with compression ${compressed.by}, which this installer does not unpack: publish it as it is`;
  throw new OtaError('INSTALL_FAILED', { installer, ecu, cause });
}
