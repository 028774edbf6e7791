import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect, type SecureVersion } from 'node:tls';

import type { DeviceTraffic } from '../director/gateway/traffic.ts';
import { openssl } from '../director/pki/openssl.ts';
import { createRequest } from '../director/simulated/device.ts';
import { startFixture, type Fixture } from './director-fixture.ts';

let fixture: Fixture;

before(async () => {
  fixture = await startFixture();
});
after(async () => {
  await fixture.end();
});

interface Credentials {
  readonly key: string;
  readonly pem: string;
}

interface ClientResult {
  readonly exitCode: number;
  /** Everything s_client said. */
  readonly text: string;
}

/** One request with `openssl s_client`, with or without a certificate. */
async function sClient(
  version: '-tls1_2' | '-tls1_3',
  credentials: Credentials | undefined,
): Promise<ClientResult> {
  const { host } = new URL(fixture.director.gatewayUrl);
  const common = ['-connect', host, '-CAfile', fixture.director.caPath, '-verify_return_error'];
  const own = credentials === undefined ? [] : ownFiles(credentials);
  const child = spawn('openssl', ['s_client', version, '-quiet', ...common, ...own], {
    timeout: 20_000,
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  // A refused client may be gone before it has read its input.
  child.stdin.on('error', () => undefined);
  child.stdin.end('GET /repo/timestamp.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const [code] = (await once(child, 'close')) as [number | null];
  return { exitCode: code ?? -1, text };
}

function ownFiles({ key, pem }: Credentials): readonly string[] {
  const paths = {
    key: join(fixture.directory, 'client-key.pem'),
    cert: join(fixture.directory, 'client.pem'),
  };
  writeFileSync(paths.key, key);
  writeFileSync(paths.cert, pem);
  return ['-key', paths.key, '-cert', paths.cert];
}

async function credentials(id: string, dates?: { notBefore: string; notAfter: string }) {
  const { key, csr } = await createRequest(id);
  const { pem, serial } = await fixture.director.certify(csr, dates);
  return { key, pem, serial };
}

/** A certificate for a device that exists, by a CA that is not ours. */
async function foreignCredentials(caName: string): Promise<Credentials> {
  const { directory: cwd } = fixture;
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout'];
  await openssl(['req', '-x509', ...key, 'ca-key', '-out', 'ca', '-subj', `/CN=${caName}`], {
    cwd,
  });
  await openssl(['req', ...key, 'leaf-key', '-out', 'leaf.csr', '-subj', '/CN=tls-good'], { cwd });
  const ca = ['-CA', 'ca', '-CAkey', 'ca-key', '-CAcreateserial'];
  const pem = await openssl(['x509', '-req', '-in', 'leaf.csr', ...ca], { cwd });
  return { key: readFileSync(join(cwd, 'leaf-key'), 'utf8'), pem: pem.toString() };
}

async function stats(): Promise<{
  readonly devices: Readonly<Record<string, DeviceTraffic>>;
  readonly refusedHandshakes: readonly string[];
}> {
  return (await fixture.director.control('GET', '/stats')) as Awaited<ReturnType<typeof stats>>;
}

/**
 * Neither an answer nor a counted connection, and the reason is known to the server. Node ends the
 * connection of a certificate that does not verify without an alert.
 */
async function refusedBy(
  version: '-tls1_2' | '-tls1_3',
  who: Credentials | undefined,
  reason: RegExp,
) {
  await fixture.director.control('DELETE', '/stats');
  const { text } = await sClient(version, who);
  assert.doesNotMatch(text, /HTTP\/1\.1/u);
  const { devices, refusedHandshakes } = await stats();
  assert.deepEqual(devices, {});
  assert.equal(refusedHandshakes.length, 1);
  assert.match(refusedHandshakes[0] ?? '', reason);
  return text;
}

for (const version of ['-tls1_2', '-tls1_3'] as const) {
  describe(`the gateway over TLS, openssl s_client ${version}`, () => {
    test('answers a device of its CA', async () => {
      const { text, exitCode } = await sClient(version, await credentials('tls-good'));
      assert.match(text, /HTTP\/1\.1 200 OK/u);
      assert.equal(exitCode, 0);
    });

    test('refuses a client without a certificate in the handshake', async () => {
      const text = await refusedBy(version, undefined, /PEER_DID_NOT_RETURN_A_CERTIFICATE/u);
      // TLS 1.2 has no alert of its own for this.
      assert.match(text, /alert (?:certificate required|handshake failure)/u);
    });

    test('refuses a certificate of another CA, also of one that took the name of ours', async () => {
      for (const name of ['some CA', 'ota-agent test device CA']) {
        const foreign = await foreignCredentials(name);
        const reason =
          /^(?:UNABLE_TO_GET_CRL|UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE)$/u;
        await refusedBy(version, foreign, reason);
      }
    });

    test('refuses an expired certificate', async () => {
      const dates = { notBefore: '2020-01-01T00:00:00Z', notAfter: '2021-01-01T00:00:00Z' };
      const expired = await credentials('tls-expired', dates);
      await refusedBy(version, expired, /^CERT_HAS_EXPIRED$/u);
    });

    test('refuses a certificate that is not valid yet', async () => {
      const dates = { notBefore: '2100-01-01T00:00:00Z', notAfter: '2101-01-01T00:00:00Z' };
      await refusedBy(version, await credentials('tls-early', dates), /^CERT_NOT_YET_VALID$/u);
    });

    test('refuses a revoked certificate, and only that one', async () => {
      const [revoked, other] = [await credentials('tls-revoked'), await credentials('tls-revoked')];
      assert.match((await sClient(version, revoked)).text, /HTTP\/1\.1 200 OK/u);
      await fixture.director.control('DELETE', `/certificates/${revoked.serial}`);
      await refusedBy(version, revoked, /^CERT_REVOKED$/u);
      assert.match((await sClient(version, other)).text, /HTTP\/1\.1 200 OK/u);
    });
  });
}

describe('the gateway over TLS', () => {
  test('does not speak TLS 1.1', async () => {
    const { hostname, port } = new URL(fixture.director.gatewayUrl);
    const socket = connect({
      host: hostname,
      port: Number(port),
      minVersion: 'TLSv1.1' satisfies SecureVersion,
      maxVersion: 'TLSv1.1',
      rejectUnauthorized: false,
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    assert.match(String(error.code), /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/u);
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`counts one connection for requests kept alive, and resumed sessions, with ${version}`, async () => {
      const id = `tls-${version}`;
      const device = (await fixture.newDevice(id)).reconnect(fixture.director, version);
      await fixture.director.control('DELETE', '/stats');
      for (let poll = 0; poll < 3; poll += 1) await device.get('/director/targets.json');
      const kept = (await stats()).devices[id];
      assert.deepEqual([kept?.connections, kept?.sessionsReused, kept?.requests], [1, 0, 3]);
      await device.get('/director/targets.json', { connection: 'close' });
      await device.get('/director/targets.json');
      const resumed = (await stats()).devices[id];
      assert.deepEqual(
        [resumed?.connections, resumed?.sessionsReused, resumed?.requests],
        [2, 1, 5],
      );
      assert.ok(kept && resumed && resumed.bytesIn > kept.bytesIn && kept.bytesIn > 0);
      device.close();
    });
  }

  test('counts bytes on the wire: more than the body, and from zero after a reset', async () => {
    const device = await fixture.newDevice('tls-bytes');
    const { body } = await device.get('/repo/root.json');
    const first = (await stats()).devices['tls-bytes'];
    assert.ok(first && first.bytesOut > body.length && first.bytesOut < body.length + 10_000);
    await fixture.director.control('DELETE', '/stats');
    assert.equal((await stats()).devices['tls-bytes']?.bytesOut, 0);
    await device.get('/repo/root.json');
    const second = (await stats()).devices['tls-bytes'];
    assert.equal(second?.connections, 0);
    assert.ok(second.bytesOut > body.length && second.bytesOut < first.bytesOut);
  });

  test('cuts the connection of a certificate that is revoked, and its session with it', async () => {
    const device = await fixture.newDevice('tls-cut');
    assert.equal((await device.get('/repo/timestamp.json')).status, 200);
    const all = (await fixture.director.control('GET', '/certificates')) as {
      deviceId: string;
      serial: string;
    }[];
    const { serial } = all.find((one) => one.deviceId === 'tls-cut') ?? { serial: '' };
    await fixture.director.control('DELETE', `/certificates/${serial}`);
    await assert.rejects(device.get('/repo/timestamp.json'));
    await assert.rejects(device.get('/repo/timestamp.json'));
    const { refusedHandshakes } = await stats();
    assert.ok(refusedHandshakes.includes('CERT_REVOKED'));
  });

  test('lists the requests of a device in order', async () => {
    const device = await fixture.newDevice('tls-requests');
    await device.get('/repo/timestamp.json');
    await device.get('/repo/2.root.json');
    const lines = (await fixture.director.control('GET', '/requests?device=tls-requests')) as {
      method: string;
      path: string;
      status: number;
    }[];
    assert.deepEqual(
      lines.map(({ method, path, status }) => [method, path, status]),
      [
        ['GET', '/repo/timestamp.json', 200],
        ['GET', '/repo/2.root.json', 424],
      ],
    );
  });
});
