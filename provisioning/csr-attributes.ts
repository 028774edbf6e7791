/**
 * What a CA wants in a certificate request, and whether this device can do it.
 *
 * Source: RFC 7030 §4.5.2, with the meaning that RFC 8951 §4 and RFC 9908 give to attributes.
 */
import 'reflect-metadata';

import { isIP } from 'node:net';

import { fromBER, Integer, ObjectIdentifier, OctetString, Sequence, Set as AsnSet } from 'asn1js';
import { Extension, SubjectAlternativeNameExtension } from '@peculiar/x509';

import { OtaError } from '../agent/errors.ts';
import type { KeyType } from '../agent/io/token/key-types.ts';

/** The part of a request that the CA has a say in. */
export interface RequestContent {
  readonly extensions: readonly Extension[];
  /** Whether the device id is to be the serialNumber of the subject, too. */
  readonly hasSerialNumber: boolean;
  /** Object identifiers that mean nothing to us: a client has to ignore them. */
  readonly ignored: readonly string[];
}

/** Who asks, with which key. */
export interface Asker {
  readonly url: string;
  readonly deviceId: string;
  readonly keyType: KeyType;
}

type Demand = (asker: Asker, value: AsnItem | undefined) => Partial<RequestContent>;
type AsnItem = ReturnType<typeof fromBER>['result'];

const NOTHING: RequestContent = { extensions: [], hasSerialNumber: false, ignored: [] };
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const SUBJECT_ALT_NAME = '2.5.29.17';

interface KeyDemand {
  readonly algorithm: string;
  readonly parameter: string;
  readonly signature: string;
}

const rsa = (sizeBits: number): KeyDemand => ({
  algorithm: 'rsaEncryption',
  parameter: String(sizeBits),
  signature: 'sha256WithRSAEncryption',
});

/** What each of our key types is called there, and what its requests are signed with. */
const KEYS: Readonly<Record<KeyType, KeyDemand>> = {
  'ec-p256': { algorithm: 'id-ecPublicKey', parameter: 'P-256', signature: 'ecdsa-with-SHA256' },
  'ec-p384': { algorithm: 'id-ecPublicKey', parameter: 'P-384', signature: 'ecdsa-with-SHA384' },
  'rsa-2048': rsa(2048),
  'rsa-3072': rsa(3072),
  'rsa-4096': rsa(4096),
  ed25519: { algorithm: 'Ed25519', parameter: '', signature: 'Ed25519' },
};

const NAMES: ReadonlyMap<string, string> = new Map([
  ['1.2.840.10045.2.1', 'id-ecPublicKey'],
  ['1.2.840.113549.1.1.1', 'rsaEncryption'],
  ['1.2.840.10045.3.1.7', 'P-256'],
  ['1.3.132.0.34', 'P-384'],
  ['1.3.132.0.35', 'P-521'],
  ['1.2.840.10045.4.3.2', 'ecdsa-with-SHA256'],
  ['1.2.840.10045.4.3.3', 'ecdsa-with-SHA384'],
  ['1.2.840.10045.4.3.4', 'ecdsa-with-SHA512'],
  ['1.2.840.113549.1.1.11', 'sha256WithRSAEncryption'],
  ['1.2.840.113549.1.1.12', 'sha384WithRSAEncryption'],
  ['1.2.840.113549.1.1.13', 'sha512WithRSAEncryption'],
  ['1.3.101.112', 'Ed25519'],
]);

/**
 * Reads CsrAttrs and turns them into what goes into the request.
 *
 * @param der - unchecked; empty if the server wants nothing
 * @throws OtaError ENROLMENT_REFUSED if it is not CsrAttrs
 * @throws OtaError ENROLMENT_UNSUPPORTED for what this device, or its key, cannot do
 */
export function meetDemands(der: Uint8Array, asker: Asker): RequestContent {
  let content = NOTHING;
  for (const item of itemsOf(der, asker)) content = joined(content, meet(asker, item));
  return content;
}

function itemsOf(der: Uint8Array, { url }: Asker): readonly AsnItem[] {
  if (der.length === 0) return [];
  const { result, offset } = fromBER(der);
  const isDer = offset === der.length && !result.lenBlock.isIndefiniteForm;
  if (isDer && result instanceof Sequence) return result.valueBlock.value;
  throw new OtaError('ENROLMENT_REFUSED', {
    url,
    status: 200,
    answer: 'not CsrAttrs in Base64',
    remedy: 'see the log of the EST server; 204 or 404 says that it wants nothing in particular',
  });
}

