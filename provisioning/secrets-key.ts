/** The key that others encrypt to for this device: made in the token when secrets are first asked for. */
import { OtaError } from '../agent/errors.ts';
import type { PublicJwk } from '../agent/io/secrets/jwe.ts';
import type { SecretsKey } from '../agent/io/secrets/receive.ts';
import { agreeInToken, decryptInToken } from '../agent/io/token/decryption.ts';
import { CKM, SECRETS_KEY } from '../agent/io/token/cryptoki.ts';
import { checkKeyAttributes } from '../agent/io/token/key-attributes.ts';
import type { KeyType } from '../agent/io/token/key-types.ts';
import { destroyKey, generateKey, inspectKey, type TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';

/**
 * The device's key for what is encrypted to it; what a power cut left of one is made anew, because
 * nothing that was encrypted to it is kept.
 *
 * @param token - open for reading; a key is made through a session of its own
 * @throws OtaError TOKEN_MECHANISM if the token has neither ECDH nor RSA-OAEP
 * @throws OtaError TOKEN_KEY_UNSAFE, TOKEN_FULL, TOKEN_FAILED
 */
export function ensureSecretsKey(token: Token): SecretsKey {
  // TPM2-PKCS#11 and p11-kit have no ECDH, but all have OAEP.
  const mechanism = token.chooseMechanism(CKM.ECDH1_DERIVE, CKM.RSA_PKCS_OAEP);
  const agrees = mechanism === CKM.ECDH1_DERIVE;
  const jwk = publicJwk(agrees ? wholeKey(token, 'ec-p256') : wholeKey(token, 'rsa-2048'));
  if (agrees) {
    return { jwk, alg: 'ECDH-ES', agree: (point) => agreeInToken(token, SECRETS_KEY, point) };
  }
  return { jwk, alg: 'RSA-OAEP', decrypt: (text) => decryptInToken(token, SECRETS_KEY, text) };
}

function wholeKey(token: Token, type: KeyType): TokenKey {
  const state = inspectKey(token, SECRETS_KEY);
  if (state.is === 'whole' && state.key.type === type) {
    checkKeyAttributes(token, SECRETS_KEY);
    return state.key;
  }
  const writing = token.forWriting();
  try {
    if (state.is !== 'absent') destroyKey(writing, SECRETS_KEY);
    return generateKey(writing, SECRETS_KEY, type, type === 'rsa-2048' ? 'decrypt' : 'agree');
  } finally {
    writing.close();
  }
}

function publicJwk({ publicKey }: TokenKey): PublicJwk {
  const { x, y, e, n } = publicKey.export({ format: 'jwk' });
  if (x !== undefined && y !== undefined) return { crv: 'P-256', kty: 'EC', x, y };
  if (e !== undefined && n !== undefined) return { e, kty: 'RSA', n };
  throw new OtaError('BUG', { what: `${SECRETS_KEY.label} is neither EC nor RSA` });
}
