import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { escapedCanonicalJson, type JsonMap } from '../../director/json/canonical-json.ts';
import { learnFrom, verifyManifest } from '../../director/gateway/manifest.ts';
import {
  createEcu,
  registration,
  reportedManifest,
  signedBy,
  type SimulatedEcu,
} from '../../director/simulated/ecus.ts';
import { registerEcus } from '../../director/gateway/ecus.ts';
import { JsonReader } from '../../director/json/read-json.ts';
import type { Assignment, Device } from '../../director/state/devices.ts';
import { refuses } from './refuses.ts';

const PRIMARY = createEcu('primary-1', 'primary-hw', 'rsa-2048');
const SECONDARY = createEcu('secondary-1', 'secondary-hw');
const ECUS = [PRIMARY, SECONDARY];
const NOW = '2026-01-02T00:00:00.000Z';
const SHA256 = 'ab'.repeat(32);
const DEVICE = registered(ECUS);

function registered(ecus: readonly SimulatedEcu[]): Device {
  const device: Device = {
    id: 'device-1',
    firstSeenAt: NOW,
    ecus: [],
    retiredSerials: [],
    installed: {},
    telemetry: {},
  };
  return registerEcus(device, new JsonReader(registration(ecus)), 'forbidden').device;
}

function edited(edit: (signed: JsonMap) => JsonMap): JsonMap {
  return reportedManifest(ECUS, { counter: 1, edit });
}

function reportsOf(signed: JsonMap): JsonMap {
  return signed['ecu_version_manifests'] as JsonMap;
}

describe('vehicle version manifests (§5.4.2.1)', () => {
  test('are read when the Primary and every ECU signed, with RSA and with Ed25519', () => {
    const image = { filename: 'fw', lengthBytes: 3, sha256: SHA256 };
    const manifest = reportedManifest(ECUS, { counter: 5, installed: { 'primary-1': image } });
    const verified = verifyManifest(DEVICE, manifest);
    assert.equal(verified.reportCounter, 5);
    assert.deepEqual(verified.installed['primary-1'], {
      filename: 'fw',
      lengthBytes: 3,
      hashes: { sha256: SHA256 },
    });
    assert.equal(verified.installed['secondary-1']?.filename, 'unknown');
  });

  test('may be signed over raw or over escaped text', () => {
    const image = { filename: 'grün\u{1f680}', lengthBytes: 3, sha256: SHA256 };
    const options = { counter: 1, installed: { 'secondary-1': image } };
    for (const form of [undefined, escapedCanonicalJson]) {
      const manifest = reportedManifest(ECUS, { ...options, ...(form && { form }) });
      assert.equal(
        verifyManifest(DEVICE, manifest).installed['secondary-1']?.filename,
        image.filename,
      );
    }
  });

  test('are refused from a device that registered nothing', () => {
    const nobody = { ...DEVICE, ecus: [] };
    refuses(
      () => verifyManifest(nobody, reportedManifest(ECUS, { counter: 1 })),
      404,
      'device_not_registered',
    );
  });

  test('are refused when another ECU poses as the Primary', () => {
    const manifest = edited((signed) => ({ ...signed, primary_ecu_serial: 'secondary-1' }));
    refuses(() => verifyManifest(DEVICE, manifest), 400, 'ecu_not_primary');
  });

  test('are refused when another key signed for the Primary', () => {
    for (const signer of [SECONDARY, createEcu('primary-1', 'primary-hw', 'rsa-2048')]) {
      const manifest = reportedManifest(ECUS, { counter: 1, signer });
      refuses(() => verifyManifest(DEVICE, manifest), 400, 'signature_not_valid');
    }
  });

  test('are refused when anything was changed after signing', () => {
    const manifest = reportedManifest(ECUS, { counter: 1 });
    const signed = { ...(manifest['signed'] as JsonMap), extra: true };
    refuses(() => verifyManifest(DEVICE, { ...manifest, signed }), 400, 'signature_not_valid');
  });

  test('are refused when another key signed for a Secondary', () => {
    const stranger = createEcu('secondary-1', 'secondary-hw');
    const manifest = signedBy(
      PRIMARY,
      reportedManifest([PRIMARY, stranger], { counter: 1 })['signed'] as JsonMap,
    );
    refuses(() => verifyManifest(DEVICE, manifest), 400, 'signature_not_valid');
  });

  test('are refused when a report is under the serial of another ECU', () => {
    const twin = { ...SECONDARY, serial: 'primary-1' };
    const device = registered([PRIMARY, SECONDARY]);
    const manifest = edited((signed) => {
      const forged = reportedManifest([PRIMARY, twin], { counter: 1 })['signed'] as JsonMap;
      const report = reportsOf(forged)['primary-1'] ?? null;
      return { ...signed, ecu_version_manifests: { ...reportsOf(signed), 'secondary-1': report } };
    });
    refuses(() => verifyManifest(device, manifest), 400, 'ecu_serial_mismatch');
  });

  test('are refused when an ECU of the inventory is missing', () => {
    const manifest = edited((signed) => {
      const reports = { 'primary-1': reportsOf(signed)['primary-1'] ?? null };
      return { ...signed, ecu_version_manifests: reports };
    });
    refuses(() => verifyManifest(DEVICE, manifest), 400, 'inventory_incomplete');
  });

  test('are refused when they name an ECU that is not registered', () => {
    const stranger = createEcu('stranger', 'hw');
    const manifest = reportedManifest([...ECUS, stranger], { counter: 1 });
    refuses(() => verifyManifest(DEVICE, manifest), 400, 'ecu_not_registered');
  });

  test('are refused when the report counter was used before', () => {
    const counting = { ...DEVICE, reportCounter: 9 };
    for (const counter of [0, 8, 9]) {
      const manifest = reportedManifest(ECUS, { counter });
      refuses(() => verifyManifest(counting, manifest), 400, 'report_counter_reused');
    }
    assert.equal(
      verifyManifest(counting, reportedManifest(ECUS, { counter: 10 })).reportCounter,
      10,
    );
  });

  for (const counter of ['', '01', '-1', '1.0', '0x10', '9007199254740992', ' 1']) {
    test(`are refused when the report counter is ${JSON.stringify(counter)}`, () => {
      const manifest = reportedManifest(ECUS, { counter });
      refuses(() => verifyManifest(DEVICE, manifest), 400, 'json_malformed');
    });
  }

  for (const body of [null, 1, 'x', [], {}, { signed: {} }, { signatures: [], signed: [] }]) {
    test(`are refused when they are ${JSON.stringify(body)}`, () => {
      refuses(() => verifyManifest(DEVICE, body), 400, 'json_malformed');
    });
  }
});

