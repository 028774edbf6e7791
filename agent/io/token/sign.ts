/** Signatures by keys that stay in the token. Mechanisms are asked for, not assumed. */
import { createHash } from 'node:crypto';

import graphene from 'graphene-pk11';

import { CKM, MGF1_SHA256, type ObjectName } from './cryptoki.ts';
import { findPrivateKey } from './key-attributes.ts';
import type { Token } from './token.ts';

/** `ecdsa-sha256` gives r then s, 64 bytes; the others what their names say, all over SHA-256. */
export type Scheme = 'rsassa-pss-sha256' | 'rsassa-pkcs1-sha256' | 'ecdsa-sha256' | 'ed25519';

interface Mechanisms {
  /** Hashes inside the token. */
  readonly whole: number;
  /** Signs a digest that we make. SoftHSM2 has no CKM_ECDSA_SHA256. */
  readonly overDigest?: number;
  readonly params?: graphene.RsaPssParams;
}

/** Salt as long as the digest: aktualizr and the Directors accept no other (RFC 8017 §9.1). */
const PSS = new graphene.RsaPssParams(CKM.SHA256, MGF1_SHA256, 32);

const SCHEMES: Readonly<Record<Scheme, Mechanisms>> = {
  'rsassa-pss-sha256': {
    whole: CKM.SHA256_RSA_PKCS_PSS,
    overDigest: CKM.RSA_PKCS_PSS,
    params: PSS,
  },
  'rsassa-pkcs1-sha256': { whole: CKM.SHA256_RSA_PKCS },
  'ecdsa-sha256': { whole: CKM.ECDSA_SHA256, overDigest: CKM.ECDSA },
  ed25519: { whole: CKM.EDDSA },
};

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
  const { whole, overDigest, params = null } = SCHEMES[scheme];
  const mechanism = token.chooseMechanism(whole, ...(overDigest === undefined ? [] : [overDigest]));
  const input = Buffer.from(
    mechanism === whole ? payload : createHash('sha256').update(payload).digest(),
  );
  return token.run(`sign with ${name.label}`, (session) => {
    const key = findPrivateKey(session, token, name).toType<graphene.Key>();
    return session.createSign({ name: mechanism, params }, key).once(input);
  });
}
