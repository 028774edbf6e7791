/** The certificate request, signed inside the token. */
import 'reflect-metadata';

import { Crypto } from '@peculiar/webcrypto';
import {
  Pkcs10CertificateRequestGenerator,
  X509Certificate,
  type Extension,
  type JsonName,
  type Name,
} from '@peculiar/x509';

import { OtaError } from '../agent/errors.ts';
import { TLS_KEY, type ObjectName } from '../agent/io/token/cryptoki.ts';
import { KEY_TYPES, type KeyType } from '../agent/io/token/key-types.ts';
import type { TokenKey } from '../agent/io/token/keys.ts';
import { signInToken } from '../agent/io/token/sign.ts';
import type { Token } from '../agent/io/token/token.ts';

/** A certificate request (PKCS#10, RFC 2986). */
export interface CertificateRequest {
  readonly der: Uint8Array;
  readonly pem: string;
}

/** Whom the request is for, and which key of several signs it. */
export interface Requester {
  readonly name: JsonName | Name;
  readonly extensions: readonly Extension[];
  readonly key: ObjectName;
}

/** @param commonName - what the gateway will call this device */
export function newcomer(commonName: string, key: ObjectName = TLS_KEY): Requester {
  return { name: [{ CN: [commonName] }], extensions: [], key };
}

/**
 * The holder of a certificate, who asks for another one.
 *
 * Source: RFC 7030 §4.2.2 (Subject and SubjectAltName have to be the same).
 *
 * @param pem - the certificate in use
 */
export function holderOf(pem: string, key: ObjectName): Requester {
  const certificate = new X509Certificate(pem);
  const extensions = certificate.extensions.filter(({ type }) => type === SUBJECT_ALT_NAME);
  return { name: certificate.subjectName, extensions, key };
}

const SUBJECT_ALT_NAME = '2.5.29.17';

interface Algorithms {
  readonly key: EcKeyImportParams | RsaHashedImportParams;
  readonly signing: EcdsaParams | Algorithm;
}

const P256: Algorithms = {
  key: { name: 'ECDSA', namedCurve: 'P-256' },
  signing: { name: 'ECDSA', hash: 'SHA-256' },
};
const P384: Algorithms = {
  key: { name: 'ECDSA', namedCurve: 'P-384' },
  signing: { name: 'ECDSA', hash: 'SHA-384' },
};
const RSA: Algorithms = {
  key: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  signing: { name: 'RSASSA-PKCS1-v1_5' },
};

/**
 * Asks for a certificate for a TLS key of the token. The request proves that we have the key.
 */
export async function createRequest(
  token: Token,
  { type, publicKey }: TokenKey,
  requester: Requester,
): Promise<CertificateRequest> {
  const { key, signing } = algorithmsOf(type);
  const scheme = KEY_TYPES[type].request;
  const crypto = new Crypto();
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const imported = await crypto.subtle.importKey('spki', spki, key, true, ['verify']);
  const privateKey = new TokenKeyHandle(imported.algorithm);
  // The generator takes a Web Crypto key pair; only signing with this one key goes to the token.
  crypto.subtle.sign = (_algorithm, _key, data) =>
    new Promise((resolve) => {
      const signature = signInToken(token, requester.key, scheme, bytesOf(data));
      resolve(Uint8Array.from(signature).buffer);
    });
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      name: requester.name,
      extensions: [...requester.extensions],
      keys: { publicKey: imported, privateKey },
      signingAlgorithm: signing,
    },
    crypto,
  );
  return { der: new Uint8Array(request.rawData), pem: `${request.toString('pem')}\n` };
}

function algorithmsOf(type: KeyType): Algorithms {
  if (type === 'ec-p256') return P256;
  if (type === 'ec-p384') return P384;
  if (type !== 'ed25519') return RSA;
  throw new OtaError('BUG', { what: 'no TLS key is an Ed25519 key' });
}

/** Stands for the private key where Web Crypto wants an object; there is nothing in it. */
class TokenKeyHandle implements CryptoKey {
  readonly type = 'private';
  readonly extractable = false;
  readonly usages: KeyUsage[] = ['sign'];
  readonly algorithm: KeyAlgorithm;

  constructor(algorithm: KeyAlgorithm) {
    this.algorithm = algorithm;
  }
}

function bytesOf(data: BufferSource): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
