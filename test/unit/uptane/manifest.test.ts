import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { describe, test } from 'node:test';

import type { FailureCode } from '../../../agent/errors.ts';
import type { InstalledImage } from '../../../agent/uptane/inventory.ts';
import {
  attachSignatures,
  deviceResult,
  encodeDocument,
  installationResult,
  vehicleManifest,
  versionReport,
  type Unsigned,
  type VersionReport,
} from '../../../agent/uptane/manifest.ts';
import { parseInstant, type Instant } from '../../../agent/uptane/time.ts';
import { canonical, ed25519 } from '../../support/build-metadata.ts';

const SHA256 = 'ddc3f287e1c0a3e9b1a5c0c7c1a4ad0a2a8b4d6ad5a5c1f9a2f1b6f0d8a3c4e5';
const installed: InstalledImage = {
  ecu: 'ecu-primary-1',
  filename: 'fw-1.bin',
  lengthBytes: 18,
  hashes: new Map([['sha256', SHA256]]),
};
const facts: VersionReport = {
  ecu: 'ecu-primary-1',
  role: 'primary',
  installed,
  failures: [],
  previousTime: 0 as Instant,
  time: parseInstant('2026-11-21T02:48:29Z', 'now'),
  counter: 2,
};

const text = ({ payload }: Unsigned): string => Buffer.from(payload).toString();
const parsed = (unsigned: Unsigned): Record<string, unknown> =>
  JSON.parse(text(unsigned)) as Record<string, unknown>;

