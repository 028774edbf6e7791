/**
 * PINs and identities: how they are stored, compared and counted. Pure.
 *
 * A PIN is only hashed, not stretched: what protects it is the storage key, as on a device.
 *
 * Source: OP-TEE ta/pkcs11/src/persistent_token.c and pkcs11_token.c.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

import type { ClientIdentity } from '../ta.ts';
import { CKF, CKU, MAX_PIN_BYTES, MAX_PIN_FAILURES, MIN_PIN_BYTES } from './abi.ts';
import { words } from './args.ts';

export type UserType = typeof CKU.SO | typeof CKU.USER;

/** What a token keeps of one user. */
export interface Credential {
  readonly failures: number;
  /** 0 when there is no PIN. */
  readonly salt: number;
  /** 64 bytes: a SHA-256 digest, or an identity of 20 bytes, then zeros. */
  readonly secret: Uint8Array;
}

export const SECRET_BYTES = 64;
export const NO_CREDENTIAL: Credential = {
  failures: 0,
  salt: 0,
  secret: new Uint8Array(SECRET_BYTES),
};

const FLAGS = {
  [CKU.SO]: {
    low: CKF.SO_PIN_COUNT_LOW,
    final: CKF.SO_PIN_FINAL_TRY,
    locked: CKF.SO_PIN_LOCKED,
    toBeChanged: CKF.SO_PIN_TO_BE_CHANGED,
  },
  [CKU.USER]: {
    low: CKF.USER_PIN_COUNT_LOW,
    final: CKF.USER_PIN_FINAL_TRY,
    locked: CKF.USER_PIN_LOCKED,
    toBeChanged: CKF.USER_PIN_TO_BE_CHANGED,
  },
} as const;

export function hasPinLength(pin: Uint8Array): boolean {
  return pin.byteLength >= MIN_PIN_BYTES && pin.byteLength <= MAX_PIN_BYTES;
}

export function pinCredential(user: UserType, pin: Uint8Array): Credential {
  let salt = 0;
  // 0 says "no PIN".
  while (salt === 0) salt = randomBytes(4).readUInt32LE();
  return { failures: 0, salt, secret: pinSecret(user, salt, pin) };
}

export function identityCredential(identity: ClientIdentity): Credential {
  const secret = Buffer.alloc(SECRET_BYTES);
  secret.writeUInt32LE(identity.login, 0);
  secret.set(uuidStruct(identity.uuid), 4);
  return { failures: 0, salt: 0, secret };
}

export function isPinOf(user: UserType, { salt, secret }: Credential, pin: Uint8Array): boolean {
  return timingSafeEqual(secret, pinSecret(user, salt, pin));
}

/** Whether the caller is who the token was given to. */
export function isIdentityOf({ secret }: Credential, caller: ClientIdentity): boolean {
  return timingSafeEqual(secret, identityCredential(caller).secret);
}

/**
 * Reads the "PIN" that names an identity: `public`, `user:<uuid>` or `group:<uuid>`.
 *
 * @returns `undefined` for anything else
 */
export function parseIdentity(text: string): ClientIdentity | undefined {
  if (text === 'public') return { login: 0, uuid: '00000000-0000-0000-0000-000000000000' };
  const match = /^(user|group):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i.exec(text);
  const [, kind, uuid] = match ?? [];
  if (uuid === undefined) return undefined;
  return { login: kind === 'user' ? 1 : 2, uuid: uuid.toLowerCase() };
}

/** Token flags after `failures` wrong PINs in a row. */
export function flagsAfter(flags: number, user: UserType, failures: number): number {
  const { low, final, locked, toBeChanged } = FLAGS[user];
  let next = flags & ~(low | final | locked);
  if (failures === 0) return next & ~toBeChanged;
  next |= low;
  if (failures >= MAX_PIN_FAILURES - 1) next |= final;
  if (failures >= MAX_PIN_FAILURES) next |= locked;
  return next;
}

export function isLocked(flags: number, user: UserType): boolean {
  return (flags & FLAGS[user].locked) !== 0;
}

function pinSecret(user: UserType, salt: number, pin: Uint8Array): Buffer {
  const digest = createHash('sha256').update(words(user, salt)).update(pin).digest();
  return Buffer.concat([digest], SECRET_BYTES);
}

/** A TEE_UUID as it lies in memory: its first three fields little-endian. */
function uuidStruct(uuid: string): Buffer {
  const bytes = Buffer.from(uuid.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}
