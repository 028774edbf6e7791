/** ECDSA over a digest: what the two ways to compute it have in common. */
import type { P11Object } from '../object.ts';

export interface EcdsaPrimitive {
  /**
   * Gets a private key ready.
   *
   * @throws TaFailure GENERAL_ERROR when it is none
   */
  signer(key: P11Object): (digest: Uint8Array) => Uint8Array;
  /**
   * Gets a public key ready. A signature that is none at all is a wrong one.
   *
   * @throws TaFailure GENERAL_ERROR when it is none, or its point is off the curve
   */
  verifier(key: P11Object): (digest: Uint8Array, signature: Uint8Array) => boolean;
}
