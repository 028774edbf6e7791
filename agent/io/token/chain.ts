/** Certificates of the CAs between the device certificate and a root, beside it in the token. */
import { X509Certificate } from 'node:crypto';

import graphene from 'graphene-pk11';

import { issuersOf, isSelfIssued, parseEach } from '../certificate-chain.ts';
import type { CertificateParts } from './certificate.ts';
import { CKA, CKO, TLS_KEY, type ObjectName } from './cryptoki.ts';
import { demandOwnHandles } from './handles.ts';
import type { Token } from './token.ts';

/** A label of their own: what is under the TLS key's is taken for a device certificate. */
const CHAIN: ObjectName = { label: `${TLS_KEY.label}-chain`, id: 0x04 };

/**
 * The device certificate as TLS shows it: followed by the CAs that the other side may not have.
 *
 * @param pem - of the device certificate
 * @returns PEM, the device certificate first
 */
export function withChain(token: Token, pem: string): string {
  const issuers = issuersOf(new X509Certificate(pem), parseEach(readChain(token)));
  return [pem, ...issuers.filter((one) => !isSelfIssued(one)).map(String)].join('');
}

/**
 * Stores CAs that are not there yet. To be done before the device certificate that needs them is
 * stored, so that there is none without its chain at any moment.
 */
export function addToChain(token: Token, issuers: readonly CertificateParts[]): void {
  const present = readChain(token);
  for (const parts of issuers) {
    if (present.some((der) => der.equals(parts.der))) continue;
    const template = graphene.Template.toPkcs11({
      class: CKO.CERTIFICATE,
      certType: graphene.CertificateType.X_509,
      token: true,
      private: false,
      label: CHAIN.label,
      id: Buffer.from([CHAIN.id]),
      subject: Buffer.from(parts.subject),
      issuer: Buffer.from(parts.issuer),
      serial: Buffer.from(parts.serialNumber),
      value: Buffer.from(parts.der),
    });
    token.run('store certificate of a CA', (session) => {
      session.lib.C_CreateObject(session.handle, template);
      demandOwnHandles(session, 'store certificate of a CA');
    });
  }
}

/**
 * Destroys the CAs that no other certificate in the token comes from, and those that a power cut left
 * cut off. While one certificate takes the place of another, the chains of both stay.
 */
export function tidyChain(token: Token): void {
  const candidates = parseEach(readChain(token));
  const needed = readOthers(token).flatMap((one) => issuersOf(one, candidates));
  const kept = new Set<string>();
  const isWanted = (der: Buffer): boolean => {
    const fingerprint = der.toString('hex');
    if (kept.has(fingerprint) || !needed.some(({ raw }) => raw.equals(der))) return false;
    kept.add(fingerprint);
    return true;
  };
  // Most of the time there is nothing to do, and a token that is not written to cannot be spoilt.
  if (readChain(token).every(isWanted)) return;
  kept.clear();
  token.run('destroy certificates of CAs', (session) => {
    demandOwnHandles(session, 'destroy certificates of CAs');
    const found = session.find({ class: CKO.CERTIFICATE, label: CHAIN.label });
    for (let index = 0; index < found.length; index += 1) {
      const object = found.items(index);
      if (!isWanted(object.getAttribute(CKA.VALUE))) object.destroy();
    }
  });
}

function readChain(token: Token): Buffer[] {
  return read(token, { label: CHAIN.label });
}

function readOthers(token: Token): X509Certificate[] {
  const chain = readChain(token);
  const isOther = (der: Buffer): boolean => !chain.some((one) => one.equals(der));
  return parseEach(read(token, { certType: graphene.CertificateType.X_509 }).filter(isOther));
}

function read(token: Token, search: graphene.ITemplate): Buffer[] {
  return token.run('read certificates of CAs', (session) => {
    const found = session.find({ class: CKO.CERTIFICATE, ...search });
    return Array.from({ length: found.length }, (_, index) =>
      found.items(index).getAttribute(CKA.VALUE),
    );
  });
}
