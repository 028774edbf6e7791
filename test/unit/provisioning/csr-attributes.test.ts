/** What a CA may want in a request (RFC 7030 §4.5.2): met, ignored, or refused by name. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

import { isOtaError } from '../../../agent/errors.ts';
import {
  meetDemands,
  type Asker,
  type RequestContent,
} from '../../../provisioning/csr-attributes.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const URL = 'https://est.example/.well-known/est/csrattrs';
const EC = { url: URL, deviceId: 'gw-1.example', keyType: 'ec-p256' } as const;
const RSA = { ...EC, keyType: 'rsa-2048' } as const;
const P384 = { ...EC, keyType: 'ec-p384' } as const;
const RSA_3072 = { ...EC, keyType: 'rsa-3072' } as const;
const EXT = 'OID:1.2.840.113549.1.9.14';

describe('CSR attributes', () => {
  const temporary = temporaryDirectory('csrattrs');
  after(() => {
    temporary.remove();
  });

  /** @param items - as `openssl asn1parse -genconf` writes them, a list in CsrAttrs */
  const meet = (items: readonly string[], asker: Asker = EC): RequestContent => {
    const configuration = join(temporary.path, 'conf');
    const der = join(temporary.path, 'der');
    const sections: string[] = [];
    const fields = items.map((item, n) => {
      if (!item.includes(' ')) return `f${String(n)}=${item}`;
      const [type, value] = item.split(' ');
      sections.push(`[a${String(n)}]\ntype=${String(type)}\nvalues=SET:s${String(n)}`);
      sections.push(`[s${String(n)}]\nvalue=${String(value)}`);
      return `f${String(n)}=SEQUENCE:a${String(n)}`;
    });
    const lists = '[one]\nid=OID:2.5.29.17\nvalue=FORMAT:ASCII,OCT:\n[list]\none=SEQUENCE:one';
    const text = ['asn1=SEQUENCE:all', '[all]', ...fields, ...sections, lists].join('\n');
    writeFileSync(configuration, `${text}\n`);
    execFileSync('openssl', ['asn1parse', '-genconf', configuration, '-noout', '-out', der]);
    return meetDemands(readFileSync(der), asker);
  };
  const refusal = (act: () => unknown): readonly unknown[] => {
    try {
      act();
    } catch (error) {
      assert.ok(isOtaError(error), String(error));
      if (error.code === 'ENROLMENT_REFUSED') return [error.code, error.details.answer];
      assert.equal(error.code, 'ENROLMENT_UNSUPPORTED');
      assert.deepEqual([error.details.url, error.details.remedy === ''], [URL, false]);
      return [error.details.wanted, error.details.keyType];
    }
    return assert.fail('met');
  };

  test('wants nothing where it is empty', () => {
    const nothing = { extensions: [], hasSerialNumber: false, ignored: [] };
    assert.deepEqual(meetDemands(new Uint8Array(), EC), nothing);
    assert.deepEqual(meetDemands(Buffer.from('3000', 'hex'), EC), nothing);
  });

  test('agrees to the key it has, however that is asked for', () => {
    const same = ['OID:1.2.840.10045.2.1', 'OID:1.2.840.10045.3.1.7', 'OID:1.2.840.10045.4.3.2'];
    assert.deepEqual(meet([...same, 'OID:1.2.840.10045.2.1 OID:1.2.840.10045.3.1.7']).ignored, []);
    const rsa = ['OID:1.2.840.113549.1.1.1', 'OID:1.2.840.113549.1.1.11'];
    assert.deepEqual(meet([...rsa, 'OID:1.2.840.113549.1.1.1 INTEGER:2048'], RSA).ignored, []);
    assert.deepEqual(meet([...rsa, 'OID:1.2.840.113549.1.1.1 INTEGER:3072'], RSA_3072).ignored, []);
    const p384 = ['OID:1.2.840.10045.2.1', 'OID:1.3.132.0.34', 'OID:1.2.840.10045.4.3.3'];
    assert.deepEqual(meet(p384, P384).ignored, []);
  });

  test('refuses keys and signatures that it has not', () => {
    const cases: readonly (readonly [string, string, Asker?])[] = [
      ['OID:1.2.840.10045.2.1 OID:1.3.132.0.34', 'a key of type id-ecPublicKey P-384'],
      ['OID:1.2.840.10045.2.1 OID:1.2.3.4', 'a key of type id-ecPublicKey 1.2.3.4'],
      ['OID:1.2.840.10045.3.1.7', 'a key of type P-256', P384],
      ['OID:1.2.840.10045.4.3.2', 'a request signed with ecdsa-with-SHA256', P384],
      ['OID:1.2.840.113549.1.1.1 INTEGER:2048', 'a key of type rsaEncryption 2048', RSA_3072],
      ['OID:1.3.132.0.35', 'a key of type P-521'],
      ['OID:1.2.840.113549.1.1.1', 'a key of type rsaEncryption'],
      ['OID:1.2.840.113549.1.1.1 INTEGER:4096', 'a key of type rsaEncryption 4096', RSA],
      ['OID:1.3.101.112', 'a key of type Ed25519'],
      ['OID:1.2.840.10045.4.3.3', 'a request signed with ecdsa-with-SHA384'],
      ['OID:1.2.840.113549.1.1.13', 'a request signed with sha512WithRSAEncryption', RSA],
    ];
    for (const [item, wanted, asker = EC] of cases) {
      assert.deepEqual(
        refusal(() => meet([item], asker)),
        [wanted, asker.keyType],
        item,
      );
    }
  });

  test('refuses to link the request to the connection, as the example of §4.5.2 wants it', () => {
    const example =
      'MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw==';
    assert.deepEqual(
      refusal(() => meetDemands(Buffer.from(example, 'base64'), EC)),
      ['challengePassword', 'ec-p256'],
    );
  });

  test('names itself in subjectAltName, if its name can be one (RFC 9908)', () => {
    const demands = [`${EXT} SEQUENCE:list`, `${EXT} OID:2.5.29.17`];
    for (const demand of demands) {
      const [extension, ...others] = meet([demand]).extensions;
      assert.deepEqual([extension?.type, others.length], ['2.5.29.17', 0]);
      assert.ok(
        Buffer.from(new Uint8Array(extension?.value ?? new ArrayBuffer())).includes('gw-1.example'),
      );
      for (const deviceId of ['gw_1', '192.0.2.1', '-gw', 'urn:gw:1']) {
        const [wanted] = refusal(() => meet([demand], { ...EC, deviceId }));
        assert.equal(wanted, 'a subjectAltName, which device.id cannot be', deviceId);
      }
    }
  });

  test('is also a serialNumber, and ignores what it does not know (§4.5.2)', () => {
    const { hasSerialNumber, ignored } = meet([
      'OID:2.5.4.5',
      'OID:2.5.4.3',
      'OID:1.3.6.1.1.1.1.22',
    ]);
    assert.deepEqual([hasSerialNumber, ignored], [true, ['1.3.6.1.1.1.1.22']]);
    assert.deepEqual(meet([`${EXT} OID:2.5.29.99`, 'INTEGER:7']).ignored, ['2.5.29.99']);
  });

  test('refuses what is not CsrAttrs', () => {
    for (const hex of ['00', 'ff', '3003', '04020000', '30000500', '3080']) {
      const [code, answer] = refusal(() => meetDemands(Buffer.from(hex, 'hex'), EC));
      assert.deepEqual([code, answer], ['ENROLMENT_REFUSED', 'not CsrAttrs in Base64'], hex);
    }
  });
});
