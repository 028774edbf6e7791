/** The key that others encrypt to for this device: made in the token when secrets are first asked for. */
import { OtaError } from '../agent/errors.ts';
import type { SecretsKey } from '../agent/io/secrets/receive.ts';
import { agreeInToken } from '../agent/io/token/agreement.ts';
import { CKM, SECRETS_KEY } from '../agent/io/token/cryptoki.ts';
import { checkKeyAttributes } from '../agent/io/token/key-attributes.ts';
import { destroyKey, generateKey, inspectKey, type TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';

/**
 * The device's key for agreements; what a power cut left of one is made anew, because nothing that was
 * encrypted to it is kept.
 *
 * @param token - open for reading; a key is made through a session of its own
 * @throws OtaError TOKEN_MECHANISM if the token has no ECDH
 * @throws OtaError TOKEN_KEY_UNSAFE, TOKEN_FULL, TOKEN_FAILED
 */
export function ensureSecretsKey(token: Token): SecretsKey {
  token.chooseMechanism(CKM.ECDH1_DERIVE);
  const { publicKey } = wholeKey(token);
  const { x, y } = publicKey.export({ format: 'jwk' });
  if (x === undefined || y === undefined) {
    throw new OtaError('BUG', { what: `${SECRETS_KEY.label} is no EC key` });
  }
  return { x, y, agree: (point) => agreeInToken(token, SECRETS_KEY, point) };
}

function wholeKey(token: Token): TokenKey {
  const state = inspectKey(token, SECRETS_KEY);
  if (state.is === 'whole' && state.key.type === 'ec-p256') {
    checkKeyAttributes(token, SECRETS_KEY);
    return state.key;
  }
  const writing = token.forWriting();
  try {
    if (state.is !== 'absent') destroyKey(writing, SECRETS_KEY);
    return generateKey(writing, SECRETS_KEY, 'ec-p256', 'agree');
  } finally {
    writing.close();
  }
}
