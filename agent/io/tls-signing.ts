/** Handshakes that fail on our side of the wire, because the token does not sign. */
import { causeOf, OtaError } from '../errors.ts';

/** As OpenSSL names the libraries of libp11 in `error:NUMBER:LIBRARY:FUNCTION:REASON`. */
const OF_TOKEN = /\berror:[0-9A-F]+:(?:PKCS#11 module|pkcs11 engine):/u;

/**
 * A failure of the token that TLS reports as one of the handshake.
 *
 * It is told apart because it is not the gateway that has to be mended, and because the engine's keys
 * stay dead: a new process finds the token again.
 *
 * @returns `undefined` if the token has nothing to do with it
 */
export function signingFailure(error: unknown): OtaError<'TOKEN_FAILED'> | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  // Texts of other codes repeat what a server has sent.
  if (!/^ERR_(?:SSL|OSSL)_/u.test(String(error.code))) return undefined;
  if (!OF_TOKEN.test(error.message)) return undefined;
  const details = { operation: 'sign the TLS handshake', cause: causeOf(error).trim() };
  return new OtaError('TOKEN_FAILED', details, { cause: error });
}