/** AttrOrOID: an identifier alone, or with values. */
function meet(asker: Asker, item: AsnItem): Partial<RequestContent> {
  if (item instanceof ObjectIdentifier) return demandOf(item)(asker, undefined);
  if (!(item instanceof Sequence)) return {};
  const [type, values] = item.valueBlock.value;
  if (!(type instanceof ObjectIdentifier) || !(values instanceof AsnSet)) return {};
  const every = values.valueBlock.value;
  if (every.length === 0) return demandOf(type)(asker, undefined);
  return every.reduce<RequestContent>(
    (content, value) => joined(content, demandOf(type)(asker, value)),
    NOTHING,
  );
}

function demandOf(type: ObjectIdentifier): Demand {
  const oid = type.valueBlock.toString();
  return DEMANDS.get(oid) ?? (() => ({ ignored: [oid] }));
}

const DEMANDS: ReadonlyMap<string, Demand> = new Map<string, Demand>([
  ...[...NAMES].map(([oid, name]): [string, Demand] => [
    oid,
    name.includes('With') || name.includes('with')
      ? (asker) => demandSignature(asker, name)
      : (asker, parameter) => demandKey(asker, name, parameter),
  ]),
  // Channel binding as §3.5 has it ends with TLS 1.2, and a password is none that we were given.
  [
    '1.2.840.113549.1.9.7',
    (asker) => {
      const remedy = 'turn that demand off at the EST server';
      throw unsupported(asker, 'challengePassword', remedy);
    },
  ],
  ['2.5.4.3', () => ({})],
  ['2.5.4.5', () => ({ hasSerialNumber: true })],
  [EXTENSION_REQUEST, requestedExtensions],
]);

/** By algorithm with its parameter, or by the name of the curve alone. */
function demandKey(
  asker: Asker,
  name: string,
  value: AsnItem | undefined,
): Partial<RequestContent> {
  const { algorithm, parameter } = KEYS[asker.keyType];
  const wanted = value === undefined ? '' : parameterOf(value);
  const isOurs = name === algorithm && (wanted === '' || wanted === parameter);
  if (isOurs || (name === parameter && wanted === '')) return {};
  const remedy = 'set identity.tls_key_type to what it wants, on a device that has no key yet';
  throw unsupported(asker, `a key of type ${`${name} ${wanted}`.trim()}`, remedy);
}

function parameterOf(value: AsnItem): string {
  if (value instanceof ObjectIdentifier) return nameOf(value.valueBlock.toString());
  return value instanceof Integer ? value.valueBlock.toString() : 'of some other kind';
}

function demandSignature(asker: Asker, name: string): Partial<RequestContent> {
  const { signature } = KEYS[asker.keyType];
  if (signature === name) return {};
  const remedy = `set identity.tls_key_type to what fits, or ask for ${signature} at the EST server`;
  throw unsupported(asker, `a request signed with ${name}`, remedy);
}

/** Either the extensions themselves, with values to be repeated, or their identifiers alone. */
function requestedExtensions(asker: Asker, value: AsnItem | undefined): Partial<RequestContent> {
  const items = value instanceof Sequence ? value.valueBlock.value : [value];
  return items.reduce<RequestContent>(
    (content, item) => joined(content, requestedExtension(asker, item)),
    NOTHING,
  );
}

function requestedExtension(asker: Asker, item: AsnItem | undefined): Partial<RequestContent> {
  const [type, ...rest] = item instanceof Sequence ? item.valueBlock.value : [item];
  if (!(type instanceof ObjectIdentifier)) return {};
  const oid = type.valueBlock.toString();
  const value = rest.at(-1);
  const isCritical = rest.length > 1;
  const bytes = value instanceof OctetString ? value.valueBlock.valueHexView : new Uint8Array();
  if (bytes.length > 0) return { extensions: [new Extension(oid, isCritical, asBuffer(bytes))] };
  if (oid !== SUBJECT_ALT_NAME) return { ignored: [oid] };
  if (!isHostName(asker.deviceId)) {
    const remedy = 'set device.id to a host name, or drop that demand at the EST server';
    throw unsupported(asker, 'a subjectAltName, which device.id cannot be', remedy);
  }
  const names = [{ type: 'dns' as const, value: asker.deviceId }];
  return { extensions: [new SubjectAlternativeNameExtension(names, isCritical)] };
}

function isHostName(name: string): boolean {
  return isIP(name) === 0 && /^(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/iu.test(name);
}

function joined(content: RequestContent, more: Partial<RequestContent>): RequestContent {
  return {
    extensions: [...content.extensions, ...(more.extensions ?? [])],
    hasSerialNumber: content.hasSerialNumber || more.hasSerialNumber === true,
    ignored: [...content.ignored, ...(more.ignored ?? [])],
  };
}

function unsupported(
  { url, keyType }: Asker,
  wanted: string,
  remedy: string,
): OtaError<'ENROLMENT_UNSUPPORTED'> {
  return new OtaError('ENROLMENT_UNSUPPORTED', { url, wanted, keyType, remedy });
}

function nameOf(oid: string): string {
  return NAMES.get(oid) ?? oid;
}

function asBuffer(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}
