/** Keys that were made outside the token, and brought to it by somebody (mode device-cred). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import {
  ALL_DONE_NOW,
  ALL_FOUND,
  ONE_OF_EACH,
  type ProvisioningBench,
  type Sections,
} from '../support/provisioning-bench.ts';

/** @param bench - with a blank token for every test */
export function suppliedKeys(bench: () => ProvisioningBench): void {
  describe('a key that was supplied in the token (device-cred)', () => {
    test('is refused, and taken with a warning only where that is allowed', async () => {
      const [key, csr, pem] = [bench().path('s.key'), bench().path('s.csr'), bench().path('s.pem')];
      const subject = ['-subj', '/CN=supplied', '-nodes', '-keyout', key, '-out', csr];
      execFileSync('openssl', ['req', '-newkey', 'rsa:2048', ...subject], { stdio: 'pipe' });
      writeFileSync(pem, (await bench().director.certify(readFileSync(csr, 'utf8'))).pem);
      const provisioning = { mode: 'device-cred' };
      assert.equal((await bench().attempt({ provisioning })).code, 'NOT_PROVISIONED');
      const label = 'ota-agent-tls';
      await bench().inspect('bearIdentity', { label, keyPath: key, certificatePath: pem });
      const identity = { tls_key_type: 'rsa-2048' };
      const { code, details } = await bench().attempt({ provisioning, identity });
      assert.equal(code, 'TOKEN_KEY_UNSAFE');
      assert.equal(details['attribute'], 'CKA_ALWAYS_SENSITIVE');
      const { provisioned, steps } = await bench().provision({
        provisioning,
        identity: { ...identity, allow_imported: true },
      });
      assert.deepEqual(steps, [...ALL_FOUND.slice(0, 5), ...ALL_DONE_NOW.slice(5)]);
      assert.equal(provisioned.deviceId, 'supplied');
      assert.match(provisioned.warnings.join(), /key "ota-agent-tls" was made outside the token/u);
    });
  });

  describe('key files (device-cred)', () => {
    const supply = async (name: string, ...algorithm: string[]): Promise<Sections> => {
      const at = (kind: string): string => bench().path(`${name}.${kind}`);
      const [key, csr, pem] = [at('key'), at('csr'), at('pem')];
      const subject = ['-subj', `/CN=${name}`, '-nodes', '-keyout', key];
      const args = ['req', '-new', ...algorithm, ...subject, '-out', csr];
      execFileSync('openssl', args, { stdio: 'pipe' });
      const issued = await bench().director.certify(readFileSync(csr, 'utf8'));
      writeFileSync(pem, issued.pem);
      return {
        provisioning: { mode: 'device-cred' },
        identity: { allow_imported: true, tls_key_file: key, tls_certificate_file: pem },
      };
    };

    test('are imported, of every type that TLS can do, and nothing else', async () => {
      const edwards = await supply('file-3', '-newkey', 'ed25519');
      const { code, details } = await bench().attempt(edwards);
      assert.deepEqual(
        [code, details['uri']],
        ['TOKEN_OBJECT', 'pkcs11:token=ota-agent ota-agent-tls'],
      );
      assert.match(String(details['problem']), /^a key of type ed25519 is not one of ec-p256, /u);
      const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'];
      for (const [type, id, ...algorithm] of [
        ['ec-p384', 'file-1', ...curve],
        ['rsa-3072', 'file-2', '-newkey', 'rsa:3072'],
      ] as const) {
        await bench().renew();
        const files = await supply(id, ...algorithm);
        const { facts, provisioned } = await bench().provision(files);
        assert.ok(facts.includes(`ota-agent-tls (${type}), IMPORTED`), facts.join('\n'));
        assert.ok(facts.some((fact) => fact.endsWith('holds a copy of the key: remove it')));
        assert.equal(provisioned.deviceId, id);
        assert.deepEqual(await bench().inspect('census'), ONE_OF_EACH);
      }
    });
  });
}
