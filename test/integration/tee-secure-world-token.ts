/** The emulator's token as an application sees it: Cryptoki's functions, and the numbers they take. */
import { join } from 'node:path';

import pkcs11 from 'pkcs11js';

const LIBRARY = join(import.meta.dirname, '../tee/build/libtee-cryptoki.so');

export type Token = pkcs11.PKCS11;
export type Handle = pkcs11.Handle;
export type Template = pkcs11.Template;
export type Mechanism = pkcs11.Mechanism;

export const READ_WRITE = 0x6;
export const SO = 0;
export const USER = 1;
export const SO_PIN = '12345678';
export const USER_PIN = '1234';
export const P256 = Buffer.from('06082a8648ce3d030107', 'hex');
export const ED25519 = Buffer.from('130c656477617264733235353139', 'hex');

/** PKCS#11 v2.40 §A.1. */
export const CKA = {
  TOKEN: 0x001,
  PRIVATE: 0x002,
  LABEL: 0x003,
  VALUE: 0x011,
  KEY_TYPE: 0x100,
  SENSITIVE: 0x103,
  SIGN: 0x108,
  MODULUS_BITS: 0x121,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
} as const;

/** PKCS#11 v2.40 §A.2, and v3.0 for Edwards curves. */
export const CKM = {
  RSA_PKCS_KEY_PAIR_GEN: 0x0000,
  RSA_PKCS_PSS: 0x000d,
  EC_KEY_PAIR_GEN: 0x1040,
  ECDSA: 0x1041,
  ECDSA_SHA256: 0x1044,
  EC_EDWARDS_KEY_PAIR_GEN: 0x1055,
  EDDSA: 0x1057,
} as const;

/** Loads the C library and initialises it; `$OTA_TEE_SOCKET` says which world it talks to. */
export function loadToken(): Token {
  const token = new pkcs11.PKCS11();
  token.load(LIBRARY);
  token.C_Initialize();
  return token;
}

/** RSA-PSS with SHA-256, as the binding wants its parameters. */
export function pssSha256(saltBytes: number): pkcs11.RsaPSS {
  return {
    type: pkcs11.CK_PARAMS_RSA_PSS,
    hashAlg: pkcs11.CKM_SHA256,
    mgf: pkcs11.CKG_MGF1_SHA256,
    saltLen: saltBytes,
  };
}

export function firstSlot(token: Token): Handle {
  const [slot] = token.C_GetSlotList(true);
  if (slot === undefined) throw new Error('the emulator has no slot');
  return slot;
}

/** Gives a blank token both PINs. */
export function prepareToken(token: Token, slot: Handle): void {
  token.C_InitToken(slot, SO_PIN, 'test');
  const session = token.C_OpenSession(slot, READ_WRITE);
  token.C_Login(session, SO, SO_PIN);
  token.C_InitPIN(session, USER_PIN);
  token.C_CloseSession(session);
}

export function openUserSession(token: Token, slot: Handle): Handle {
  const session = token.C_OpenSession(slot, READ_WRITE);
  token.C_Login(session, USER, USER_PIN);
  return session;
}
