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
  return secretsKey(token, wholeKey(token, keyType(token)));
}

/**
 * The same where there is one already: what others encrypted to it is opened, and nothing is made.
 *
 * @returns `undefined` if none was made yet, or a power cut left a part of one
 * @throws OtaError TOKEN_MECHANISM, TOKEN_KEY_UNSAFE, TOKEN_FAILED
 */
export function findSecretsKey(token: Token): SecretsKey | undefined {
  const type = keyType(token);
  const state = inspectKey(token, SECRETS_KEY);
  if (state.is !== 'whole' || state.key.type !== type) return undefined;
  checkKeyAttributes(token, SECRETS_KEY);
  return secretsKey(token, state.key);
}

/** TPM2-PKCS#11 and p11-kit have no ECDH, but all have OAEP. */
function keyType(token: Token): 'ec-p256' | 'rsa-2048' {
  const mechanism = token.chooseMechanism(CKM.ECDH1_DERIVE, CKM.RSA_PKCS_OAEP);
  return mechanism === CKM.ECDH1_DERIVE ? 'ec-p256' : 'rsa-2048';
}

function secretsKey(token: Token, key: TokenKey): SecretsKey {
  const jwk = publicJwk(key);
  if (jwk.kty === 'EC') {
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
