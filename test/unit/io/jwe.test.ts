/** Compact JWE against an independent implementation (jwcrypto) and against hostile senders. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { JweRefused, openJwe, thumbprint, type Recipient } from '../../../agent/io/secrets/jwe.ts';
import { encrypt } from '../../director/gateway/encrypt.ts';
import { softwareKey } from '../../support/secrets-key.ts';

const EC = softwareKey('EC');
const RSA = softwareKey('RSA');
const CONTENT = Buffer.from('correct horse battery staple');

/** How often the private key was used. */
let asked = 0;
const KEY: Recipient = {
  alg: 'ECDH-ES',
  agree: (point) => {
    asked += 1;
    return EC.key.alg === 'ECDH-ES' ? EC.key.agree(point) : Buffer.alloc(0);
  },
};

const good = (): string => encrypt(CONTENT, EC.registered, { name: 'a' });

const ENCRYPT = `
sent = jwe.JWE(sys.argv[2].encode(), protected=sys.argv[3])
sent.add_recipient(key)
print(sent.serialize(compact=True))`;
const DECRYPT = `
received = jwe.JWE()
received.deserialize(sys.argv[2], key)
print(received.payload.decode())`;

/** Debian's, not one of a version manager: it has the module. */
function jwcrypto(script: string, jwk: object, ...args: readonly string[]): string {
  const whole = `import sys
from jwcrypto import jwe, jwk
key = jwk.JWK.from_json(sys.argv[1])
${script}`;
  const all = ['-c', whole, JSON.stringify(jwk), ...args];
  return execFileSync('/usr/bin/python3', all, { encoding: 'utf8' }).trim();
}

/** The same JWE with another protected header. */
function withHeader(change: object): string {
  const [header = '', ...rest] = good().split('.');
  const members = JSON.parse(Buffer.from(header, 'base64url').toString()) as object;
  const other = Buffer.from(JSON.stringify({ ...members, ...change })).toString('base64url');
  return [other, ...rest].join('.');
}

function refuses(jwe: string, why: RegExp, recipient: Recipient = KEY): void {
  assert.throws(
    () => openJwe(jwe, recipient),
    (error) => error instanceof JweRefused && why.test(error.message),
  );
}

describe('JWE', () => {
  test('that jwcrypto made is opened (RFC 7516 §5.2, RFC 7518 §4.3 and §4.6)', () => {
    for (const [{ key }, more] of [
      [EC, {}],
      [EC, { apu: 'QWxpY2U', apv: 'Qm9i' }],
      [RSA, {}],
    ] as const) {
      const header = { alg: key.alg, enc: 'A256GCM', ...more };
      const sent = jwcrypto(ENCRYPT, key.jwk, CONTENT.toString(), JSON.stringify(header));
      assert.deepEqual(openJwe(sent, key).content, CONTENT);
    }
  });

  test('that the mock gateway made is opened by jwcrypto, which names keys alike (RFC 7638)', () => {
    for (const { key, registered, privateKey } of [EC, RSA]) {
      const jwk = privateKey.export({ format: 'jwk' });
      const opened = jwcrypto(DECRYPT, jwk, encrypt(CONTENT, registered, {}));
      assert.equal(opened, CONTENT.toString());
      const printed = jwcrypto('print(key.thumbprint())', jwk);
      assert.deepEqual([thumbprint(key.jwk), registered.kid], [printed, printed]);
    }
  });

  test('gives the protected header with the content', () => {
    const { header, content } = openJwe(good(), KEY);
    assert.equal(header.string('name'), 'a');
    assert.deepEqual(content, CONTENT);
  });

  test('for another key is refused, in one way whatever was wrong with it (RFC 7516 §11.5)', () => {
    for (const type of ['EC', 'RSA'] as const) {
      const foreign = encrypt(CONTENT, softwareKey(type).registered, {});
      refuses(foreign, /another key, or changed/u, type === 'EC' ? KEY : RSA.key);
    }
    const [header = '', , ...rest] = encrypt(CONTENT, RSA.registered, {}).split('.');
    refuses([header, '', ...rest].join('.'), /another key, or changed/u, RSA.key);
    refuses(good(), /alg is ECDH-ES, want RSA-OAEP/u, RSA.key);
  });

  test('of another algorithm or with members that change its meaning is refused before the key is used', () => {
    asked = 0;
    refuses(withHeader({ alg: 'dir' }), /alg is dir, want ECDH-ES/u);
    refuses(withHeader({ alg: undefined }), /alg is none/u);
    refuses(withHeader({ enc: 'A128GCM' }), /enc is A128GCM, want A256GCM/u);
    refuses(withHeader({ crit: ['b64'] }), /has crit/u);
    refuses(withHeader({ zip: 'DEF' }), /has zip/u);
    assert.equal(asked, 0);
  });

  test('with a point off the curve never reaches the token: it would tell the key bit by bit', () => {
    asked = 0;
    const zero = Buffer.alloc(32).toString('base64url');
    const epk = { kty: 'EC', crv: 'P-256', x: zero, y: Buffer.alloc(32, 1).toString('base64url') };
    refuses(withHeader({ epk }), /no point of P-256/u);
    refuses(withHeader({ epk: { ...epk, x: 'AAAA' } }), /not 32 bytes/u);
    refuses(withHeader({ epk: { ...epk, crv: 'P-384' } }), /not on P-256/u);
    assert.equal(asked, 0);
  });

  test('is refused with any of its characters changed, or cut anywhere', () => {
    const jwe = good();
    fc.assert(
      fc.property(fc.nat(jwe.length - 1), fc.constantFrom('A', 'B', '-', '.', '='), (at, other) => {
        fc.pre(jwe[at] !== other);
        assert.throws(() => openJwe(`${jwe.slice(0, at)}${other}${jwe.slice(at + 1)}`, KEY));
        assert.throws(() => openJwe(jwe.slice(0, at), KEY));
      }),
      { numRuns: 300 },
    );
  });
});
