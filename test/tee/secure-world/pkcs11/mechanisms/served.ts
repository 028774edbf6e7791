/** The mechanisms that really work, in OP-TEE's order: what is not here is MECHANISM_INVALID. */
import { CKF_MECHANISM, MECHANISMS, type MechanismInfo } from '../abi-mechanisms.ts';
import type { Mechanism } from '../processing.ts';
import { DIGESTS } from './digest.ts';
import { ECDSA } from './ecdsa.ts';
import { EDDSA } from './eddsa.ts';
import { RSA } from './rsa.ts';
import { RSA_PSS } from './rsa-pss.ts';

const IMPLEMENTED: ReadonlyMap<number, Mechanism> = new Map(
  [...DIGESTS, ...ECDSA, ...EDDSA, ...RSA, ...RSA_PSS].map((mechanism) => [
    mechanism.id,
    mechanism,
  ]),
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
  const { ENCRYPT, DECRYPT, DIGEST, SIGN, VERIFY, GENERATE, GENERATE_KEY_PAIR } = CKF_MECHANISM;
  const served: readonly (readonly [unknown, number])[] = [
    [mechanism.encrypt, ENCRYPT],
    [mechanism.decrypt, DECRYPT],
    [mechanism.digest, DIGEST],
    [mechanism.sign, SIGN],
    [mechanism.verify, VERIFY],
    [mechanism.generate, GENERATE],
    [mechanism.generatePair, GENERATE_KEY_PAIR],
  ];
  return served.reduce((flags, [does, flag]) => (does === undefined ? flags : flags | flag), 0);
}
