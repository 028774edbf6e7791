import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { isOtaError } from '../../../agent/errors.ts';
import { CKR, isCkr, isSessionLost, translated } from '../../../agent/io/token/token-errors.ts';

const URI = 'pkcs11:token=ota-agent';

/** As pkcs11js throws them. */
const cryptoki = (name: keyof typeof CKR): Error =>
  Object.assign(new Error(`CKR_${name}`), { code: CKR[name] });

const codeOf = (error: unknown): string => {
  const result = translated(error, { operation: 'C_Sign', uri: URI });
  assert.ok(isOtaError(result));
  assert.equal(result.cause, error);
  return result.code;
};

describe('Cryptoki return values (PKCS#11 v2.40 §5.1)', () => {
  test('become failures that say who has to act', () => {
    assert.equal(codeOf(cryptoki('PIN_LOCKED')), 'TOKEN_LOCKED');
    assert.equal(codeOf(cryptoki('USER_PIN_NOT_INITIALIZED')), 'NOT_PROVISIONED');
    assert.equal(codeOf(cryptoki('TOKEN_NOT_PRESENT')), 'TOKEN_ABSENT');
    assert.equal(codeOf(cryptoki('DEVICE_REMOVED')), 'TOKEN_ABSENT');
    assert.equal(codeOf(cryptoki('DEVICE_MEMORY')), 'TOKEN_FULL');
  });

  test('keep their name where there is nothing better to say', () => {
    const result = translated(cryptoki('FUNCTION_FAILED'), { operation: 'C_Sign', uri: URI });
    assert.ok(isOtaError(result) && result.code === 'TOKEN_FAILED');
    assert.deepEqual(result.details, { operation: 'C_Sign', cause: 'CKR_FUNCTION_FAILED' });
  });

  test('say that a restart helps where the TEE behind the library is gone', () => {
    const result = translated(cryptoki('GENERAL_ERROR'), { operation: 'C_Sign', uri: URI });
    assert.ok(isOtaError(result) && result.code === 'TOKEN_FAILED');
    assert.match(result.details.cause, /^CKR_GENERAL_ERROR: .*restart the agent/u);
  });

  test('are not confused with the errors of others that carry a number', () => {
    for (const foreign of [
      new TypeError('x is not a function'),
      Object.assign(new Error('connect refused'), { code: CKR.PIN_LOCKED }),
      Object.assign(new Error('CKR_PIN_LOCKED'), { code: 'EPIPE' }),
      'CKR_PIN_LOCKED',
    ]) {
      assert.equal(translated(foreign, { operation: 'C_Sign', uri: URI }), foreign);
      assert.equal(isCkr(foreign, 'PIN_LOCKED'), false);
    }
  });

  test('tell a lost session from every other failure', () => {
    for (const name of [
      'SESSION_HANDLE_INVALID',
      'SESSION_CLOSED',
      'USER_NOT_LOGGED_IN',
    ] as const) {
      assert.ok(isSessionLost(cryptoki(name)), name);
    }
    assert.ok(!isSessionLost(cryptoki('PIN_INCORRECT')));
    assert.ok(!isSessionLost(cryptoki('DEVICE_ERROR')));
  });
});
