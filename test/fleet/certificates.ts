/**
 * Device certificates in bulk, signed with the key of the Director's device CA.
 *
 * Its own way of issuing starts openssl three times for each; ten thousand devices would wait for half
 * an hour before the first poll.
 */
import 'reflect-metadata';

import { createPrivateKey, generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;

export interface TlsIdentity {
  readonly keyPem: string;
  readonly certificatePem: string;
}

export class DeviceCertificates {
  readonly #authority: X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(authority: X509Certificate, key: webcrypto.CryptoKey) {
    this.#authority = authority;
    this.#key = key;
  }

  /** @param stateDir - of the Director */
  static async open(stateDir: string): Promise<DeviceCertificates> {
    cryptoProvider.set(webcrypto);
    const authority = new X509Certificate(readFileSync(join(stateDir, 'device-ca.pem'), 'utf8'));
    const key = createPrivateKey(readFileSync(join(stateDir, 'device-ca-key.pem')));
    const der = key.export({ type: 'pkcs8', format: 'der' });
    const imported = await webcrypto.subtle.importKey('pkcs8', der, SIGNING, false, ['sign']);
    return new DeviceCertificates(authority, imported);
  }

  async issue(commonName: string): Promise<TlsIdentity> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const nowMs = Date.now();
    const certificate = await X509CertificateGenerator.create({
      serialNumber: `4${randomBytes(15).toString('hex')}0`,
      subject: [{ CN: [commonName] }],
      issuer: this.#authority.subject,
      notBefore: new Date(nowMs - HOUR_MS),
      notAfter: new Date(nowMs + YEAR_MS),
      publicKey: await webcrypto.subtle.importKey('spki', spki, SIGNING, true, ['verify']),
      signingKey: this.#key,
      signingAlgorithm: SIGNING,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth]),
        await AuthorityKeyIdentifierExtension.create(this.#authority),
      ],
    });
    return {
      keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      certificatePem: certificate.toString('pem'),
    };
  }
}
