import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { inScratch } from '../director/pki/authority.ts';
import { openssl } from '../director/pki/openssl.ts';
import type { IssuedCertificate } from '../director/pki/device-ca.ts';
import { createRequest, type Answer } from '../director/simulated/device.ts';
import { readEnrolSecret } from '../director/start.ts';
import { answered, controlRefuses, startFixture, type Fixture } from './director-fixture.ts';

const ENROL = '/.well-known/est/simpleenroll';
const DAY_MS = 86_400_000;

let fixture: Fixture;
let secret: string;

before(async () => {
  fixture = await startFixture();
  secret = await readEnrolSecret(fixture.director);
});
after(async () => {
  await fixture.end();
});

/** As a device without a certificate: only the server is authenticated. */
async function call(method: string, path: string, body?: string, credentials?: string) {
  const ca = readFileSync(fixture.director.caPath);
  const headers = {
    'content-type': 'application/pkcs10',
    ...(credentials !== undefined && {
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
    }),
  };
  return new Promise<Answer>((resolve, reject) => {
    const url = `${fixture.director.enrolUrl}${path}`;
    const sent = request(url, { method, ca, headers, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => {
        const content = Buffer.concat(chunks);
        const isJson = answer.headers['content-type']?.startsWith('application/json') === true;
        const json: unknown = isJson ? JSON.parse(content.toString()) : null;
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: content, json });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** PKCS#10 of a PEM request, Base64 in lines, as EST wants it. */
function pkcs10(csr: string): string {
  return csr.replaceAll(/-----[A-Z ]+-----/gu, '').trim();
}

async function certificatesIn(answer: Answer): Promise<readonly X509Certificate[]> {
  const der = Buffer.from(answer.body.toString(), 'base64');
  const args = ['pkcs7', '-inform', 'DER', '-print_certs'];
  const text = (await openssl(args, { input: der })).toString();
  const pems = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/gu) ?? [];
  return pems.map((pem) => new X509Certificate(pem));
}

async function issuedTo(deviceId: string): Promise<readonly IssuedCertificate[]> {
  const all = (await fixture.director.control('GET', '/certificates')) as IssuedCertificate[];
  return all.filter((one) => one.deviceId === deviceId);
}

describe('EST (RFC 7030)', () => {
  test('cacerts gives both CAs as PKCS#7 in Base64 (§4.1.3)', async () => {
    const answer = await call('GET', '/.well-known/est/cacerts');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'application/pkcs7-mime; smime-type=certs-only');
    assert.equal(answer.headers['content-transfer-encoding'], 'base64');
    const given = (await certificatesIn(answer)).map((one) => one.fingerprint256).sort();
    const files = ['device-ca.pem', 'server-ca.pem'].map((name) =>
      join(fixture.director.stateDir, name),
    );
    const own = files.map((path) => new X509Certificate(readFileSync(path)).fingerprint256).sort();
    assert.deepEqual(given, own);
  });

  test('simpleenroll certifies the key of the request, for client authentication (§4.2)', async () => {
    const { csr, key } = await createRequest('est-1');
    const answer = await call('POST', ENROL, pkcs10(csr), secret);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'application/pkcs7-mime; smime-type=certs-only');
    const [certificate, ...more] = await certificatesIn(answer);
    assert.ok(certificate);
    assert.equal(more.length, 0);
    assert.equal(certificate.subject, 'CN=est-1');
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2']);
    assert.equal(certificate.ca, false);
    const ca = new X509Certificate(readFileSync(join(fixture.director.stateDir, 'device-ca.pem')));
    assert.ok(certificate.checkIssued(ca) && certificate.verify(ca.publicKey));
    const days = (Date.parse(certificate.validTo) - Date.now()) / DAY_MS;
    assert.ok(days > 364.9 && days <= 365, String(days));
    assert.ok(certificate.checkPrivateKey(createPrivateKey(key)));
    const [issued] = await issuedTo('est-1');
    assert.equal(issued?.serial, certificate.serialNumber);
  });

  test('serial numbers are random', async () => {
    const { csr } = await createRequest('est-serial');
    await call('POST', ENROL, pkcs10(csr), secret);
    await call('POST', ENROL, pkcs10(csr), secret);
    const serials = (await issuedTo('est-serial')).map((one) => one.serial);
    assert.equal(new Set(serials).size, 2);
    for (const serial of serials) assert.ok(serial.length >= 36, serial);
  });

  test('nothing of the request but its CN and key is taken over', async () => {
    const csr = await inScratch(async (cwd) => {
      const extensions = [
        '-addext',
        'basicConstraints=critical,CA:TRUE',
        '-addext',
        'subjectAltName=DNS:x',
      ];
      const key = [
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        'k',
      ];
      const subject = ['-subj', '/O=Evil/CN=est-2/OU=More'];
      return (
        await openssl(['req', '-new', ...key, ...subject, ...extensions], { cwd })
      ).toString();
    });
    const answer = await call('POST', ENROL, pkcs10(csr), secret);
    const [certificate] = await certificatesIn(answer);
    assert.equal(certificate?.subject, 'CN=est-2');
    assert.equal(certificate.ca, false);
    assert.equal(certificate.subjectAltName, undefined);
  });

  test('without the right secret it is 401, and nothing is issued', async () => {
    const { csr } = await createRequest('est-3');
    for (const credentials of [undefined, 'device:wrong', secret.slice(0, -1), `${secret}x`, ':']) {
      const answer = await call('POST', ENROL, pkcs10(csr), credentials);
      answered(answer, 401, 'enrolment_secret');
      assert.match(answer.headers['www-authenticate'] ?? '', /^Basic realm="est"/u);
    }
    assert.deepEqual(await issuedTo('est-3'), []);
  });

  test('a one-time secret is good for one certificate, and survives a bad request', async () => {
    const answer = (await fixture.director.control('POST', '/enrol-secrets')) as { secret: string };
    const { csr } = await createRequest('est-4');
    answered(await call('POST', ENROL, 'AAAA', answer.secret), 400, 'csr_malformed');
    assert.equal((await call('POST', ENROL, pkcs10(csr), answer.secret)).status, 200);
    answered(await call('POST', ENROL, pkcs10(csr), answer.secret), 401, 'enrolment_secret');
    assert.equal((await issuedTo('est-4')).length, 1);
  });

  test('of two requests with the same one-time secret, one is refused', async () => {
    const one = (await fixture.director.control('POST', '/enrol-secrets')) as { secret: string };
    const { csr } = await createRequest('est-5');
    const answers = await Promise.all(
      [0, 1].map(async () => call('POST', ENROL, pkcs10(csr), one.secret)),
    );
    assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 401]);
  });

  test('a request whose signature is wrong is 400', async () => {
    const { csr } = await createRequest('est-6');
    const der = Buffer.from(pkcs10(csr), 'base64');
    // The last byte belongs to the signature; the structure stays as it is.
    der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
    const answer = await call('POST', ENROL, der.toString('base64'), secret);
    answered(answer, 400, 'csr_signature');
    assert.deepEqual(await issuedTo('est-6'), []);
  });

  for (const [what, subject] of [
    ['has no CN', '/O=Someone'],
    ['has two CNs', '/CN=est-7/CN=est-8'],
    ['has a CN that is not a safe name', '/CN=..\\/etc'],
    ['has a CN with a space', '/CN=a b'],
  ] as const) {
    test(`a request that ${what} is 400`, async () => {
      const csr = await inScratch(async (cwd) => {
        const key = [
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:P-256',
          '-nodes',
          '-keyout',
          'k',
        ];
        return (await openssl(['req', '-new', ...key, '-subj', subject], { cwd })).toString();
      });
      answered(await call('POST', ENROL, pkcs10(csr), secret), 400, 'csr_subject');
    });
  }

  test('a body that is not PKCS#10 in Base64 is 400', async () => {
    for (const body of ['', '?', 'AAAA', 'MIIB', '-----BEGIN CERTIFICATE REQUEST-----']) {
      answered(await call('POST', ENROL, body, secret), 400, 'csr_malformed');
    }
    const { status } = await call('POST', ENROL, 'A'.repeat(65 * 1024), secret);
    assert.equal(status, 413);
  });

  test('other paths are 404', async () => {
    answered(await call('GET', '/director/targets.json'), 404, 'not_found');
    answered(await call('GET', ENROL), 404, 'not_found');
  });

  test('the secret is for its owner only', () => {
    assert.equal(statSync(fixture.director.enrolSecretPath).mode & 0o777, 0o600);
  });
});

