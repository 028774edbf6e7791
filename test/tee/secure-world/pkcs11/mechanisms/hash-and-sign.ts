/** Signatures that hash what they sign: one data flow for every family that has them. */
import {
  createSign,
  createVerify,
  sign,
  verify,
  type KeyObject,
  type Sign,
  type Verify,
} from 'node:crypto';

import { CKR } from '../abi.ts';
import { attempt } from '../keys.ts';
import type { Signer, Verifier } from '../processing.ts';

/** Padding, in node:crypto's words. */
export interface SignatureForm {
  readonly padding?: number;
  readonly saltLength?: number;
}

export function hashingSigner(
  hashName: string,
  key: KeyObject,
  signatureBytes: number,
  form: SignatureForm = {},
): Signer {
  let stream: Sign | undefined;
  return {
    does: 'sign',
    signatureBytes,
    update: (data) => {
      stream = (stream ?? createSign(hashName)).update(data);
    },
    restart: () => {
      stream = undefined;
    },
    sign: (data) =>
      attempt(
        CKR.GENERAL_ERROR,
        () => stream?.update(data).sign({ key, ...form }) ?? sign(hashName, data, { key, ...form }),
      ),
  };
}

export function hashingVerifier(
  hashName: string,
  key: KeyObject,
  signatureBytes: number,
  form: SignatureForm = {},
): Verifier {
  let stream: Verify | undefined;
  return {
    does: 'verify',
    signatureBytes,
    update: (data) => {
      stream = (stream ?? createVerify(hashName)).update(data);
    },
    verify: (data, signature) =>
      attempt(
        CKR.GENERAL_ERROR,
        () =>
          stream?.update(data).verify({ key, ...form }, signature) ??
          verify(hashName, data, { key, ...form }, signature),
      ),
  };
}
