/** Signs and sends the vehicle version manifest: what runs, what was attacked, how an update ended. */
import { isOtaError, OtaError, type AnyOtaError, type FailureCode } from '../errors.ts';
import type { Ports } from '../ports.ts';
import {
  attachSignatures,
  deviceResult,
  encodeDocument,
  installationResult,
  vehicleManifest,
  versionReport,
  type InstallationReport,
  type SignedDocument,
  type Unsigned,
} from '../uptane/manifest.ts';
import type { Result } from './machine.ts';
import { sealReports } from './seal.ts';
import { parseResult } from './state.ts';

/**
 * Sends one manifest; when this resolves the Director has it, or has refused it.
 *
 * A refusal is logged and no more: a Director that dislikes a report must not be able to keep a
 * device from its updates, and sending the same again would change nothing. Attacks that were
 * detected stay on the list until a Director has accepted a manifest that names them.
 *
 * Costs one durable write: the counter that keeps a report from being replayed.
 *
 * Source: Uptane Standard 2.1 §5.4.2.1.
 *
 * @param result - how the last update ended, if the Director has not heard it yet
 * @throws OtaError GATEWAY_* if it could not be delivered, TOKEN_* if it could not be signed
 */
export async function sendManifest(ports: Ports, result: Result | undefined): Promise<void> {
  try {
    await offerManifest(ports, result);
  } catch (error) {
    if (!isOtaError(error) || !isRefusal(error)) throw error;
    ports.reporter.refused(error);
  }
}

/**
 * How updates ended that came offline, oldest first; one that was told twice, because power failed
 * between, says the same twice.
 *
 * @returns whether a manifest was sent
 */
export async function tellPostponed(ports: Ports): Promise<boolean> {
  const results = await ports.store.postponedReports();
  for (const result of results) {
    await sendManifest(ports, parseResult(result));
    await ports.store.dropPostponedReport();
  }
  return results.length > 0;
}

/**
 * The same, where it matters that the Director accepts it.
 *
 * @throws OtaError GATEWAY_ANSWER with what it said, if it does not
 */
export async function offerManifest(ports: Ports, result: Result | undefined): Promise<void> {
  const { clock, store } = ports;
  const attacks = await store.unreportedAttacks();
  const body = await signedManifest(ports, result, attacks);
  const date = await ports.director.putManifest(body);
  if (date !== undefined) clock.noteHttpDate(date);
  if (attacks.length > 0) await store.attacksReported(attacks);
}

/** Not a word about the report: it was not even looked at. */
const TOO_MANY_REQUESTS = 429;

function isRefusal(error: AnyOtaError): boolean {
  if (error.code !== 'GATEWAY_ANSWER') return false;
  const { status } = error.details;
  return status >= 400 && status < 500 && status !== TOO_MANY_REQUESTS;
}

/** Attacks are the Primary's to report: it is the one that verifies for the whole vehicle. */
async function signedManifest(
  ports: Ports,
  result: Result | undefined,
  attacks: readonly FailureCode[],
): Promise<Uint8Array> {
  const inventory = await ports.store.inventory();
  const primaryEcu = inventory[0]?.serial ?? '';
  const time = ports.clock.now();
  const number = { time, ...(await ports.store.nextReport(time)) };
  await sealReports(ports, number.counter);
  const reports = new Map<string, SignedDocument>();
  for (const { serial, installed } of inventory) {
    const isPrimary = serial === primaryEcu;
    const role = isPrimary ? 'primary' : 'secondary';
    const failures = isPrimary ? attacks : [];
    const report = versionReport({ ecu: serial, role, installed, failures, ...number });
    reports.set(serial, await sign(report, ports));
  }
  const installation = result === undefined ? undefined : installationReport(result);
  const manifest = vehicleManifest({
    vehicleId: ports.vehicleId,
    primaryEcu,
    reports,
    ...(installation === undefined ? {} : { installation }),
  });
  return encodeDocument(await sign(manifest, ports));
}

async function sign(document: Unsigned, { signer }: Ports): Promise<SignedDocument> {
  const value = await signer.sign(document.payload);
  return attachSignatures(document, [{ keyId: signer.keyId, method: signer.method, value }]);
}

/** Without a correlation id the Director has nothing to hold a report against. */
function installationReport(result: Result): InstallationReport | undefined {
  const { plan, failure } = result;
  const { correlationId, targets } = plan;
  if (correlationId === undefined) return undefined;
  const items = targets.map(({ ecu, hardwareId }) => {
    return { ecu, hardwareId, result: installationResult(failureOn(ecu, result)) };
  });
  return {
    correlationId,
    items: items.map(({ ecu, result }) => ({ ecu, result })),
    result: deviceResult(items),
    rawReport: failure?.description ?? 'installed and confirmed',
  };
}

/** What failed on this ECU; `undefined` if it runs what it should, whatever became of the others. */
function failureOn(ecu: string, { failure, kept }: Result): Result['failure'] {
  if (failure === undefined) return undefined;
  const { ecu: failed = ecu } = failure;
  if (failed === ecu) return failure;
  if (kept.includes(ecu)) return undefined;
  const cause = `the update failed on ${failed}: ${failure.description}`;
  const error = new OtaError('ROLLED_BACK', { ecu, cause });
  return { code: error.code, details: error.details, description: error.message };
}
