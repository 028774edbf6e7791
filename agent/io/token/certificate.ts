/** The device certificate as an object of the token. */
import graphene from 'graphene-pk11';

import { CKA, CKO, TLS_KEY, type ObjectName } from './cryptoki.ts';
import { idOf, searchFor } from './generations.ts';
import { demandOwnHandles } from './handles.ts';
import type { Token } from './token.ts';

/** What a certificate object repeats of its certificate, all of it DER. */
export interface CertificateParts {
  readonly der: Uint8Array;
  readonly subject: Uint8Array;
  readonly issuer: Uint8Array;
  /** The whole INTEGER, tag and length included. */
  readonly serialNumber: Uint8Array;
}

/**
 * Certificates of our TLS key, as they are stored.
 *
 * @param key - another one: its certificates have its CKA_ID, whatever their label is; without one, its label
 * @returns DER; a power cut while storing can leave one that does not parse
 */
export function readCertificates(token: Token, key: ObjectName = TLS_KEY): Buffer[] {
  const search = key.generation === undefined ? { label: key.label } : { id: idOf(key) };
  return token.run('read certificates', (session) => {
    const found = session.find({ class: CKO.CERTIFICATE, ...search });
    return Array.from({ length: found.length }, (_, index) =>
      found.items(index).getAttribute(CKA.VALUE),
    );
  });
}

/**
 * Makes this the only certificate of the key.
 *
 * The new one is stored first, so that there is a certificate at every moment.
 *
 * @param key - which one, where there are several; else every other certificate goes
 */
export function storeCertificate(
  token: Token,
  parts: CertificateParts,
  key: ObjectName = TLS_KEY,
): void {
  addCertificate(token, parts, key);
  destroyCertificates(token, key, (der) => !der.equals(parts.der));
}

/** Destroys those certificates of the key that are not wanted, but the newest of equal ones. */
export function destroyCertificates(
  token: Token,
  key: ObjectName,
  isUnwanted: (der: Buffer) => boolean,
): void {
  token.run('destroy certificates', (session) => {
    demandOwnHandles(session, 'destroy certificates');
    const found = session.find({ class: CKO.CERTIFICATE, ...searchFor(key) });
    const kept = new Set<string>();
    for (let index = found.length - 1; index >= 0; index -= 1) {
      const der = found.items(index).getAttribute(CKA.VALUE);
      const isRepeated = kept.has(der.toString('hex'));
      if (isRepeated || isUnwanted(der)) found.items(index).destroy();
      else kept.add(der.toString('hex'));
    }
  });
}

/**
 * Stores a certificate beside those that are there.
 *
 * Validity dates are left out: the sizes that OP-TEE wants for them are not the specification's.
 *
 * Source: PKCS#11 v2.40 §4.6.3.
 */
export function addCertificate(token: Token, parts: CertificateParts, key: ObjectName): void {
  const template = graphene.Template.toPkcs11({
    class: CKO.CERTIFICATE,
    certType: graphene.CertificateType.X_509,
    token: true,
    private: false,
    label: key.label,
    id: idOf(key),
    subject: Buffer.from(parts.subject),
    issuer: Buffer.from(parts.issuer),
    serial: Buffer.from(parts.serialNumber),
    value: Buffer.from(parts.der),
  });
  token.run('store certificate', (session) => {
    session.lib.C_CreateObject(session.handle, template);
    demandOwnHandles(session, 'store certificate');
  });
}
