/** The device certificate as an object of the token. */
import graphene from 'graphene-pk11';

import { CKA, CKO, TLS_KEY } from './cryptoki.ts';
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
 * Certificates under a label, as they are stored.
 *
 * @returns DER; a power cut while storing can leave one that does not parse
 */
export function readCertificates(token: Token, label = TLS_KEY.label): Buffer[] {
  return token.run('read certificates', (session) => {
    const found = session.find({ class: CKO.CERTIFICATE, label });
    return Array.from({ length: found.length }, (_, index) =>
      found.items(index).getAttribute(CKA.VALUE),
    );
  });
}

/**
 * Makes this the only certificate under our label.
 *
 * The new one is stored first, so that there is a certificate at every moment. Validity dates are left
 * out: the sizes that OP-TEE wants for them are not the specification's.
 *
 * Source: PKCS#11 v2.40 §4.6.3.
 */
export function storeCertificate(token: Token, parts: CertificateParts): void {
  const template = graphene.Template.toPkcs11({
    class: CKO.CERTIFICATE,
    certType: graphene.CertificateType.X_509,
    token: true,
    private: false,
    label: TLS_KEY.label,
    id: Buffer.from([TLS_KEY.id]),
    subject: Buffer.from(parts.subject),
    issuer: Buffer.from(parts.issuer),
    serial: Buffer.from(parts.serialNumber),
    value: Buffer.from(parts.der),
  });
  token.run('store certificate', (session) => {
    const old = session.find({ class: CKO.CERTIFICATE, label: TLS_KEY.label });
    session.lib.C_CreateObject(session.handle, template);
    for (let index = 0; index < old.length; index += 1) old.items(index).destroy();
  });
}
