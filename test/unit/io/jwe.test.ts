/** Compact JWE against an independent implementation (`jose`) and against hostile senders. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

import fc from 'fast-check';

import { JweRefused, openJwe, thumbprint, type Agree } from '../../../agent/io/secrets/jwe.ts';
import { encrypt } from '../../director/gateway/encrypt.ts';
import { softwareKey } from '../../support/secrets-key.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const KEY = softwareKey();
const { x, y } = KEY;
const CONTENT = Buffer.from('correct horse battery staple');

/** How often the private key was used. */
let asked = 0;
const agree: Agree = (point) => {
  asked += 1;
  return KEY.agree(point);
};

const good = (): string => encrypt(CONTENT, KEY, { name: 'a' });

/** The same JWE with another protected header. */
function withHeader(change: object): string {
  const [header = '', ...rest] = good().split('.');
  const members = JSON.parse(Buffer.from(header, 'base64url').toString()) as object;
  const other = Buffer.from(JSON.stringify({ ...members, ...change })).toString('base64url');
  return [other, ...rest].join('.');
}

function refuses(jwe: string, why: RegExp): void {
  assert.throws(
    () => openJwe(jwe, agree),
    (error) => error instanceof JweRefused && why.test(error.message),
  );
}

describe('JWE', () => {
  const directory = temporaryDirectory('jwe');
  after(() => {
    directory.remove();
  });
  const jose = (args: readonly string[], input: Buffer | string): Buffer =>
    execFileSync('jose', args, { input, cwd: directory.path });

  test('that jose made is opened (RFC 7516 §5.2, RFC 7518 §4.6)', () => {
    const jwk = { kty: 'EC', crv: 'P-256', x, y };
    writeFileSync(join(directory.path, 'public.jwk'), JSON.stringify(jwk));
    for (const more of [{}, { apu: 'QWxpY2U', apv: 'Qm9i' }]) {
      const template = { protected: { alg: 'ECDH-ES', enc: 'A256GCM', ...more } };
      const args = ['jwe', 'enc', '-c', '-I', '-', '-k', 'public.jwk', '-i'];
      const jwe = jose([...args, JSON.stringify(template)], CONTENT).toString();
      assert.deepEqual(openJwe(jwe.trim(), agree).content, CONTENT);
    }
  });

  test('that the mock gateway made is opened by jose', () => {
    const jwk = KEY.privateKey.export({ format: 'jwk' });
    writeFileSync(join(directory.path, 'private.jwk'), JSON.stringify(jwk));
    writeFileSync(join(directory.path, 'jwe'), good());
    assert.deepEqual(jose(['jwe', 'dec', '-i', 'jwe', '-k', 'private.jwk'], ''), CONTENT);
    const printed = jose(['jwk', 'thp', '-i', 'private.jwk'], '').toString().trim();
    assert.equal(thumbprint({ x, y }), printed);
    assert.equal(KEY.kid, printed);
  });

  test('gives the protected header with the content', () => {
    const { header, content } = openJwe(good(), agree);
    assert.equal(header.string('name'), 'a');
    assert.deepEqual(content, CONTENT);
  });

  test('for another key is refused', () => {
    const foreign = encrypt(CONTENT, softwareKey(), {});
    refuses(foreign, /another key, or changed/u);
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
        assert.throws(() => openJwe(`${jwe.slice(0, at)}${other}${jwe.slice(at + 1)}`, agree));
        assert.throws(() => openJwe(jwe.slice(0, at), agree));
      }),
      { numRuns: 300 },
    );
  });
});
