/** aktualizr's credentials.zip: what is read of it, and every archive that is refused. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { isOtaError } from '../../../agent/errors.ts';
import { readCredentials } from '../../../provisioning/credentials-zip.ts';
import { openPkcs12, Pkcs12Problem } from '../../../provisioning/pkcs12.ts';
import { makeAuthority, makeLeaf, type Authority } from '../../support/certificates.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { makeZip, type ZipMember } from '../../support/zip.ts';

const URL_MEMBER: ZipMember = { name: 'autoprov.url', content: 'https://gateway.example:443/\n' };
const P12 = 'autoprov_credentials.p12';
const LEGACY = ['-legacy', '-certpbe', 'PBE-SHA1-RC2-40', '-keypbe', 'PBE-SHA1-3DES'];

describe('credentials.zip', () => {
  const temporary = temporaryDirectory('credentials');
  const path = join(temporary.path, 'credentials.zip');
  let authority: Authority;

  before(() => {
    authority = makeAuthority(temporary.path, 'fleet');
    const leaf = makeLeaf(temporary.path, authority, { commonName: 'autoprov' });
    writeFileSync(join(temporary.path, 'key.pem'), leaf.keyPem);
    writeFileSync(join(temporary.path, 'leaf.pem'), leaf.certificatePem);
  });
  after(() => {
    temporary.remove();
  });

  const pkcs12 = (password: string, ...how: readonly string[]): Buffer => {
    const cwd = temporary.path;
    const from = ['-inkey', 'key.pem', '-in', 'leaf.pem', '-certfile', 'fleet-ca.pem'];
    const args = ['pkcs12', '-export', ...from, ...how, '-passout', `pass:${password}`];
    return execFileSync('openssl', args, { cwd });
  };
  const read = (
    members: readonly ZipMember[],
    password = '',
  ): ReturnType<typeof readCredentials> => {
    writeFileSync(path, makeZip(members));
    return readCredentials(path, password);
  };
  const refusal = async (bytes: Buffer, password = ''): Promise<Record<string, unknown>> => {
    writeFileSync(path, bytes);
    try {
      await readCredentials(path, password);
    } catch (error) {
      assert.ok(isOtaError(error), String(error));
      assert.equal(error.code, 'CREDENTIALS_INVALID');
      return { ...error.details };
    }
    return assert.fail('accepted');
  };

  test('gives URL, shared credential and CA, and ignores what is for build servers', async () => {
    const { url, identity, serverCaPem } = await read([
      { name: 'treehub.json', content: '{"oauth2":{"client_secret":"none of ours"}}' },
      URL_MEMBER,
      { name: P12, content: pkcs12('') },
      { name: 'server_ca.pem', content: authority.certificatePem },
    ]);
    assert.equal(url, 'https://gateway.example:443');
    assert.equal(identity.certificate.subject, 'CN=autoprov');
    assert.ok(createPublicKey(identity.privateKey).equals(identity.certificate.publicKey));
    assert.deepEqual(
      identity.others.map(({ subject }) => subject),
      ['CN=fleet CA'],
    );
    assert.equal(serverCaPem, authority.certificatePem);
  });

  test('opens PKCS#12 as it was packed long ago (RC2, 3DES), with a password', async () => {
    const { identity } = await read(
      [URL_MEMBER, { name: P12, content: pkcs12('pw', ...LEGACY) }],
      'pw',
    );
    assert.ok(identity.certificate instanceof X509Certificate);
  });

  test('names the entry that is missing', async () => {
    assert.equal((await refusal(makeZip([URL_MEMBER])))['entry'], P12);
    const details = await refusal(makeZip([{ name: P12, content: pkcs12('') }]));
    assert.equal(details['entry'], 'autoprov.url');
    assert.match(String(details['remedy']), /autoprov_credentials\.p12/u);
  });

  test('refuses a URL that is not https, without repeating it', async () => {
    for (const content of ['http://gateway.example', 'gateway.example', '', 'https://']) {
      const details = await refusal(makeZip([{ name: 'autoprov.url', content }]));
      assert.equal(details['problem'], 'it is not an https URL');
    }
  });

  test('refuses PKCS#12 with another password, cut off, or without a key', async () => {
    const p12 = pkcs12('right');
    const keyless = execFileSync(
      'openssl',
      ['pkcs12', '-export', '-nokeys', '-in', 'leaf.pem', '-passout', 'pass:'],
      { cwd: temporary.path },
    );
    const zip = (content: Uint8Array | string): Buffer =>
      makeZip([URL_MEMBER, { name: P12, content }]);
    assert.match(String((await refusal(zip(p12), 'wrong'))['problem']), /password/iu);
    assert.equal((await refusal(zip(p12.subarray(0, 300)), 'right'))['entry'], P12);
    assert.equal((await refusal(zip('no PKCS#12 at all')))['entry'], P12);
    const details = await refusal(zip(keyless));
    assert.equal(details['problem'], 'it has 0 private keys instead of one');
  });

  test('gives up on PKCS#12 whose password takes hours to check', async () => {
    const p12 = pkcs12('', '-iter', '70000');
    // Iterations of the integrity check, the last INTEGER: 70,000 become 8,388,607.
    const at = p12.lastIndexOf(Buffer.from('0203011170', 'hex'));
    p12.writeUIntBE(0x7fffff, at + 2, 3);
    const begun = performance.now();
    await assert.rejects(openPkcs12(p12, [''], 1000), (error) => {
      assert.ok(error instanceof Pkcs12Problem);
      assert.equal(error.message, 'opening it takes longer than 1 s');
      return true;
    });
    assert.ok(performance.now() - begun < 10_000);
  });

  test('inflates nothing beyond its bounds: bombs, declared or not', async () => {
    const zeros = Buffer.alloc(64 * 1024 * 1024);
    const declared = await refusal(makeZip([{ name: P12, content: zeros }]));
    assert.deepEqual([declared['entry'], declared['problem']], [P12, 'it is larger than 256 KiB']);
    const lying = await refusal(makeZip([{ name: P12, content: zeros, declaredBytes: 1000 }]));
    assert.equal(lying['entry'], P12);
    assert.match(String(lying['problem']), /too many bytes/u);
    const short = await refusal(makeZip([{ name: P12, content: 'abc', declaredBytes: 1000 }]));
    assert.match(String(short['problem']), /not enough bytes/u);
  });

  test('refuses names that lead out of the archive, and writes nothing at all', async () => {
    const inner = join(temporary.path, 'inner');
    mkdirSync(inner);
    for (const name of ['../../etc/passwd', '/etc/passwd', 'a/../../b', 'C:/b', '..\\b']) {
      const details = await refusal(makeZip([{ name, content: 'x' }, URL_MEMBER]));
      assert.match(String(details['problem']), /no sound archive/u);
    }
    assert.deepEqual(readdirSync(inner), []);
  });

  test('refuses an entry that is there twice: which one counts would be a guess', async () => {
    const details = await refusal(makeZip([URL_MEMBER, URL_MEMBER]));
    assert.deepEqual([details['entry'], details['problem']], ['autoprov.url', 'it is there twice']);
  });

  test('refuses what is no archive, cut off, too large, or has too many entries', async () => {
    const sound = makeZip([URL_MEMBER, { name: P12, content: pkcs12('') }]);
    for (const bytes of [Buffer.alloc(0), Buffer.from('<html>'), sound.subarray(0, -30)]) {
      assert.match(String((await refusal(bytes))['problem']), /no sound archive/u);
    }
    const large = await refusal(Buffer.alloc(4 * 1024 * 1024 + 1));
    assert.equal(large['problem'], 'it is larger than 4 MiB');
    const many = Array.from({ length: 101 }, (_, n) => ({ name: String(n), content: '' }));
    assert.equal((await refusal(makeZip(many)))['problem'], 'it has more than 100 entries');
    assert.match(String((await refusal(makeZip([URL_MEMBER], 3)))['problem']), /no sound archive/u);
  });

  test('says which file it cannot read', async () => {
    await assert.rejects(readCredentials(join(temporary.path, 'absent.zip'), ''), (error) => {
      assert.ok(isOtaError(error) && error.code === 'FILE_UNREADABLE');
      assert.match(error.details.cause, /ENOENT/u);
      return true;
    });
  });
});
