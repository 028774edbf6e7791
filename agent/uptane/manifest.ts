/**
 * What the device tells the Director: version reports, the vehicle manifest, and events.
 *
 * Here are the exact bytes to sign, never a key. The layout is that of the field's Directors. The
 * payload hash and the vehicle identifier that the Standard asks for (§5.4.2.1) stand beside it:
 * those Directors check signatures over the JSON they received and skip members they do not know.
 */
import { createHash } from 'node:crypto';

import type { Json, JsonObject } from '../decode.ts';
import { handlingOf, type FailureCode } from '../errors.ts';
import { canonicalJson } from './canonical.ts';
import type { InstalledImage } from './inventory.ts';
import type { Signature } from './keys.ts';
import { formatInstant, type Instant } from './time.ts';

/** A document that waits for its signatures. */
export interface Unsigned {
  readonly signed: JsonObject;
  /** Exactly what a signature has to cover. */
  readonly payload: Uint8Array;
}

/** Signatures and what they cover, ready to be sent or to go into another document. */
export type SignedDocument = JsonObject;

/** What one ECU says about itself. */
export interface VersionReport {
  readonly ecu: string;
  readonly role: 'primary' | 'secondary';
  /** Absent until this agent installed something. */
  readonly installed: InstalledImage | undefined;
  /** Failures since the last report; those that name an attack are told to the Director. */
  readonly failures: readonly FailureCode[];
  /** What the report before this one gave as its time. */
  readonly previousTime: Instant;
  readonly time: Instant;
  /** Never the same twice, or a report could be replayed. Directors expect it of the Primary. */
  readonly counter?: number;
}

export interface Manifest {
  readonly vehicleId: string;
  readonly primaryEcu: string;
  /** Signed version reports by ECU serial. */
  readonly reports: ReadonlyMap<string, SignedDocument>;
  /** How the last update ended, until the Director has heard it. */
  readonly installation?: InstallationReport;
}

export interface InstallationReport {
  /** From the Director's Targets; without one there is nothing to report against. */
  readonly correlationId: string;
  readonly items: readonly { readonly ecu: string; readonly result: InstallationResult }[];
  readonly result: InstallationResult;
  /** For people. */
  readonly rawReport: string;
}

export interface InstallationResult {
  /** Of a device whose ECUs failed: `HARDWARE_ID:CODE`, joined by `|`. */
  readonly code: string;
  readonly description: string;
  readonly success: boolean;
}

/** One entry of `POST /events`. */
export interface DeviceEvent {
  /** UUID. */
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly deviceTime: string;
  readonly eventType: { readonly id: string; readonly version: number };
  readonly event: Readonly<Record<string, string | boolean | number>>;
}

const REPORT_CONTENT_TYPE = 'application/vnd.com.here.otac.installationReport.v1';
const NOTHING_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
/** What Directors take for "no image known", by the kind of ECU. */
const NO_IMAGE = { primary: 'unknown', secondary: 'noimage' } as const;

/**
 * An ECU version report.
 *
 * Source: Uptane Standard 2.1 §5.4.2.1.
 */
export function versionReport(report: VersionReport): Unsigned {
  const { installed, counter } = report;
  const hashes = installed?.hashes ?? new Map([['sha256', NOTHING_SHA256]]);
  return unsigned({
    attacks_detected: attacksDetected(report.failures),
    ecu_serial: report.ecu,
    installed_image: object({
      fileinfo: object({ hashes: new Map(hashes), length: installed?.lengthBytes ?? 0 }),
      filepath: installed?.filename ?? NO_IMAGE[report.role],
    }),
    previous_timeserver_time: formatInstant(report.previousTime),
    timeserver_time: formatInstant(report.time),
    ...(counter === undefined ? {} : { report_counter: String(counter) }),
  });
}

/**
 * The vehicle version manifest.
 *
 * Source: Uptane Standard 2.1 §5.4.2.1.
 */
export function vehicleManifest(manifest: Manifest): Unsigned {
  const { vehicleId, primaryEcu, reports, installation } = manifest;
  return unsigned({
    vehicle_id: vehicleId,
    ecu_version_manifests: new Map(reports),
    primary_ecu_serial: primaryEcu,
    ...(installation === undefined ? {} : { installation_report: reportOf(installation) }),
  });
}

/**
 * Joins a document and its signatures, each with the hash of what it covers.
 *
 * Source: Uptane Standard 2.1 §5.4.2.1 (key, method, hash of the payload, hash function, signature).
 */
export function attachSignatures(
  { signed, payload }: Unsigned,
  signatures: readonly Signature[],
): SignedDocument {
  const digest = createHash('sha256').update(payload).digest('hex');
  const hash = object({ digest, function: 'sha256' });
  const list = signatures.map(({ keyId, method, value }) =>
    object({ hash, keyid: keyId, method, sig: value }),
  );
  return object({ signatures: list, signed });
}

/** The bytes to send. */
export function encodeDocument(document: SignedDocument): Uint8Array {
  return canonicalJson(document);
}

/** How an ECU's installation ended, in the codes that Directors know. */
export function installationResult(failure?: {
  readonly code: FailureCode;
  readonly description: string;
}): InstallationResult {
  if (failure === undefined) {
    return { code: 'OK', description: 'Installing package was successful', success: true };
  }
  const code = RESULT_OF_EXIT.get(handlingOf(failure.code).exit) ?? 'INTERNAL_ERROR';
  return { code, description: failure.description, success: false };
}

/**
 * How the whole device did.
 *
 * @param items - every ECU that was to be updated
 */
export function deviceResult(
  items: readonly { readonly hardwareId: string; readonly result: InstallationResult }[],
): InstallationResult {
  const failed = items.filter(({ result }) => !result.success);
  if (failed.length === 0) {
    return { code: 'OK', description: 'Device has been successfully installed', success: true };
  }
  return {
    code: failed.map(({ hardwareId, result }) => `${hardwareId}:${result.code}`).join('|'),
    description: failed.map(({ result }) => result.description).join('; '),
    success: false,
  };
}

/** Result codes of the field by how a command would end; anything else is INTERNAL_ERROR. */
const RESULT_OF_EXIT: ReadonlyMap<number, string> = new Map([
  [20, 'VERIFICATION_FAILED'],
  [21, 'DOWNLOAD_FAILED'],
  [30, 'DOWNLOAD_FAILED'],
  [31, 'VERIFICATION_FAILED'],
  [32, 'INSTALL_FAILED'],
  [40, 'INSTALL_FAILED'],
  [41, 'INSTALL_FAILED'],
]);

/** `rollback:VERSION_ROLLBACK`, comma separated; empty when nothing that happened is an attack. */
function attacksDetected(failures: readonly FailureCode[]): string {
  const attacks = failures.flatMap((code) => {
    const { attack } = handlingOf(code);
    return attack === undefined ? [] : [`${attack}:${code}`];
  });
  return [...new Set(attacks)].join(',');
}

function reportOf({ correlationId, items, result, rawReport }: InstallationReport): JsonObject {
  return object({
    content_type: REPORT_CONTENT_TYPE,
    report: object({
      correlation_id: correlationId,
      items: items.map(({ ecu, result: own }) => object({ ecu, result: object({ ...own }) })),
      raw_report: rawReport,
      result: object({ ...result }),
    }),
  });
}

function unsigned(fields: Readonly<Record<string, Json>>): Unsigned {
  const signed = object(fields);
  return { signed, payload: canonicalJson(signed) };
}

function object(fields: Readonly<Record<string, Json>>): JsonObject {
  return new Map(Object.entries(fields));
}
