/** A device whose certificate is missing, foreign, revoked or expired, as its operator sees it. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { startDirector } from '../director/start.ts';
import { makeLeaf } from '../support/certificates.ts';
import type { AgentResult } from '../support/device.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

describe('the identity of a device', () => {
  let world: World;
  before(async () => {
    world = await openWorld('provisioned');
  });
  after(() => world.close());

  const details = (result: AgentResult): Record<string, string> =>
    result.json['details'] as Record<string, string>;

  test('provisioning again finds everything done and changes nothing', async () => {
    const result = await world.device.agent(['provision']);
    assert.equal(result.exit, 0, said(result));
    const steps = result.json['steps'] as { outcome: string }[];
    assert.ok(steps.length >= 5);
    assert.deepEqual(new Set(steps.map(({ outcome }) => outcome)), new Set(['found done']));
  });

  test('a gateway of another fleet refuses the certificate: exit 21, and says whose fault it may be', async () => {
    const stateDir = join(world.directory, 'other-fleet');
    const other = await startDirector({ stateDir });
    const { device } = world;
    const own = {
      url: device.settings['gateway']?.['url'],
      ca: device.settings['gateway']?.['ca'],
    };
    try {
      device.configure({ gateway: { url: other.gatewayUrl, ca: other.caPath } });
      const result = await device.agent(['once']);
      assert.equal(result.exit, 21, said(result));
      assert.equal(result.json['code'], 'GATEWAY_TLS');
      assert.match(details(result)['cause'] ?? '', /alert|hung up/iu);
      assert.match(details(result)['remedy'] ?? '', /certificate/u);
    } finally {
      device.configure({ gateway: own });
      await other.stop();
    }
  });

  test('an expired certificate is found before anybody is asked: exit 50, with its date', async () => {
    const result = await world.device.agent(['once'], fakeClock('+400d'));
    assert.equal(result.exit, 50, said(result));
    assert.equal(result.json['code'], 'CERTIFICATE_INVALID');
    assert.match(details(result)['problem'] ?? '', /expired|ended/u);
    assert.match(details(result)['remedy'] ?? '', /provision|clock/u);
  });

  test('a revoked certificate is refused by the gateway: exit 21', async () => {
    const certificates = (await world.director.control('GET', '/certificates')) as {
      serial: string;
    }[];
    for (const { serial } of certificates) {
      await world.director.control('DELETE', `/certificates/${serial}`);
    }
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 21, said(result));
    assert.equal(result.json['code'], 'GATEWAY_TLS');
    assert.match(details(result)['remedy'] ?? '', /certificate/u);
  });

  test('a TLS key in a file works for development and migration, and is never passed over', async () => {
    const fresh = await openWorld('blank');
    try {
      const { device, directory } = fresh;
      const ca = join(directory, 'director', 'device-ca');
      const authority = {
        certificatePath: `${ca}.pem`,
        certificatePem: '',
        keyPath: `${ca}-key.pem`,
      };
      const leaf = makeLeaf(directory, authority, { commonName: 'device-1' });
      const [key, certificate] = [join(directory, 'tls.key'), join(directory, 'tls.pem')];
      writeFileSync(key, leaf.keyPem);
      writeFileSync(certificate, leaf.certificatePem);
      device.configure({
        token: { tls_backend: 'file' },
        identity: { tls_key_file: key, tls_certificate_file: certificate },
      });
      const provisioned = await device.agent(['provision']);
      assert.equal(provisioned.exit, 0, said(provisioned));
      assert.match(String(provisioned.json['warnings']), /whoever reads the disk is this device/u);
      const result = await device.agent(['once']);
      assert.equal(result.exit, 0, said(result));
      assert.match(result.stderr, /whoever reads the disk is this device/u);
      device.configure({ token: { tls_backend: 'auto' } });
      const contradiction = await device.agent(['once']);
      assert.equal(contradiction.exit, 2, said(contradiction));
      assert.equal(details(contradiction)['key'], 'identity.tls_key_file');
    } finally {
      await fresh.close();
    }
  });

  test('a device without a certificate is exit 3, and no private key lies on its disk', async () => {
    const fresh = await openWorld('blank');
    try {
      const csr = join(fresh.directory, 'device.csr');
      const certificate = join(fresh.directory, 'device.pem');
      fresh.device.configure({
        provisioning: { mode: 'manual', csr_file: csr, certificate_file: certificate },
      });
      const asked = await fresh.device.agent(['provision']);
      assert.equal(asked.exit, 3, said(asked));
      assert.ok(said(asked).includes(csr));
      assert.match(readFileSync(csr, 'utf8'), /BEGIN CERTIFICATE REQUEST/u);
      assert.doesNotMatch(readFileSync(csr, 'utf8'), /PRIVATE/u);
      const result = await fresh.device.agent(['once']);
      assert.equal(result.exit, 3, said(result));
    } finally {
      await fresh.close();
    }
  });
});
