import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { parsePkcs11Uri } from '../../../agent/config-pkcs11-uri.ts';
import { isOtaError } from '../../../agent/errors.ts';
import {
  formatPkcs11Uri,
  parseObjectUri,
  parseTokenUri,
} from '../../../agent/io/token/pkcs11-uri.ts';
import { throwsCode } from '../../support/expect-code.ts';

const refuses = (
  text: string,
  place: number,
  problem: string,
  remedy = 'write it as pkcs11:token=LABEL',
): void => {
  throwsCode(() => parseTokenUri(text), 'CONFIG_INVALID', {
    file: 'settings',
    line: 0,
    key: 'token.uri',
    problem: `character ${String(place)}: ${problem}`,
    remedy,
  });
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

  test('reads what is about slots and libraries (§2.3)', () => {
    const uri =
      'pkcs11:library-manufacturer=A;library-description=B%20C;library-version=2.40;' +
      'slot-manufacturer=D;slot-description=E';
    assert.deepEqual(parseTokenUri(uri), {
      libraryManufacturer: 'A',
      libraryDescription: 'B C',
      libraryVersion: '2.40',
      slotManufacturer: 'D',
      slotDescription: 'E',
    });
  });

  test('reads the characters that need no "%", which differ in path and query (§2.3, §2.4)', () => {
    assert.deepEqual(parseTokenUri("pkcs11:token=-._~:[]@!$'()*+,=&"), {
      token: "-._~:[]@!$'()*+,=&",
    });
    const { query } = parsePkcs11Uri("pkcs11:?x-a=-._~:[]@!$'()*+,=/?|", 'token', '');
    assert.equal(query.get('x-a')?.toString(), "-._~:[]@!$'()*+,=/?|");
    refuses('pkcs11:token=a/b', 15, 'a character that needs "%", in the value of token');
    refuses('pkcs11:token=a;serial=b|', 24, 'a character that needs "%", in the value of serial');
  });

  test('refuses what it would otherwise ignore, and so choose another token (§2.5)', () => {
    const known =
      'use token, serial, manufacturer, model, library-manufacturer, library-description, ' +
      'library-version, slot-manufacturer, slot-description, slot-id';
    refuses('pkcs11:tokn=x', 8, 'attribute "tokn" is not known', known);
    refuses('pkcs11:token=a;x-vendor=x', 16, 'attribute "x-vendor" is not known', known);
    refuses(
      'pkcs11:object=key',
      8,
      'attribute object is of an object, and this names a token',
      'name keys and certificates in identity.tls_key and its neighbours',
    );
    refuses('pkcs11:token=a;token=b', 16, 'attribute token is there twice');
    refuses('pkcs11:token=a;', 16, 'an attribute without a name and "="');
    refuses('pkcs11:token', 8, 'an attribute without a name and "="');
    refuses('pkcs11:=a', 8, 'an attribute without a name and "="');
    refuses('pkcs11:to ken=a', 8, 'an attribute without a name and "="');
    refuses('PKCS11:token=a', 1, 'it does not start with "pkcs11:"');
    refuses('file:token=a', 1, 'it does not start with "pkcs11:"');
  });

  test('refuses values that are not written as they have to be (§2.3)', () => {
    refuses('pkcs11:token=a b', 15, 'a character that needs "%", in the value of token');
    refuses('pkcs11:token=Gerät', 17, 'a character that needs "%", in the value of token');
    refuses('pkcs11:token=%4', 14, 'a "%" without two hexadecimal digits, in the value of token');
    refuses('pkcs11:token=%4g', 14, 'a "%" without two hexadecimal digits, in the value of token');
    refuses('pkcs11:token=%ff', 8, 'the value of token is not UTF-8');
    refuses('pkcs11:slot-id=0x1', 8, 'slot-id is not a decimal number');
    refuses('pkcs11:slot-id=', 8, 'slot-id is not a decimal number');
    const version = 'library-version is not a version such as 2 or 2.40';
    for (const value of ['', 'a', '1.', '.1', '1.2.3', '1000']) {
      refuses(`pkcs11:library-version=${value}`, 8, version);
    }
  });

  test('takes a PIN neither as a value nor by the name of a library, and repeats none (§2.4)', () => {
    const remedies = {
      'pin-value': /pin-source or token\.pin_file, or use the systemd credential "pin"/u,
      'module-name': /module-path or token\.module/u,
      'pin-valeu': /pin-source, or token\.pin_file/u,
      PIN: /pin-source, or token\.pin_file/u,
    };
    for (const [name, remedy] of Object.entries(remedies)) {
      try {
        parseTokenUri(`pkcs11:token=a?x=y&${name}=4711`);
        assert.fail('accepted');
      } catch (error) {
        assert.ok(isOtaError(error) && error.code === 'CONFIG_INVALID');
        assert.match(error.details.problem, /^character 20: /u);
        assert.match(error.details.remedy, remedy);
        assert.ok(!JSON.stringify([error.message, error.details]).includes('4711'));
      }
    }
  });

  test('ignores query attributes of others (§2.5), but not one that is there twice', () => {
    assert.deepEqual(parseTokenUri('pkcs11:token=a?vendor=x&x-other='), { token: 'a' });
    refuses('pkcs11:?x=1&x=2', 13, 'attribute x is there twice');
    refuses('pkcs11:?x=1&', 13, 'an attribute without a name and "="');
  });

  describe('of objects', () => {
    const key = (text: string): unknown => parseObjectUri(text, 'private key', 'identity.tls_key');

    test('have a label and an id of bytes (§2.3)', () => {
      assert.deepEqual(key('pkcs11:token=a;object=B%20b;id=%00%ffA;type=private'), {
        token: { token: 'a' },
        label: 'B b',
        id: Buffer.from([0, 0xff, 0x41]),
      });
      assert.deepEqual(key('pkcs11:id='), { token: {}, id: Buffer.alloc(0) });
    });

    test('have the type that is wanted, or none', () => {
      throwsCode(() => key('pkcs11:object=a;type=cert'), 'CONFIG_INVALID', {
        file: 'settings',
        line: 0,
        key: 'identity.tls_key',
        problem: 'character 17: type is not "private", which a private key has',
        remedy: 'write it as pkcs11:object=LABEL;id=%02',
      });
      assert.deepEqual(parseObjectUri('pkcs11:type=cert', 'certificate', ''), { token: {} });
    });

    test('read back every label and every id that is written', () => {
      const text = fc.string({ unit: 'binary' }).filter((one) => one.isWellFormed());
      fc.assert(
        fc.property(text, fc.uint8Array(), (object, id) => {
          const read = parseObjectUri(formatPkcs11Uri({ object, id }), 'certificate', '');
          assert.deepEqual(read, { token: {}, label: object, id: Buffer.from(id) });
        }),
      );
    });
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

  const attribute = fc.tuple(
    fc.constantFrom('token', 'id', 'object', 'slot-id', 'library-version', 'pin-source', 'x', ''),
    fc.string({
      unit: fc.constantFrom('a', 'Z', '9', '%', '4', 'f', ';', '&', '?', '=', '/', '|', ' ', 'ä'),
    }),
  );
  const almost = fc
    .array(attribute)
    .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join(';'));

  test('fails with CONFIG_INVALID and a place in the URI, or not at all, whatever is written', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), almost), (text) => {
        const uri = `pkcs11:${text}`;
        try {
          parseObjectUri(uri, 'private key', '');
        } catch (error) {
          assert.ok(isOtaError(error) && error.code === 'CONFIG_INVALID');
          const [, place] = /^character (\d+): /u.exec(error.details.problem) ?? [];
          assert.ok(Number(place) >= 8 && Number(place) <= uri.length + 1, error.message);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('means the same in whatever order its attributes are (§2.3)', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(['token=a', 'serial=b', 'model=c', 'slot-id=4']), (parts) => {
        const sorted = [...parts].sort();
        const read = (some: string[]): unknown => parseTokenUri(`pkcs11:${some.join(';')}`);
        assert.deepEqual(read(parts), read(sorted));
      }),
    );
  });
});
