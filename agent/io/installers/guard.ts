import { causeOf, isOtaError, OtaError } from '../../errors.ts';
import type { Target } from '../../uptane/plan.ts';

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

/** What aktualizr and its servers call a target that is a commit and not a file. */
const OSTREE = 'OSTREE';

/** Whether a target names an OSTree commit; one without bytes and without a format does, as in aktualizr. */
function isCommit({ format, lengthBytes }: Target): boolean {
  return format === OSTREE || (format === undefined && lengthBytes === 0);
}

/** `packed-bytes`: an installer that unpacks what is published compressed. */
export type Takes = 'bytes' | 'packed-bytes' | 'commit';

/**
 * Refuses what another installer has to install: a commit has no bytes, bytes are no commit, and not
 * every installer unpacks.
 *
 * @throws OtaError INSTALL_FAILED naming both
 */
export function demandKind(takes: Takes, target: Target, installer: string): void {
  const { ecu, filename, format = 'none', lengthBytes, compressed } = target;
  if (isCommit(target) !== (takes === 'commit')) {
    const found = `${filename} has targetFormat ${format} and ${String(lengthBytes)} bytes`;
    const cause = `${found}, which installer.type = "${installer}" cannot install: assign another image, or set the installer that can`;
    throw new OtaError('INSTALL_FAILED', { installer, ecu, cause });
  }
  if (compressed === undefined || takes === 'packed-bytes') return;
  const cause = `the image is published with compression ${compressed.by}, which this installer does not unpack: publish it as it is`;
  throw new OtaError('INSTALL_FAILED', { installer, ecu, cause });
}