describe('certificates by control', () => {
  test('get the dates that were asked for', async () => {
    const { csr } = await createRequest('dates-1');
    const dates = { notBefore: '2020-01-01T00:00:00.000Z', notAfter: '2020-01-02T00:00:00.000Z' };
    const { pem, notBefore, notAfter } = await fixture.director.certify(csr, dates);
    assert.deepEqual({ notBefore, notAfter }, dates);
    const { validFrom, validTo } = new X509Certificate(pem);
    assert.deepEqual(
      [validFrom, validTo].map((text) => new Date(text).toISOString()),
      [dates.notBefore, dates.notAfter],
    );
  });

  test('last as long as the setting says', async () => {
    await fixture.director.control('PUT', '/settings', { certificateDays: 2 });
    const { csr } = await createRequest('dates-2');
    const { notAfter } = await fixture.director.certify(csr);
    assert.ok(Math.abs(Date.parse(notAfter) - Date.now() - 2 * DAY_MS) < 60_000);
  });

  test('are refused for wrong dates and wrong requests', async () => {
    const { csr } = await createRequest('dates-3');
    const { director } = fixture;
    const notAfter = '2020-01-01T00:00:00Z';
    await controlRefuses(director.certify(csr, { notAfter }), 400, 'json_malformed');
    await controlRefuses(director.certify(csr, { notAfter: 'soon' }), 400, 'json_malformed');
    await controlRefuses(director.certify('x'), 400, 'csr_malformed');
    assert.deepEqual(await issuedTo('dates-3'), []);
  });
});
