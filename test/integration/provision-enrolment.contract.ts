/** EST as RFC 7030 has it, aktualizr's shared credentials, and chains: on real tokens. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import type { TokenKind } from '../support/token-world.ts';
import {
  ALL_DONE_NOW,
  ALL_FOUND,
  ONE_OF_EACH,
  ProvisioningBench,
  type Sections,
} from '../support/provisioning-bench.ts';
import { suppliedKeys } from './provision-supplied-keys.contract.ts';
import { askAsFleet, writeCredentials } from '../support/shared-credentials.ts';

const USUAL = {
  csrAttributes: 'none',
  approvals: 0,
  issuingCa: false,
  otherCacerts: false,
  sharedRsa: false,
  sharedLegacy: false,
};
const WITH_CHAIN = { ...ONE_OF_EACH, certificates: 2 };

/** CsrAttrs in Base64, as `openssl asn1parse -genconf` makes them. */
function csrAttrs(directory: string, sections: string): string {
  const configuration = `${directory}/csrattrs.conf`;
  const der = `${directory}/csrattrs.der`;
  writeFileSync(configuration, `asn1=SEQUENCE:all\n${sections}\n`);
  execFileSync('openssl', ['asn1parse', '-genconf', configuration, '-noout', '-out', der]);
  return readFileSync(der, 'base64');
}

