/** Manifests as a Director reads them: nothing in them counts before its signature is checked. */
import assert from 'node:assert/strict';
import { createHash, verify, type KeyObject } from 'node:crypto';

import { canonical } from './build-metadata.ts';

interface Report {
  readonly attacks_detected: string;
  readonly ecu_serial: string;
  readonly installed_image: {
    readonly filepath: string;
    readonly fileinfo: {
      readonly hashes: Readonly<Record<string, string>>;
      readonly length: number;
    };
  };
  readonly previous_timeserver_time: string;
  readonly report_counter: string;
  readonly timeserver_time: string;
}

interface Envelope<T> {
  readonly signed: T;
  readonly signatures: readonly { readonly sig: string; readonly hash: object }[];
}

interface Manifest {
  readonly vehicle_id: string;
  readonly primary_ecu_serial: string;
  readonly ecu_version_manifests: Readonly<Record<string, Envelope<Report>>>;
}

/** The reports of a manifest by ECU, after every signature and payload hash was found right. */
export function readManifest(text: string, key: KeyObject): Readonly<Record<string, Report>> {
  const manifest = opened(JSON.parse(text) as Envelope<Manifest>, key);
  const reports = Object.entries(manifest.ecu_version_manifests).map(([serial, envelope]) => {
    const report = opened(envelope, key);
    assert.equal(report.ecu_serial, serial);
    return [serial, report] as const;
  });
  return Object.fromEntries(reports);
}

function opened<T>({ signed, signatures }: Envelope<T>, key: KeyObject): T {
  const payload = Buffer.from(canonical(signed));
  const digest = createHash('sha256').update(payload).digest('hex');
  assert.equal(signatures.length, 1);
  for (const { sig, hash } of signatures) {
    assert.deepEqual(hash, { digest, function: 'sha256' });
    assert.ok(verify(null, payload, key, Buffer.from(sig, 'base64')));
  }
  return signed;
}

interface Told {
  /** Of the whole device. */
  readonly code: string;
  readonly items: readonly {
    readonly ecu: string;
    readonly code: string;
    readonly description: string;
    readonly success: boolean;
  }[];
}

/** How a manifest says that an update ended. */
export function installationReport(text: string): Told {
  const { signed } = JSON.parse(text) as {
    signed: {
      installation_report: {
        report: {
          items: { ecu: string; result: Omit<Told['items'][number], 'ecu'> }[];
          result: { code: string };
        };
      };
    };
  };
  const { items, result } = signed.installation_report.report;
  return { code: result.code, items: items.map((one) => ({ ecu: one.ecu, ...one.result })) };
}
