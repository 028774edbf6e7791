/** What a responder says about one certificate, as the server itself brings it (OCSP stapling). */
import { createHash, verify, X509Certificate } from 'node:crypto';

import { AsnConvert } from '@peculiar/asn1-schema';
import {
  BasicOCSPResponse,
  id_pkix_ocsp_basic,
  OCSPResponse,
  OCSPResponseStatus,
  type CertID,
  type SingleResponse,
} from '@peculiar/asn1-ocsp';
import { Certificate } from '@peculiar/asn1-x509';

import { formatInstant, type Instant } from '../uptane/time.ts';
import { TlsRefusal } from './tls-refusal.ts';

/** Clocks of responders are not ours. */
const SKEW_MS = 5 * 60_000;
/** How long an answer counts that does not say when the next comes (RFC 6960 §4.2.2.1 leaves it open). */
const UNDATED_MS = 24 * 3_600_000;
/** id-kp-OCSPSigning (RFC 6960 §4.2.2.2). */
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';

const HASHES: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'sha1',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};
/** RSA PKCS #1 v1.5 and ECDSA over SHA-2, and EdDSA; SHA-1 signs nothing any more. */
const SIGNATURES: Readonly<Record<string, string | null>> = {
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': null,
};

/**
 * Refuses a server that does not prove, now, that its certificate is not revoked.
 *
 * A missing answer is refused as well, whether or not the certificate asks for one (RFC 7633): who has a
 * revoked certificate would leave it out.
 *
 * Source: RFC 6960 §3.2 and §4.2.2.
 *
 * @param chain - the server's certificate and the one that signed it
 * @returns until when the answer counts
 * @throws TlsRefusal ERR_TLS_OCSP
 */
export function verifyStaple(
  staple: Uint8Array | undefined,
  chain: readonly X509Certificate[],
  now: Instant,
): Instant {
  if (staple === undefined || staple.length === 0) throw refused('it sent no answer', STAPLE);
  const [leaf, issuer] = chain;
  if (leaf === undefined || issuer === undefined) {
    throw refused('the certificate that signed its own is not known', 'serve the whole chain');
  }
  const response = parseResponse(staple);
  demandSignature(response, issuer, now);
  const about = response.tbsResponseData.responses.find(({ certID }) =>
    isAbout(certID, leaf, issuer),
  );
  if (about === undefined) throw refused('the answer is about another certificate', STAPLE);
  const until = demandCurrent(about, now);
  if (about.certStatus.revoked !== undefined) {
    const at = about.certStatus.revoked.revocationTime.toISOString();
    throw refused(`its certificate was revoked at ${at}`, 'do not trust it: ask who runs it');
  }
  if (about.certStatus.good === undefined) {
    throw refused('its CA does not know the certificate', 'ask who runs it for another one');
  }
  return until;
}

const STAPLE =
  'let the gateway staple a current OCSP response, or set gateway.ocsp = "off" and use gateway.crl';

function parseResponse(staple: Uint8Array): BasicOCSPResponse {
  let response: OCSPResponse;
  try {
    response = AsnConvert.parse(staple, OCSPResponse);
  } catch {
    throw refused('the answer is no OCSP response', STAPLE);
  }
  const { responseStatus, responseBytes } = response;
  if (responseStatus !== OCSPResponseStatus.successful) {
    throw refused(`the responder could not answer (status ${String(responseStatus)})`, STAPLE);
  }
  if (responseBytes?.responseType !== id_pkix_ocsp_basic) {
    throw refused('the answer is of a type that nobody knows', STAPLE);
  }
  try {
    return AsnConvert.parse(responseBytes.response.buffer, BasicOCSPResponse);
  } catch {
    throw refused('the answer is no basic OCSP response', STAPLE);
  }
}

/** By the CA itself, or by a responder that the CA has certified for just this. */
function demandSignature(
  { tbsResponseDataRaw, signatureAlgorithm, signature, certs = [] }: BasicOCSPResponse,
  issuer: X509Certificate,
  now: Instant,
): void {
  const digest = SIGNATURES[signatureAlgorithm.algorithm];
  if (digest === undefined || tbsResponseDataRaw === undefined) {
    throw refused(`signature algorithm ${signatureAlgorithm.algorithm} is not supported`, STAPLE);
  }
  const isSigner = ({ publicKey }: X509Certificate): boolean =>
    verify(digest, Buffer.from(tbsResponseDataRaw), publicKey, Buffer.from(signature));
  const isDelegate = (one: Certificate): boolean => {
    const delegate = new X509Certificate(Buffer.from(AsnConvert.serialize(one)));
    return isResponderOf(delegate, issuer, now) && isSigner(delegate);
  };
  if (!holds(() => isSigner(issuer)) && !certs.some((one) => holds(() => isDelegate(one))))
    throw refused('the answer is not signed by its CA or a responder of it', STAPLE);
}

/** A certificate or a key that OpenSSL cannot read has signed nothing. */
function holds(proof: () => boolean): boolean {
  try {
    return proof();
  } catch {
    return false;
  }
}

function isResponderOf(one: X509Certificate, issuer: X509Certificate, now: Instant): boolean {
  const isNow = one.validFromDate.getTime() <= now && now <= one.validToDate.getTime();
  const isMeant = (one.keyUsage as string[] | undefined)?.includes(OCSP_SIGNING) === true;
  return isNow && isMeant && one.checkIssued(issuer) && one.verify(issuer.publicKey);
}

/** Hashes of the issuer's name and key, and the serial number (RFC 6960 §4.1.1). */
function isAbout(id: CertID, leaf: X509Certificate, issuer: X509Certificate): boolean {
  const algorithm = HASHES[id.hashAlgorithm.algorithm];
  if (algorithm === undefined) return false;
  const { tbsCertificate: own } = AsnConvert.parse(leaf.raw, Certificate);
  const { tbsCertificate: above } = AsnConvert.parse(issuer.raw, Certificate);
  const key = above.subjectPublicKeyInfo.subjectPublicKey;
  const pairs: [ArrayBuffer, ArrayBuffer][] = [
    [id.issuerNameHash.buffer, digestOf(algorithm, AsnConvert.serialize(own.issuer))],
    [id.issuerKeyHash.buffer, digestOf(algorithm, key)],
    [id.serialNumber, own.serialNumber],
  ];
  return pairs.every(([said, wanted]) => Buffer.from(said).equals(Buffer.from(wanted)));
}

function digestOf(algorithm: string, bytes: ArrayBuffer): ArrayBuffer {
  return new Uint8Array(createHash(algorithm).update(Buffer.from(bytes)).digest()).buffer;
}

function demandCurrent({ thisUpdate, nextUpdate }: SingleResponse, now: Instant): Instant {
  const from = thisUpdate.getTime();
  const until = nextUpdate?.getTime() ?? from + UNDATED_MS;
  if (now < from - SKEW_MS) {
    const problem = `the answer is of ${iso(from)}, and it is ${formatInstant(now)}`;
    throw refused(problem, "set this device's clock, or mend the responder's");
  }
  if (now > until) {
    throw refused(`the answer ended at ${iso(until)}, and it is ${formatInstant(now)}`, STAPLE);
  }
  return until as Instant;
}

function iso(ms: number): string {
  return formatInstant(ms as Instant);
}

function refused(problem: string, remedy: string): TlsRefusal {
  return new TlsRefusal('ERR_TLS_OCSP', `OCSP: ${problem}`, remedy);
}