describe('version report (§5.4.2.1)', () => {
  test('is, byte for byte, what Directors in the field read', () => {
    const expected =
      '{"attacks_detected":"","ecu_serial":"ecu-primary-1",' +
      `"installed_image":{"fileinfo":{"hashes":{"sha256":"${SHA256}"},"length":18},"filepath":"fw-1.bin"},` +
      '"previous_timeserver_time":"1970-01-01T00:00:00Z","report_counter":"2",' +
      '"timeserver_time":"2026-11-21T02:48:29Z"}';
    assert.equal(text(versionReport(facts)), expected);
  });

  test('lists every hash of the installed image (P1)', () => {
    const hashes = new Map([
      ['sha256', SHA256],
      ['sha512', SHA256.repeat(2)],
    ]);
    const report = parsed(versionReport({ ...facts, installed: { ...installed, hashes } }));
    const { fileinfo } = report['installed_image'] as { fileinfo: object };
    assert.deepEqual(fileinfo, { hashes: Object.fromEntries(hashes), length: 18 });
  });

  test('of a Primary that installed nothing yet names the unknown image', () => {
    assert.deepEqual(parsed(versionReport({ ...facts, installed: undefined }))['installed_image'], {
      filepath: 'unknown',
      fileinfo: {
        hashes: { sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' },
        length: 0,
      },
    });
  });

  test('of a Secondary without an image says so, and has no counter', () => {
    const { ecu, failures, previousTime, time } = facts;
    const secondary = { ecu, failures, previousTime, time, role: 'secondary' } as const;
    const report = parsed(versionReport({ ...secondary, installed: undefined }));
    assert.equal((report['installed_image'] as { filepath: string }).filepath, 'noimage');
    assert.equal('report_counter' in report, false);
  });

  test('tells the Director which attacks were detected, each once (P10)', () => {
    const failures: FailureCode[] = [
      'VERSION_ROLLBACK',
      'METADATA_MALFORMED',
      'METADATA_EXPIRED',
      'VERSION_ROLLBACK',
      'GATEWAY_TIMEOUT',
      'DOWNLOAD_TOO_SLOW',
    ];
    assert.equal(
      parsed(versionReport({ ...facts, failures }))['attacks_detected'],
      'rollback:VERSION_ROLLBACK,freeze:METADATA_EXPIRED,slow-retrieval:DOWNLOAD_TOO_SLOW',
    );
  });

  test('is signed as raw UTF-8, the form that Directors compute', () => {
    const filename = 'fü \u{1f680}.bin';
    const report = versionReport({ ...facts, installed: { ...installed, filename } });
    assert.ok(text(report).includes(`"filepath":"${filename}"`));
    assert.equal(text(report), canonical(parsed(report)));
  });
});

describe('vehicle manifest (§5.4.2.1)', () => {
  const key = ed25519();
  const signedBy = (unsigned: Unsigned): ReturnType<typeof attachSignatures> =>
    attachSignatures(unsigned, [
      { keyId: key.id, method: 'ed25519', value: key.sign(unsigned.payload) },
    ]);
  const reports = new Map([['ecu-primary-1', signedBy(versionReport(facts))]]);
  const vehicle = { vehicleId: 'device-1', primaryEcu: 'ecu-primary-1' };
  const correlationId = 'urn:here-ota:mtu:1d2d9c7e-0000-4000-8000-00000000abcd';

  test('carries signed reports and vehicle id, and signatures with the hash of the bytes they cover (P1)', () => {
    const body = encodeDocument(signedBy(vehicleManifest({ ...vehicle, reports })));
    const sent = JSON.parse(Buffer.from(body).toString()) as Sent;
    assert.equal(sent.signed.primary_ecu_serial, 'ecu-primary-1');
    assert.equal(sent.signed.vehicle_id, 'device-1');
    const own = sent.signed.ecu_version_manifests['ecu-primary-1'];
    assert.ok(own);
    const der = Buffer.from(`302a300506032b6570032100${key.text}`, 'hex');
    const publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' });
    for (const { signed, signatures } of [sent, own]) {
      const [signature] = signatures;
      assert.equal(signature?.keyid, key.id);
      assert.equal(signature.method, 'ed25519');
      const bytes = Buffer.from(canonical(signed));
      const digest = createHash('sha256').update(bytes).digest('hex');
      assert.deepEqual(signature.hash, { digest, function: 'sha256' });
      assert.ok(verify(null, bytes, publicKey, Buffer.from(signature.sig, 'base64')));
    }
  });

  test('reports how an installation ended, in the layout of the field', () => {
    const result = installationResult();
    const manifest = vehicleManifest({
      ...vehicle,
      reports,
      installation: {
        correlationId,
        items: [{ ecu: 'ecu-primary-1', result }],
        result: deviceResult([{ hardwareId: 'hw', result }]),
        rawReport: 'Installation successful',
      },
    });
    assert.deepEqual(parsed(manifest)['installation_report'], {
      content_type: 'application/vnd.com.here.otac.installationReport.v1',
      report: {
        correlation_id: correlationId,
        items: [
          {
            ecu: 'ecu-primary-1',
            result: { code: 'OK', description: 'Installing package was successful', success: true },
          },
        ],
        raw_report: 'Installation successful',
        result: {
          code: 'OK',
          description: 'Device has been successfully installed',
          success: true,
        },
      },
    });
  });

  test('has no report when there is nothing to report', () => {
    const manifest = parsed(vehicleManifest({ ...vehicle, reports }));
    assert.equal('installation_report' in manifest, false);
  });
});

describe('result codes', () => {
  for (const [code, expected] of [
    ['VERSION_ROLLBACK', 'VERIFICATION_FAILED'],
    ['IMAGE_HASH_MISMATCH', 'VERIFICATION_FAILED'],
    ['DOWNLOAD_FAILED', 'DOWNLOAD_FAILED'],
    ['GATEWAY_TIMEOUT', 'DOWNLOAD_FAILED'],
    ['INSTALL_FAILED', 'INSTALL_FAILED'],
    ['ROLLED_BACK', 'INSTALL_FAILED'],
    ['SPACE_INSUFFICIENT', 'INSTALL_FAILED'],
    ['TOKEN_FAILED', 'INTERNAL_ERROR'],
  ] as const) {
    test(`${code} is ${expected} to a Director`, () => {
      assert.deepEqual(installationResult({ code, description: 'why' }), {
        code: expected,
        description: 'why',
        success: false,
      });
    });
  }

  test('a device fails with the codes of the ECUs that failed', () => {
    const bad = (code: FailureCode): ReturnType<typeof installationResult> =>
      installationResult({ code, description: code });
    assert.deepEqual(
      deviceResult([
        { hardwareId: 'a', result: bad('INSTALL_FAILED') },
        { hardwareId: 'b', result: installationResult() },
        { hardwareId: 'c', result: bad('DOWNLOAD_FAILED') },
      ]),
      {
        code: 'a:INSTALL_FAILED|c:DOWNLOAD_FAILED',
        description: 'INSTALL_FAILED; DOWNLOAD_FAILED',
        success: false,
      },
    );
  });
});

interface Envelope<T> {
  readonly signed: T;
  readonly signatures: readonly {
    keyid: string;
    method: string;
    sig: string;
    hash: object;
  }[];
}

type Sent = Envelope<{
  readonly vehicle_id: string;
  readonly primary_ecu_serial: string;
  readonly ecu_version_manifests: Readonly<Record<string, Envelope<object>>>;
}>;
