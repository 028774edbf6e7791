/** Every way to a device certificate, and every certificate that is refused. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, beforeEach, describe, test } from 'node:test';

import {
  ALL_DONE_NOW,
  ALL_FOUND,
  ONE_OF_EACH,
  ProvisioningBench,
} from '../support/provisioning-bench.ts';
import type { TokenKind } from '../support/token-world.ts';

const DAY_MS = 86_400_000;

export function provisionCertificateContract(kind: TokenKind): void {
  describe(`device certificates on ${kind.name}`, () => {
    let bench: ProvisioningBench;

    before(async () => {
      bench = await ProvisioningBench.open(kind);
    });
    after(() => bench.close());
    beforeEach(() => bench.renew());

    test('leaves a request that openssl verifies, and takes the answer (manual)', async () => {
      const csr = bench.path('device.csr');
      const certificate = bench.path('device.pem');
      const id = `device-${randomUUID()}`;
      const changes = {
        device: { id },
        provisioning: { mode: 'manual', csr_file: csr, certificate_file: certificate },
      };
      const waiting = await bench.attempt(changes);
      assert.equal(waiting.code, 'NOT_PROVISIONED');
      assert.equal(waiting.details['missing'], `certificate for the request in ${csr}`);
      const show = ['req', '-in', csr, '-verify', '-noout', '-subject'];
      const subject = execFileSync('openssl', show, { stdio: 'pipe' });
      assert.equal(subject.toString(), `subject=CN = ${id}\n`);
      writeFileSync(certificate, (await bench.director.certify(readFileSync(csr, 'utf8'))).pem);
      const { provisioned, steps } = await bench.provision(changes);
      assert.equal(provisioned.deviceId, id);
      assert.deepEqual(steps, [...ALL_FOUND.slice(0, 4), ...ALL_DONE_NOW.slice(4)]);
    });

    test('asks for a certificate that was brought, and takes it (device-cred)', async () => {
      const mode = { provisioning: { mode: 'device-cred' } };
      const { code, details } = await bench.attempt(mode);
      assert.equal(code, 'NOT_PROVISIONED');
      assert.equal(details['missing'], 'device certificate');
      const csr = bench.path('device.csr');
      const certificate = bench.path('device.pem');
      const files = { csr_file: csr, certificate_file: certificate };
      await bench.attempt({ provisioning: { mode: 'manual', ...files } });
      writeFileSync(certificate, (await bench.director.certify(readFileSync(csr, 'utf8'))).pem);
      const changes = { provisioning: { mode: 'device-cred', certificate_file: certificate } };
      assert.equal((await bench.provision(changes)).steps.at(-1), 'registration done now');
      assert.equal((await bench.provision(mode)).steps.at(4), 'certificate found done');
    });

    test('refuses a certificate for a key that is not in the token', async () => {
      const certificate = bench.path('foreign.pem');
      const key = bench.path('foreign.key');
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const request = execFileSync('openssl', ['req', '-new', '-key', key, '-subj', '/CN=other']);
      writeFileSync(certificate, (await bench.director.certify(request.toString())).pem);
      const provisioning = { mode: 'device-cred', certificate_file: certificate };
      const { code, details } = await bench.attempt({ provisioning });
      assert.equal(code, 'CERTIFICATE_INVALID');
      assert.equal(details['what'], 'certificate of other');
      assert.match(String(details['problem']), /another key/u);
      assert.deepEqual(await bench.inspect('census'), { ...ONE_OF_EACH, certificates: 0 });
    });

    test('refuses a certificate with another name than device.id', async () => {
      const { provisioned } = await bench.provision();
      const { code, details } = await bench.attempt({ device: { id: 'another' } });
      assert.equal(code, 'CERTIFICATE_INVALID');
      assert.equal(details['what'], `certificate of ${provisioned.deviceId}`);
      assert.equal(details['problem'], 'device.id is another');
    });

    test('stores nothing when the enrolment secret is wrong, and goes on with the right one', async () => {
      const wrong = bench.path('wrong-secret');
      writeFileSync(wrong, 'device:wrong\n');
      const { code, details } = await bench.attempt({ provisioning: { est_secret_file: wrong } });
      assert.equal(code, 'ENROLMENT_REFUSED');
      assert.equal(details['status'], 401);
      assert.match(String(details['answer']), /enrolment_secret/u);
      assert.deepEqual(await bench.inspect('census'), { ...ONE_OF_EACH, certificates: 0 });
      const { steps } = await bench.provision();
      assert.deepEqual(steps, [...ALL_FOUND.slice(0, 4), ...ALL_DONE_NOW.slice(4)]);
    });

    test('does not show the enrolment secret to a server of another CA', async () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const [key, ca] = [bench.path('ca.key'), bench.path('ca.pem')];
      writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
      execFileSync('openssl', ['req', '-x509', '-key', key, '-subj', '/CN=other', '-out', ca]);
      const { code } = await bench.attempt({ provisioning: { est_ca: ca } });
      assert.equal(code, 'GATEWAY_TLS');
      assert.deepEqual(await bench.inspect('census'), { ...ONE_OF_EACH, certificates: 0 });
    });

    test('renews a certificate that has expired, for the same key', async () => {
      const { provisioned } = await bench.provision();
      const days = (
        (await bench.director.control('GET', '/settings')) as { certificateDays: number }
      ).certificateDays;
      const [before] = (await bench.inspect('publicKeyOf')) as string[];
      const later = Date.now() + (days + 1) * DAY_MS;
      // The Director's clock has not moved: what it issues now has expired by then, too.
      const outcome = await bench.attempt({}, { now: later });
      assert.equal(outcome.code, 'CERTIFICATE_INVALID');
      assert.match(String(outcome.details['problem']), /^it expired at/u);
      assert.deepEqual(await bench.inspect('publicKeyOf'), [before]);
      await bench.director.control('PUT', '/settings', { certificateDays: days * 3 });
      const renewed = await bench.provision({}, { now: later });
      await bench.director.control('PUT', '/settings', { certificateDays: days });
      assert.deepEqual(renewed.steps.slice(2, 5), [
        'keys found done',
        'keys found done',
        'certificate done now',
      ]);
      assert.deepEqual(renewed.provisioned, provisioned);
      assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
    });
  });
}