describe('what the Director learns from a manifest', () => {
  const target = {
    filename: 'fw-1',
    lengthBytes: 3,
    sha256: SHA256,
    sha512: '00',
    format: 'BINARY',
    ecus: { 'primary-1': 'primary-hw', 'secondary-1': 'secondary-hw' },
  };
  const assignment: Assignment = {
    correlationId: 'urn:here-ota:mtu:1',
    createdAt: NOW,
    outcome: 'pending',
    targets: [target],
  };
  const assigned: Device = { ...DEVICE, assignment };
  const fw1 = { filename: 'fw-1', lengthBytes: 3, sha256: SHA256 };

  function after(
    device: Device,
    installed: Record<string, typeof fw1>,
    report?: JsonMap,
  ): Assignment | undefined {
    const manifest = reportedManifest(ECUS, {
      counter: 1,
      installed,
      ...(report && { installationReport: report }),
    });
    return learnFrom(device, verifyManifest(device, manifest), NOW).assignment;
  }

  test('is nothing about an assignment while one of its ECUs runs something else', () => {
    assert.equal(after(assigned, { 'primary-1': fw1 })?.outcome, 'pending');
    const otherBytes = { ...fw1, sha256: 'cd'.repeat(32) };
    assert.equal(
      after(assigned, { 'primary-1': fw1, 'secondary-1': otherBytes })?.outcome,
      'pending',
    );
  });

  test('is that an assignment is done when all its ECUs run their image', () => {
    const done = after(assigned, { 'primary-1': fw1, 'secondary-1': fw1 });
    assert.equal(done?.outcome, 'done');
    assert.deepEqual(done.targets, assignment.targets);
  });

  test('is that it failed when the report that names it says so, and only then', () => {
    const failure = { result: { code: 'INSTALL_FAILED', success: false } };
    const ours = { ...failure, correlation_id: assignment.correlationId };
    const failed = after(assigned, {}, ours);
    assert.equal(failed?.outcome, 'failed');
    assert.deepEqual(failed.report, ours);
    assert.equal(
      after(assigned, {}, { ...failure, correlation_id: 'urn:other' })?.outcome,
      'pending',
    );
  });

  test('is that a failed assignment is done when it succeeds in the end', () => {
    const failed: Device = { ...assigned, assignment: { ...assignment, outcome: 'failed' } };
    assert.equal(after(failed, { 'primary-1': fw1, 'secondary-1': fw1 })?.outcome, 'done');
  });
});
