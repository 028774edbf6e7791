/** Signatures by keys that stay in the token. Mechanisms are asked for, not assumed. */
import { createHash } from 'node:crypto';

import graphene from 'graphene-pk11';

import { CKA, CKM, MGF1_SHA256, type ObjectName } from './cryptoki.ts';
import { encodePss } from './emsa-pss.ts';
import { findPrivateKey } from './key-attributes.ts';
import type { Scheme } from './key-types.ts';
import type { Token } from './token.ts';

/** One mechanism that yields a signature of the scheme, and what it wants to be given. */
interface Way {
  readonly mechanism: number;
  readonly params?: graphene.RsaPssParams;
  /** @param modulusBytes - of an RSA key; the payload itself goes in where this is absent */
  readonly input?: (payload: Uint8Array, modulusBytes: () => number) => Buffer;
}

/** Salt as long as the digest: aktualizr and the Directors accept no other (RFC 8017 §9.1). */
const PSS = new graphene.RsaPssParams(CKM.SHA256, MGF1_SHA256, 32);
/** DigestInfo before a SHA-256 digest (RFC 8017 §9.2, note 1). */
const SHA256_INFO = Buffer.from('3031300d060960864801650304020105000420', 'hex');

const sha256 = (payload: Uint8Array): Buffer => createHash('sha256').update(payload).digest();
const sha384 = (payload: Uint8Array): Buffer => createHash('sha384').update(payload).digest();

/**
 * In the order of preference: the token hashes and pads as far as it can.
 *
 * SoftHSM2 hashes for no ECDSA. A TPM that is not of the FIPS kind makes PSS salts as long as they get,
 * which nobody accepts for manifests, so tpm2-pkcs11 offers no PSS there: it is padded here.
 */
const SCHEMES: Readonly<Record<Scheme, readonly Way[]>> = {
  'rsassa-pss-sha256': [
    { mechanism: CKM.SHA256_RSA_PKCS_PSS, params: PSS },
    { mechanism: CKM.RSA_PKCS_PSS, params: PSS, input: sha256 },
    {
      mechanism: CKM.RSA_X_509,
      input: (payload, modulusBytes) => encodePss(sha256(payload), modulusBytes()),
    },
  ],
  'rsassa-pkcs1-sha256': [
    { mechanism: CKM.SHA256_RSA_PKCS },
    {
      mechanism: CKM.RSA_PKCS,
      input: (payload) => Buffer.concat([SHA256_INFO, sha256(payload)]),
    },
  ],
  'ecdsa-sha256': [{ mechanism: CKM.ECDSA_SHA256 }, { mechanism: CKM.ECDSA, input: sha256 }],
  'ecdsa-sha384': [{ mechanism: CKM.ECDSA_SHA384 }, { mechanism: CKM.ECDSA, input: sha384 }],
  ed25519: [{ mechanism: CKM.EDDSA }],
};

/** Every mechanism that can make such signatures; one of them is enough. */
export function signingMechanisms(scheme: Scheme): readonly number[] {
  return SCHEMES[scheme].map(({ mechanism }) => mechanism);
}

/**
 * Signs `payload` with the private key of that name.
 *
 * @throws OtaError TOKEN_MECHANISM if the token has no mechanism for the scheme
 * @throws OtaError NOT_PROVISIONED if it has no such key
 */
export function signInToken(
  token: Token,
  name: ObjectName,
  scheme: Scheme,
  payload: Uint8Array,
): Buffer {
  const chosen = token.chooseMechanism(...signingMechanisms(scheme));
  const { params = null, input } = wayOf(scheme, chosen);
  return token.run(`sign with ${name.label}`, (session) => {
    const key = findPrivateKey(session, token, name);
    const modulusBytes = (): number => key.getAttribute(CKA.MODULUS).length;
    const bytes = input === undefined ? Buffer.from(payload) : input(payload, modulusBytes);
    const signing = { name: chosen, params };
    return session.createSign(signing, key.toType<graphene.Key>()).once(bytes);
  });
}

function wayOf(scheme: Scheme, chosen: number): Pick<Way, 'params' | 'input'> {
  return SCHEMES[scheme].find(({ mechanism }) => mechanism === chosen) ?? {};
}

/** An ECDSA signature of PKCS#11, r then s, as SEQUENCE of two INTEGERs (RFC 3279 §2.2.3). */
export function derSignature(signature: Uint8Array): Buffer {
  const half = signature.length / 2;
  const body = Buffer.concat([
    derInteger(signature.subarray(0, half)),
    derInteger(signature.subarray(half)),
  ]);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
}

/** Of at most 48 bytes, so every length fits one octet. */
function derInteger(magnitude: Uint8Array): Buffer {
  const start = magnitude.findIndex((byte) => byte !== 0);
  const bytes = magnitude.subarray(start === -1 ? magnitude.length - 1 : start);
  const sign = (bytes[0] ?? 0) >= 0x80 ? [0] : [];
  return Buffer.from([0x02, sign.length + bytes.length, ...sign, ...bytes]);
}