export function provisionEnrolmentContract(kind: TokenKind): void {
  describe(`enrolment on ${kind.name}`, () => {
    let bench: ProvisioningBench;

    before(async () => {
      bench = await ProvisioningBench.open(kind);
    });
    after(() => bench.close());
    beforeEach(() => bench.renew());
    afterEach(() => bench.director.control('PUT', '/enrolment', USUAL));

    const arrange = (changes: Partial<typeof USUAL>): Promise<unknown> =>
      bench.director.control('PUT', '/enrolment', changes);
    const certificatesOf = async (id: string): Promise<number> => {
      const all = (await bench.director.control('GET', '/certificates')) as { deviceId: string }[];
      return all.filter(({ deviceId }) => deviceId === id).length;
    };

    describe('EST (RFC 7030)', () => {
      test('stores the CAs between, and shows them to a gateway that knows the root alone', async () => {
        await arrange({ issuingCa: true });
        const { steps, facts } = await bench.provision();
        assert.deepEqual(steps, ALL_DONE_NOW);
        assert.match(facts[4] ?? '', /from CN=ota-agent test device CA, SHA-256 [0-9a-f]{64}$/u);
        assert.deepEqual(await bench.inspect('census'), WITH_CHAIN);
        assert.deepEqual((await bench.provision()).steps, ALL_FOUND);
        // Back with a CA that needs nobody between, nothing is left of the other one.
        await arrange({ issuingCa: false });
        await bench.inspect('loseCertificate');
        assert.equal((await bench.provision()).steps[4], 'certificate done now');
        assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
      });

      test('refuses a certificate from a CA that cacerts does not name (§4.1.2)', async () => {
        await arrange({ otherCacerts: true });
        const { code, details } = await bench.attempt();
        assert.equal(code, 'CERTIFICATE_INVALID');
        assert.match(
          String(details['problem']),
          /^none of the CAs in https:.*cacerts has issued it/u,
        );
        assert.deepEqual(await bench.inspect('census'), { ...ONE_OF_EACH, certificates: 0 });
      });

      test('puts into the request what csrattrs asks for, and ignores the unknown (§4.5.2)', async () => {
        const attributes = csrAttrs(
          bench.path('.'),
          `[all]\nkey=SEQUENCE:key\nsigned=OID:1.2.840.10045.4.3.2\nserial=OID:2.5.4.5
unknown=OID:1.3.6.1.1.1.1.22\next=SEQUENCE:ext
[key]\ntype=OID:1.2.840.10045.2.1\nvalues=SET:curve\n[curve]\np256=OID:1.2.840.10045.3.1.7
[ext]\ntype=OID:1.2.840.113549.1.9.14\nvalues=SET:exts\n[exts]\nlist=SEQUENCE:list
[list]\neku=SEQUENCE:eku\nsan=SEQUENCE:san
[eku]\noid=OID:2.5.29.37\nvalue=FORMAT:HEX,OCT:300a06082b06010505070302
[san]\noid=OID:2.5.29.17\nvalue=FORMAT:ASCII,OCT:`,
        );
        await arrange({ csrAttributes: attributes });
        const id = `gw-${randomUUID()}`;
        const { facts } = await bench.provision({ device: { id } });
        assert.ok(facts.some((fact) => fact.endsWith('unknown 1.3.6.1.1.1.1.22: ignored')));
        const { pem } = (await bench.director.control('GET', '/enrolment/request')) as {
          pem: string;
        };
        const show = ['req', '-verify', '-noout', '-text'];
        const text = execFileSync('openssl', show, { input: pem, stdio: 'pipe' }).toString();
        assert.match(text, new RegExp(`Subject: CN = ${id}, serialNumber = ${id}`, 'u'));
        assert.match(text, new RegExp(`DNS:${id}`, 'u'));
        assert.match(text, /TLS Web Client Authentication/u);
      });

      test('refuses what its key cannot be, before anything is issued', async () => {
        const id = `gw-${randomUUID()}`;
        const p384 = `[all]\nkey=SEQUENCE:key
[key]\ntype=OID:1.2.840.10045.2.1\nvalues=SET:curve\n[curve]\np384=OID:1.3.132.0.34`;
        await arrange({ csrAttributes: csrAttrs(bench.path('.'), p384) });
        const { code, details } = await bench.attempt({ device: { id } });
        assert.equal(code, 'ENROLMENT_UNSUPPORTED');
        assert.equal(details['wanted'], 'a key of type id-ecPublicKey P-384');
        assert.equal(details['keyType'], 'ec-p256');
        assert.match(String(details['url']), /csrattrs$/u);
        assert.equal(await certificatesOf(id), 0);
      });

      test('waits for approval, no longer than it is let, and goes on in the next run (§4.2.3)', async () => {
        await arrange({ approvals: 2 });
        const device = { id: `gw-${randomUUID()}` };
        const { code, details } = await bench.attempt({
          device,
          provisioning: { est_wait: '500ms' },
        });
        assert.equal(code, 'ENROLMENT_REFUSED');
        assert.deepEqual([details['status'], details['answer']], [202, 'waits for approval']);
        const { steps } = await bench.provision({ device });
        assert.deepEqual(steps.slice(4, 6), ['certificate noted', 'certificate done now']);
        assert.equal(await certificatesOf(device.id), 1);
      });

      test('shows the certificate it was born with, from files or from the token (§3.3.2)', async () => {
        const [key, csr, pem] = [
          bench.path('birth.key'),
          bench.path('b.csr'),
          bench.path('birth.pem'),
        ];
        const subject = ['-subj', '/CN=birth-4711', '-nodes', '-keyout', key, '-out', csr];
        execFileSync('openssl', ['req', '-newkey', 'rsa:2048', ...subject], { stdio: 'pipe' });
        writeFileSync(pem, (await bench.director.certify(readFileSync(csr, 'utf8'))).pem);
        const none = { est_secret_file: undefined };
        assert.equal((await bench.attempt({ provisioning: none })).details['status'], 401);
        const files = { ...none, est_client_key: key, est_client_certificate: pem };
        assert.deepEqual((await bench.provision({ provisioning: files })).steps.slice(4), [
          ...ALL_DONE_NOW.slice(4),
        ]);
        await bench.inspect('loseCertificate');
        await bench.inspect('bearIdentity', { label: 'birth', keyPath: key, certificatePath: pem });
        const token = { ...none, est_client_key: 'pkcs11:object=birth;type=private' };
        assert.equal(
          (await bench.provision({ provisioning: token })).steps[4],
          'certificate done now',
        );
        const absent = { ...none, est_client_key: 'pkcs11:object=unborn' };
        await bench.inspect('loseCertificate');
        const { code, details } = await bench.attempt({ provisioning: absent });
        assert.equal(code, 'TOKEN_OBJECT');
        assert.equal(details['uri'], 'pkcs11:object=unborn');
        assert.match(String(details['problem']), /no such private key; .*"birth" \(id 11\)/u);
      });
    });

    describe('shared credentials (aktualizr)', () => {
      const shared = async (changes: Sections = {}): Promise<Sections> => ({
        ...changes,
        provisioning: {
          mode: 'shared-cred',
          credentials_file: await writeCredentials(bench, bench.path('credentials.zip')),
          est_secret_file: undefined,
          est_url: undefined,
          ...changes['provisioning'],
        },
      });
      const leftover = (): string => bench.path('storage/shared-credential.pem');

      test('uses the server’s key once, for a certificate of a key made in the token', async () => {
        const device = { id: `gw-${randomUUID()}` };
        const est = { est_url: bench.director.enrolUrl };
        const { steps, provisioned } = await bench.provision(
          await shared({ device, provisioning: est }),
        );
        assert.deepEqual(steps, ALL_DONE_NOW);
        assert.equal(provisioned.deviceId, device.id);
        assert.deepEqual(provisioned.warnings, []);
        assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
        assert.deepEqual(await bench.inspect('isTlsKeyImported'), false);
        assert.ok(!existsSync(leftover()));
        // That of the server, and that of the token.
        assert.equal(await certificatesOf(device.id), 2);
        // When that has expired, the device is known, and enrols like any other.
        await bench.inspect('loseCertificate');
        const secret = { est_secret_file: bench.director.enrolSecretPath };
        const again = await bench.provision(
          await shared({ device, provisioning: { ...est, ...secret } }),
        );
        assert.equal(again.steps[4], 'certificate done now');
        assert.equal(await certificatesOf(device.id), 3);
      });

      test('takes nothing from the server that it could not use', async () => {
        const device = { id: `gw-${randomUUID()}` };
        const { code, details } = await bench.attempt(await shared({ device }));
        assert.equal(code, 'CONFIG_INVALID');
        assert.equal(details['key'], 'identity.allow_imported');
        assert.match(String(details['remedy']), /est_url/u);
        assert.equal(await certificatesOf(device.id), 0);
        assert.deepEqual(await bench.inspect('labels'), []);
      });

      for (const type of ['ec-p256', 'rsa-2048'] as const) {
        test(`imports the server’s ${type} key where that is allowed, and says so on every run`, async () => {
          const isRsa = type === 'rsa-2048';
          await arrange({ sharedRsa: isRsa, sharedLegacy: isRsa, issuingCa: !isRsa });
          const changes = await shared({ identity: { allow_imported: true } });
          const first = await bench.provision(changes);
          assert.deepEqual(first.steps, ALL_DONE_NOW);
          assert.match(first.facts[2] ?? '', new RegExp(`${type}.*IMPORTED`, 'u'));
          assert.match(first.provisioned.warnings.join(), /THE SERVER MADE THE PRIVATE KEY/u);
          assert.deepEqual(await bench.inspect('isTlsKeyImported'), true);
          assert.deepEqual(await bench.inspect('census'), isRsa ? ONE_OF_EACH : WITH_CHAIN);
          assert.ok(!existsSync(leftover()));
          const second = await bench.provision(changes);
          assert.deepEqual(second.steps, ALL_FOUND);
          assert.deepEqual(second.provisioned.warnings, first.provisioned.warnings);
          if (isRsa) return;
          const { code, details } = await bench.attempt({ provisioning: { mode: 'est' } });
          assert.equal(code, 'TOKEN_KEY_UNSAFE');
          assert.equal(details['attribute'], 'CKA_ALWAYS_SENSITIVE');
        });
      }

      test('says what the server says, and what to do about a name that is taken', async () => {
        const id = `gw-${randomUUID()}`;
        const changes = await shared({ device: { id }, identity: { allow_imported: true } });
        assert.equal((await askAsFleet(bench, id)).status, 200);
        const { code, details } = await bench.attempt(changes);
        assert.equal(code, 'ENROLMENT_REFUSED');
        assert.equal(details['status'], 409);
        assert.match(String(details['answer']), /device_already_registered/u);
        assert.match(String(details['remedy']), /delete it there, or set another device\.id/u);
        assert.match(String(details['url']), /\/devices$/u);
      });

      test('gives up a name that it made up, when the answer to it was lost', async () => {
        const id = randomUUID();
        const changes = await shared({ identity: { allow_imported: true } });
        mkdirSync(bench.path('record'), { recursive: true });
        writeFileSync(bench.path('record/device-id'), id);
        writeFileSync(bench.path('record/shared-credential'), `requested ${id}`);
        assert.equal((await askAsFleet(bench, id)).status, 200);
        const { provisioned, facts } = await bench.provision(changes);
        assert.notEqual(provisioned.deviceId, id);
        assert.ok(facts.some((fact) => fact.startsWith(`the answer to ${id} was lost`)));
      });

      test('goes on with what it was given, wherever it is killed after', async () => {
        for (const delayMs of [0, 40]) {
          await bench.renew();
          const device = { id: `gw-${randomUUID()}` };
          const changes = await shared({ device, identity: { allow_imported: true } });
          assert.equal(await bench.killAtFile(leftover(), delayMs, changes), 'killed');
          const { steps, provisioned } = await bench.provision(changes);
          assert.equal(steps.at(-1), 'registration done now');
          assert.equal(provisioned.deviceId, device.id);
          assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
          assert.ok(!existsSync(leftover()));
          assert.equal(await certificatesOf(device.id), 1);
        }
      });

      test('keeps what it was given for its owner alone', async () => {
        const refusing = { est_url: bench.director.enrolUrl, est_wait: '1ms' };
        await arrange({ approvals: 1 });
        const { details } = await bench.attempt(await shared({ provisioning: refusing }));
        assert.equal(details['status'], 202);
        assert.equal(statSync(leftover()).mode & 0o777, 0o600);
        const { steps } = await bench.provision(await shared({ provisioning: refusing }));
        assert.equal(steps[4], 'certificate done now');
        assert.ok(!existsSync(leftover()));
      });
    });

    suppliedKeys(() => bench);

    describe('by hand', () => {
      test('says that it cannot leave the request', async () => {
        const csr = bench.path('nowhere/device.csr');
        const provisioning = { mode: 'manual', csr_file: csr, certificate_file: '/nowhere.pem' };
        const { code, details } = await bench.attempt({ provisioning });
        assert.deepEqual([code, details['path']], ['STORAGE_FAILED', csr]);
        assert.match(String(details['remedy']), /provisioning\.csr_file/u);
      });

      test('takes a certificate with its chain, in PEM or in PKCS#7', async () => {
        await arrange({ issuingCa: true });
        for (const form of ['PEM', 'PKCS7'] as const) {
          await bench.renew();
          const [csr, answer] = [bench.path('device.csr'), bench.path('device.pem')];
          const changes = {
            provisioning: { mode: 'manual', csr_file: csr, certificate_file: answer },
          };
          assert.equal((await bench.attempt(changes)).code, 'NOT_PROVISIONED');
          const { pem } = await bench.director.certify(readFileSync(csr, 'utf8'));
          const between = readFileSync(`${bench.director.stateDir}/issuing-ca.pem`, 'utf8');
          // The order of the file means nothing.
          writeFileSync(answer, between + pem);
          if (form === 'PKCS7') {
            const args = ['crl2pkcs7', '-nocrl', '-certfile', answer];
            writeFileSync(answer, execFileSync('openssl', args));
          }
          const { provisioned } = await bench.provision(changes);
          assert.equal(new X509Certificate(pem).subject, `CN=${provisioned.deviceId}`);
          assert.deepEqual(await bench.inspect('census'), WITH_CHAIN);
        }
      });
    });
  });
}
