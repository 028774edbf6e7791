import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { isOtaError } from '../../../agent/errors.ts';
import { formatPkcs11Uri, parseTokenUri } from '../../../agent/io/token/pkcs11-uri.ts';
import { throwsCode } from '../../support/expect-code.ts';

const refuses = (
  text: string,
  problem: string,
  remedy = 'write it as pkcs11:token=LABEL',
): void => {
  const details = { file: 'settings', line: 0, key: 'token.uri', problem, remedy };
  throwsCode(() => parseTokenUri(text), 'CONFIG_INVALID', details);
};

describe('PKCS#11 URIs (RFC 7512)', () => {
  test('reads every attribute that chooses a token (§2.3)', () => {
    const uri =
      'pkcs11:token=ota-agent;serial=0001;manufacturer=Linaro;model=OP-TEE%20TA;slot-id=2';
    assert.deepEqual(parseTokenUri(uri), {
      token: 'ota-agent',
      serial: '0001',
      manufacturer: 'Linaro',
      model: 'OP-TEE TA',
      slotId: 2,
    });
  });

  test('decodes percent-encoded UTF-8 (§2.3)', () => {
    assert.deepEqual(parseTokenUri('pkcs11:token=Ger%C3%A4t%3B1'), { token: 'Gerät;1' });
  });

  test('accepts an empty path: any token will do (§2.3)', () => {
    assert.deepEqual(parseTokenUri('pkcs11:'), {});
  });

  test('refuses what it would otherwise ignore, and so choose another token (§2.3)', () => {
    const supported = 'use token, serial, manufacturer, model or slot-id';
    refuses('pkcs11:object=key', 'attribute "object" is not supported', supported);
    refuses('pkcs11:tokn=x', 'attribute "tokn" is not supported', supported);
    refuses('pkcs11:token=a;token=b', 'it has attribute token twice');
    refuses('pkcs11:token=a;', 'it has an attribute without a name and "="');
    refuses('pkcs11:token', 'it has an attribute without a name and "="');
    refuses('pkcs11:=a', 'it has an attribute without a name and "="');
    refuses('pkcs11:token=a b', 'the value of token has a character that needs "%"');
    refuses('pkcs11:token=Gerät', 'the value of token has a character that needs "%"');
    refuses('pkcs11:token=%4', 'the value of token has a character that needs "%"');
    refuses('pkcs11:token=%ff', 'the value of token is not UTF-8');
    refuses('pkcs11:slot-id=0x1', 'slot-id is not a decimal number');
    refuses('pkcs11:slot-id=', 'slot-id is not a decimal number');
    refuses('PKCS11:token=a', 'it does not start with "pkcs11:"');
    refuses('file:token=a', 'it does not start with "pkcs11:"');
  });

  test('refuses a PIN in the URI without repeating it (§2.4)', () => {
    try {
      parseTokenUri('pkcs11:token=a?pin-value=4711');
      assert.fail('accepted');
    } catch (error) {
      assert.ok(isOtaError(error) && error.code === 'CONFIG_INVALID');
      assert.equal(error.details.problem, 'it has query attributes');
      assert.ok(!JSON.stringify([error.message, error.details]).includes('4711'));
    }
  });

  test('reads back every text that it writes', () => {
    const text = fc.string({ unit: 'binary' }).filter((one) => one.isWellFormed());
    fc.assert(
      fc.property(text, text, (token, serial) => {
        assert.deepEqual(parseTokenUri(formatPkcs11Uri({ token, serial })), { token, serial });
      }),
    );
  });

  test('writes only unreserved characters and percent signs, for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (id) => {
        assert.match(formatPkcs11Uri({ id }), /^pkcs11:id=[A-Za-z0-9\-._~%]*$/u);
      }),
    );
  });

  test('fails with CONFIG_INVALID or not at all, whatever is written', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parseTokenUri(`pkcs11:${text}`);
        } catch (error) {
          assert.ok(isOtaError(error) && error.code === 'CONFIG_INVALID');
        }
      }),
    );
  });
});
