/** ECUs with keys of node:crypto: what they register, report and tell. */
import {
  constants,
  createHash,
  generateKeyPairSync,
  randomUUID,
  sign,
  type KeyObject,
} from 'node:crypto';

import { canonicalJson, type Json, type JsonMap } from '../json/canonical-json.ts';
import { keyId, publicKeyText, type KeyType } from '../signing.ts';

export interface SimulatedEcu {
  readonly serial: string;
  readonly hardwareId: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** What an ECU reports to run. */
export interface ReportedImage {
  readonly filename: string;
  readonly lengthBytes: number;
  readonly sha256: string;
}

export interface ManifestOptions {
  /** Text goes out as it is, to be wrong on purpose. */
  readonly counter: number | string;
  /** By serial; an ECU that is not there reports `unknown`. */
  readonly installed?: Readonly<Record<string, ReportedImage>>;
  readonly installationReport?: JsonMap;
  /** Last chance to spoil it: the signed payload before the Primary signs. */
  readonly edit?: (signed: JsonMap) => JsonMap;
  /** Signs instead of the Primary's key. */
  readonly signer?: SimulatedEcu;
  /** What is signed: canonical JSON of the payload, in this form. */
  readonly form?: (value: Json) => string;
}

const EMPTY_SHA256 = createHash('sha256').digest('hex');

export function createEcu(
  serial: string,
  hardwareId: string,
  keyType: KeyType = 'ed25519',
): SimulatedEcu {
  const pair =
    keyType === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { serial, hardwareId, ...pair };
}

export function registration(ecus: readonly SimulatedEcu[]): JsonMap {
  return {
    primary_ecu_serial: ecus[0]?.serial ?? '',
    ecus: ecus.map((ecu) => {
      const { keytype, keyval } = publicKeyText(ecu.publicKey);
      return {
        ecu_serial: ecu.serial,
        hardware_identifier: ecu.hardwareId,
        clientKey: { keytype, keyval: { public: keyval.public } },
      };
    }),
  };
}

/** A vehicle version manifest of these ECUs; the first is the Primary. */
export function reportedManifest(ecus: readonly SimulatedEcu[], options: ManifestOptions): JsonMap {
  const [primary] = ecus;
  if (primary === undefined) throw new Error('a device has a Primary');
  const reports = ecus.map((ecu) => [ecu.serial, versionReport(ecu, options)] as const);
  const signed: JsonMap = {
    ecu_version_manifests: Object.fromEntries(reports),
    primary_ecu_serial: primary.serial,
    ...(options.installationReport && {
      installation_report: {
        content_type: 'application/vnd.com.here.otac.installationReport.v1',
        report: options.installationReport,
      },
    }),
  };
  return signedBy(options.signer ?? primary, options.edit?.(signed) ?? signed, options.form);
}

/** An envelope as aktualizr writes it. */
export function signedBy(
  ecu: SimulatedEcu,
  signed: JsonMap,
  form: (value: Json) => string = canonicalJson,
): JsonMap {
  const payload = Buffer.from(form(signed));
  const isRsa = ecu.privateKey.asymmetricKeyType === 'rsa';
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const signature = isRsa
    ? sign('sha256', payload, { key: ecu.privateKey, padding, saltLength: 32 })
    : sign(null, payload, ecu.privateKey);
  return {
    signatures: [
      {
        keyid: keyId(publicKeyText(ecu.publicKey)),
        method: isRsa ? 'rsassa-pss' : 'ed25519',
        sig: signature.toString('base64'),
      },
    ],
    signed,
  };
}

function versionReport(ecu: SimulatedEcu, options: ManifestOptions): JsonMap {
  const { counter, installed, form } = options;
  const image = installed?.[ecu.serial];
  const report = {
    attacks_detected: '',
    ecu_serial: ecu.serial,
    installed_image: {
      filepath: image?.filename ?? 'unknown',
      fileinfo: {
        hashes: { sha256: image?.sha256 ?? EMPTY_SHA256 },
        length: image?.lengthBytes ?? 0,
      },
    },
    previous_timeserver_time: '1970-01-01T00:00:00Z',
    report_counter: String(counter),
    timeserver_time: '1970-01-01T00:00:00Z',
  };
  return signedBy(ecu, report, form);
}

/** One event as a device reports it. */
export function deviceEvent(type: string, event: JsonMap): JsonMap {
  return {
    id: randomUUID(),
    deviceTime: new Date().toISOString(),
    eventType: { id: type, version: 0 },
    event,
  };
}
