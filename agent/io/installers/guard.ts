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
    if (isOtaError(error)) throw error;
    throw new OtaError('INSTALL_FAILED', { ...work, cause: causeOf(error) }, { cause: error });
  }
}

/** What aktualizr and its servers call a target that is a commit and not a file. */
const OSTREE = 'OSTREE';

/** Whether a target names an OSTree commit; one without bytes and without a format does, as in aktualizr. */
function isCommit({ format, lengthBytes }: Target): boolean {
  return format === OSTREE || (format === undefined && lengthBytes === 0);
}

/**
 * Refuses what another installer has to install: a commit has no bytes, and bytes are no commit.
 *
 * @throws OtaError INSTALL_FAILED naming both
 */
export function demandKind(kind: 'bytes' | 'commit', target: Target, installer: string): void {
  if (isCommit(target) === (kind === 'commit')) return;
  const { ecu, filename, format = 'none', lengthBytes } = target;
  const found = `${filename} has targetFormat ${format} and ${String(lengthBytes)} bytes`;
  const cause = `${found}, which installer.type = "${installer}" cannot install: assign another image, or set the installer that can`;
  throw new OtaError('INSTALL_FAILED', { installer, ecu, cause });
}
