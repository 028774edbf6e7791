/** The mechanisms that really work, in OP-TEE's order: what is not here is MECHANISM_INVALID. */
import { CKF_MECHANISM, MECHANISMS, type MechanismInfo } from '../abi-mechanisms.ts';
import type { Mechanism } from '../processing.ts';
import { AES } from './aes.ts';
import { AES_CMACS } from './aes-cmac.ts';
import { AES_CTS } from './aes-cts.ts';
import { AES_GCM } from './aes-gcm.ts';
import { DERIVATIONS } from './derive.ts';
import { DIGESTS } from './digest.ts';
import { ECDSA } from './ecdsa.ts';
import { EDDSA } from './eddsa.ts';
import { HMACS } from './hmac.ts';
import { RSA } from './rsa.ts';
import { RSA_AES_KEY_WRAP } from './rsa-aes-wrap.ts';
import { RSA_OAEP } from './rsa-encryption.ts';
import { RSA_PSS } from './rsa-pss.ts';
import { SECRET_KEYS } from './secret-keys.ts';

const IMPLEMENTED: ReadonlyMap<number, Mechanism> = new Map(
  [
    ...RSA,
    ...RSA_PSS,
    RSA_OAEP,
    RSA_AES_KEY_WRAP,
    ...ECDSA,
    ...EDDSA,
    ...HMACS,
    ...DIGESTS,
    ...SECRET_KEYS,
    ...DERIVATIONS,
    ...AES,
    AES_CTS,
    AES_GCM,
    ...AES_CMACS,
  ].map((mechanism) => [mechanism.id, mechanism]),
);

export const SERVED: readonly MechanismInfo[] = MECHANISMS.flatMap((info) => {
  const mechanism = IMPLEMENTED.get(info.id);
  return mechanism === undefined ? [] : [{ ...info, flags: info.flags & flagsOf(mechanism) }];
});

export function mechanismOf(id: number): Mechanism | undefined {
  return IMPLEMENTED.get(id);
}

export function mechanismInfo(id: number): MechanismInfo | undefined {
  return SERVED.find((info) => info.id === id);
}

function flagsOf(mechanism: Mechanism): number {
  const served: readonly (readonly [unknown, number])[] = [
    [mechanism.encrypt, CKF_MECHANISM.ENCRYPT],
    [mechanism.decrypt, CKF_MECHANISM.DECRYPT],
    [mechanism.digest, CKF_MECHANISM.DIGEST],
    [mechanism.sign, CKF_MECHANISM.SIGN],
    [mechanism.verify, CKF_MECHANISM.VERIFY],
    [mechanism.generate, CKF_MECHANISM.GENERATE],
    [mechanism.generatePair, CKF_MECHANISM.GENERATE_KEY_PAIR],
    [mechanism.derive, CKF_MECHANISM.DERIVE],
    [mechanism.wrap, CKF_MECHANISM.WRAP],
    [mechanism.unwrap, CKF_MECHANISM.UNWRAP],
  ];
  return served.reduce((flags, [does, flag]) => (does === undefined ? flags : flags | flag), 0);
}
