/** A new key beside one that is in use, and the end of one that is not. */
import { isOtaError, OtaError } from '../agent/errors.ts';
import type { ObjectName } from '../agent/io/token/cryptoki.ts';
import { listGenerations } from '../agent/io/token/generations.ts';
import type { KeyType } from '../agent/io/token/key-types.ts';
import { destroyKey, generateKey, type TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import { destroyUnfinished } from '../agent/io/token/unfinished.ts';

/**
 * Makes the key; what an interrupted try has left of it goes first.
 *
 * @throws OtaError TOKEN_FULL, TOKEN_MECHANISM, TOKEN_KEY_UNSAFE
 */
export function makeKey(token: Token, name: ObjectName, type: KeyType): TokenKey {
  destroyUnfinished(token);
  destroyKey(token, name);
  try {
    return generateKey(token, name, type);
  } catch (error) {
    if (isOtaError(error) && error.code === 'TOKEN_FULL') throw noRoom(token, name, error);
    throw error;
  }
}

/**
 * Destroys `gone`, and what else a lost record may have left under the label.
 *
 * @param stays - in use; the gateway has just accepted it
 */
export function destroyOthers(token: Token, stays: ObjectName, gone: ObjectName): void {
  if (stays.generation === undefined || gone.generation === undefined) {
    throw new Error('a key without CKA_ID is found by its label, and so are all others');
  }
  destroyKey(token, gone);
  for (const name of listGenerations(token, stays)) {
    const isOther = name.generation !== undefined && name.generation !== stays.generation;
    if (isOther) destroyKey(token, name);
  }
}

function noRoom(token: Token, name: ObjectName, cause: Error): OtaError<'TOKEN_FULL'> {
  const uri = `${token.uri} ${name.label}`;
  const problem = 'there is no room for a second key beside the one in use, which stays';
  const remedy =
    'remove objects that nobody needs (pkcs11-tool --list-objects), or give the token more memory ' +
    '(on OP-TEE: CFG_PKCS11_TA_HEAP_SIZE, and space for tee-supplicant); then rotate again';
  return new OtaError('TOKEN_FULL', { uri, problem, remedy }, { cause });
}
