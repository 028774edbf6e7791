/** Cryptoki numbers and the names of our objects. PKCS#11 v3.0, Appendix A and B. */

export const CKO = { DATA: 0, CERTIFICATE: 1, PUBLIC_KEY: 2, PRIVATE_KEY: 3 } as const;

export const CKK = { RSA: 0x00, EC: 0x03, EC_EDWARDS: 0x40 } as const;

export const CKA = {
  VALUE: 0x11,
  KEY_TYPE: 0x100,
  ID: 0x102,
  SENSITIVE: 0x103,
  MODULUS: 0x120,
  PUBLIC_EXPONENT: 0x122,
  EXTRACTABLE: 0x162,
  LOCAL: 0x163,
  NEVER_EXTRACTABLE: 0x164,
  ALWAYS_SENSITIVE: 0x165,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
} as const;

export const CKM = {
  RSA_PKCS_KEY_PAIR_GEN: 0x00,
  RSA_PKCS: 0x01,
  RSA_X_509: 0x03,
  RSA_PKCS_PSS: 0x0d,
  SHA256_RSA_PKCS: 0x40,
  SHA256_RSA_PKCS_PSS: 0x43,
  SHA256: 0x250,
  EC_KEY_PAIR_GEN: 0x1040,
  ECDSA: 0x1041,
  ECDSA_SHA256: 0x1044,
  ECDSA_SHA384: 0x1045,
  EC_EDWARDS_KEY_PAIR_GEN: 0x1055,
  EDDSA: 0x1057,
} as const;

/** CKG_MGF1_SHA256 */
export const MGF1_SHA256 = 2;

/** An object of ours: found by its label, created with this identifier. */
export interface ObjectName {
  readonly label: string;
  readonly id: number;
  /** CKA_ID in hex, where it says which of several keys under the label is meant: generations.ts. */
  readonly generation?: string;
}

/** The identifiers are those that aktualizr's sample configurations use. */
export const TLS_KEY: ObjectName = { label: 'ota-agent-tls', id: 0x02 };
/** Data objects have no identifier: PKCS#11 v2.40 §4.5. */
export const ANCHOR = { label: 'ota-agent-anchor' } as const;
export const UPTANE_KEY: ObjectName = { label: 'ota-agent-uptane', id: 0x03 };
