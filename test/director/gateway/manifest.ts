/**
 * Vehicle version manifests: what the Director checks, and what it learns.
 *
 * Source: Uptane Standard 2.1 §5.4.2.1 and the Director's checks: every ECU of the inventory reports,
 * the Primary and each ECU signed, the report counter was never used before. The key ids inside are
 * ignored: any signature by the registered key will do, as at a Director of the field.
 */
import type { KeyObject } from 'node:crypto';

import {
  canonicalJson,
  escapedCanonicalJson,
  isMap,
  type Json,
  type JsonMap,
} from '../json/canonical-json.ts';
import { Refusal } from '../failure.ts';
import { JsonReader } from '../json/read-json.ts';
import { importPublicKey, isSignedBy } from '../signing.ts';
import type { Assignment, Device, InstalledImage, RegisteredEcu } from '../state/devices.ts';

/** What a manifest says once its signatures are known to be right. */
export interface VerifiedManifest {
  readonly installed: Readonly<Record<string, InstalledImage>>;
  readonly reportCounter: number;
  /** The `report` of an `installation_report`. */
  readonly report?: JsonMap;
}

const COUNTER = /^(?:0|[1-9]\d{0,15})$/u;

/**
 * @throws Refusal 404 `device_not_registered` · 400 `ecu_not_primary`, `signature_not_valid`,
 *   `inventory_incomplete`, `ecu_not_registered`, `ecu_serial_mismatch`, `report_counter_reused`,
 *   `json_malformed`
 */
export function verifyManifest(device: Device, body: Json): VerifiedManifest {
  const primary = device.ecus.find((ecu) => ecu.serial === device.primary);
  if (primary === undefined) {
    throw new Refusal(404, 'device_not_registered', `${device.id} has not registered its ECUs`);
  }
  const envelope = new JsonReader(body);
  const signed = envelope.object('signed');
  const claimed = signed.string('primary_ecu_serial');
  if (claimed !== primary.serial) {
    throw new Refusal(400, 'ecu_not_primary', `${claimed} is not the Primary of ${device.id}`);
  }
  verifySignature(envelope, primary);
  const reports = signed.object('ecu_version_manifests');
  refuseUnregistered(device, reports);
  const installed = device.ecus.map((ecu) => [ecu.serial, readReport(reports, ecu)] as const);
  const report = signed.has('installation_report')
    ? signed.object('installation_report').raw('report')
    : undefined;
  return {
    installed: Object.fromEntries(installed),
    reportCounter: readCounter(reports.object(primary.serial).object('signed'), device),
    ...(isMap(report) ? { report } : {}),
  };
}

/** What the device is from now on, given a verified manifest. */
export function learnFrom(device: Device, manifest: VerifiedManifest, at: string): Device {
  const { installed, reportCounter, report } = manifest;
  const { assignment } = device;
  return {
    ...device,
    lastManifestAt: at,
    reportCounter,
    installed,
    ...(assignment === undefined ? {} : { assignment: judge(assignment, installed, report) }),
  };
}

/** An assignment is done when its images are installed, whatever the report says. */
function judge(
  assignment: Assignment,
  installed: VerifiedManifest['installed'],
  report: JsonMap | undefined,
): Assignment {
  const isDone = assignment.targets.every((target) =>
    Object.keys(target.ecus).every((serial) => {
      const image = installed[serial];
      return image?.filename === target.filename && image.hashes['sha256'] === target.sha256;
    }),
  );
  const ours = report?.['correlation_id'] === assignment.correlationId ? report : undefined;
  const result = ours?.['result'];
  const failed = isMap(result) && result['success'] === false;
  const outcome = isDone ? 'done' : failed ? 'failed' : assignment.outcome;
  return { ...assignment, outcome, ...(ours === undefined ? {} : { report: ours }) };
}

function readReport(reports: JsonReader, ecu: RegisteredEcu): InstalledImage {
  if (!reports.has(ecu.serial)) {
    throw new Refusal(400, 'inventory_incomplete', `no version report of ECU ${ecu.serial}`);
  }
  const envelope = reports.object(ecu.serial);
  verifySignature(envelope, ecu);
  const signed = envelope.object('signed');
  const claimed = signed.string('ecu_serial');
  if (claimed !== ecu.serial) {
    throw new Refusal(
      400,
      'ecu_serial_mismatch',
      `the report of ${ecu.serial} is about ${claimed}`,
    );
  }
  const image = signed.object('installed_image');
  const fileinfo = image.object('fileinfo');
  const hashes = fileinfo.raw('hashes');
  if (!isMap(hashes))
    throw new Refusal(400, 'json_malformed', `${fileinfo.path}.hashes must be an object`);
  return { filename: image.string('filepath'), lengthBytes: fileinfo.integer('length'), hashes };
}

function refuseUnregistered(device: Device, reports: JsonReader): void {
  const stranger = reports
    .names()
    .find((serial) => !device.ecus.some((ecu) => ecu.serial === serial));
  if (stranger === undefined) return;
  throw new Refusal(400, 'ecu_not_registered', `${device.id} has registered no ECU ${stranger}`);
}

function readCounter(report: JsonReader, device: Device): number {
  const text = report.string('report_counter');
  const counter = Number(text);
  if (!COUNTER.test(text) || !Number.isSafeInteger(counter)) {
    throw new Refusal(
      400,
      'json_malformed',
      `${report.path}.report_counter must be decimal digits`,
    );
  }
  if (device.reportCounter !== undefined && counter <= device.reportCounter) {
    const last = String(device.reportCounter);
    throw new Refusal(400, 'report_counter_reused', `counter ${text} is not above ${last}`);
  }
  return counter;
}

function verifySignature(envelope: JsonReader, ecu: RegisteredEcu): void {
  const key = importPublicKey(ecu.keyType, ecu.publicKey);
  const signed = envelope.raw('signed');
  if (key === undefined || signed === undefined) throw unsigned(ecu);
  const signatures = envelope.objects('signatures').map((one) => one.string('sig', 8192));
  if (!signatures.some((signature) => isSignatureOver(signed, signature, key))) throw unsigned(ecu);
}

/** Clients disagree about non-ASCII text: some sign it raw, aktualizr signs it escaped. */
function isSignatureOver(signed: Json, signature: string, key: KeyObject): boolean {
  const bytes = Buffer.from(signature, 'base64');
  return [canonicalJson(signed), escapedCanonicalJson(signed)].some((payload) =>
    isSignedBy(key, Buffer.from(payload), bytes),
  );
}

function unsigned(ecu: RegisteredEcu): Refusal {
  const what = `no signature by the registered key of ECU ${ecu.serial}`;
  return new Refusal(400, 'signature_not_valid', what);
}
