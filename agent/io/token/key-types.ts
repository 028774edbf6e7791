/** The key types of `identity.*_key_type`: what each is to PKCS#11, to X.509 and to Directors. */
import type graphene from 'graphene-pk11';

import { CKK, CKM } from './cryptoki.ts';

export const TLS_KEY_TYPES = ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072'] as const;
export const UPTANE_KEY_TYPES = ['rsa-2048', 'rsa-3072', 'rsa-4096', 'ed25519', 'ec-p256'] as const;
export type TlsKeyType = (typeof TLS_KEY_TYPES)[number];
export type UptaneKeyType = (typeof UPTANE_KEY_TYPES)[number];
export type KeyType = TlsKeyType | UptaneKeyType;

/** How a signature is made. `ecdsa-*` gives r then s; the others what their names say. */
export type Scheme =
  'rsassa-pss-sha256' | 'rsassa-pkcs1-sha256' | 'ecdsa-sha256' | 'ecdsa-sha384' | 'ed25519';

export interface KeyTypeRow {
  readonly keyType: number;
  /** CKM of the generation. */
  readonly generation: number;
  /** As C_GetMechanismInfo counts it. */
  readonly sizeBits: number;
  /** Attributes of the public key; a token refuses the forms it does not know, so in order. */
  readonly forms: readonly graphene.ITemplate[];
  /** For certificate requests. */
  readonly request: Scheme;
  /** For manifests, and to prove that a pair belongs together. */
  readonly manifest: Scheme;
}

const rsa = (sizeBits: number): KeyTypeRow => ({
  keyType: CKK.RSA,
  generation: CKM.RSA_PKCS_KEY_PAIR_GEN,
  sizeBits,
  forms: [{ modulusBits: sizeBits, publicExponent: Buffer.from([1, 0, 1]) }],
  request: 'rsassa-pkcs1-sha256',
  manifest: 'rsassa-pss-sha256',
});

/** @param parameters - DER of the curve's object identifier */
const ec = (sizeBits: number, parameters: string, scheme: Scheme): KeyTypeRow => ({
  keyType: CKK.EC,
  generation: CKM.EC_KEY_PAIR_GEN,
  sizeBits,
  forms: [{ paramsEC: Buffer.from(parameters, 'hex') }],
  request: scheme,
  manifest: scheme,
});

export const KEY_TYPES: Readonly<Record<KeyType, KeyTypeRow>> = {
  'ec-p256': ec(256, '06082a8648ce3d030107', 'ecdsa-sha256'),
  'ec-p384': ec(384, '06052b81040022', 'ecdsa-sha384'),
  'rsa-2048': rsa(2048),
  'rsa-3072': rsa(3072),
  'rsa-4096': rsa(4096),
  ed25519: {
    keyType: CKK.EC_EDWARDS,
    generation: CKM.EC_EDWARDS_KEY_PAIR_GEN,
    sizeBits: 256,
    // PrintableString "edwards25519" (PKCS#11 v3.0), which OP-TEE wants; the OID of RFC 8410 (v3.1).
    forms: [
      { paramsEC: Buffer.from('130c656477617264733235353139', 'hex') },
      { paramsEC: Buffer.from('06032b6570', 'hex') },
    ],
    request: 'ed25519',
    manifest: 'ed25519',
  },
};
