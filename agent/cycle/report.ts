/** Signs and sends the vehicle version manifest: what runs, what was attacked, how an update ended. */
import { isFailureCode, isOtaError, type AnyOtaError } from '../errors.ts';
import type { Ports } from '../ports.ts';
import type { EcuInventory } from '../uptane/inventory.ts';
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

/**
 * Sends one manifest; when this resolves the Director has it, or has refused it.
 *
 * A refusal is logged and no more: a Director that dislikes a report must not be able to keep a
 * device from its updates, and sending the same again would change nothing.
 *
 * Costs one durable write: the counter that keeps a report from being replayed.
 *
 * Source: Uptane Standard 2.1 §5.4.2.1.
 *
 * @param result - how the last update ended, if the Director has not heard it yet
 * @throws OtaError GATEWAY_* if it could not be delivered, TOKEN_* if it could not be signed
 */
export async function sendManifest(ports: Ports, result: Result | undefined): Promise<void> {
  const inventory = await ports.store.inventory();
  const reports = new Map<string, SignedDocument>();
  for (const ecu of inventory) reports.set(ecu.serial, await signedReport(ecu, inventory, ports));
  const installation = result === undefined ? undefined : installationReport(result);
  const manifest = vehicleManifest({
    primaryEcu: inventory[0]?.serial ?? '',
    reports,
    ...(installation === undefined ? {} : { installation }),
  });
  const body = encodeDocument(await sign(manifest, ports));
  try {
    await ports.director.putManifest(body);
  } catch (error) {
    if (!isOtaError(error) || !isRefusal(error)) throw error;
    ports.reporter.refused(error);
  }
}

function isRefusal(error: AnyOtaError): boolean {
  if (error.code !== 'GATEWAY_ANSWER') return false;
  return error.details.status >= 400 && error.details.status < 500;
}

async function signedReport(
  { serial, installed }: EcuInventory,
  inventory: readonly EcuInventory[],
  ports: Ports,
): Promise<SignedDocument> {
  const role = serial === inventory[0]?.serial ? 'primary' : 'secondary';
  const refusal = await ports.store.refusal();
  const previousTime = await ports.store.latestKnownTime();
  const time = ports.clock.now();
  const counter = await ports.store.nextReportCounter(time);
  const failures = refusal !== undefined && isFailureCode(refusal) ? [refusal] : [];
  const report = { ecu: serial, role, installed, failures, previousTime, time, counter } as const;
  return sign(versionReport(report), ports);
}

async function sign(document: Unsigned, { signer }: Ports): Promise<SignedDocument> {
  const value = await signer.sign(document.payload);
  return attachSignatures(document, [{ keyId: signer.keyId, method: signer.method, value }]);
}

/** Without a correlation id the Director has nothing to hold a report against. */
function installationReport({ plan, failure }: Result): InstallationReport | undefined {
  const { correlationId, targets } = plan;
  if (correlationId === undefined) return undefined;
  const own = installationResult(failure);
  const items = targets.map(({ ecu, hardwareId }) => ({ ecu, hardwareId, result: own }));
  return {
    correlationId,
    items: items.map(({ ecu, result }) => ({ ecu, result })),
    result: deviceResult(items),
    rawReport: failure?.description ?? 'installed and confirmed',
  };
}
