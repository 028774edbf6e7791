/** Mutual TLS with the token's key, against a server that knows nothing of tokens. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { TLSSocket, type SecureVersion } from 'node:tls';

import { makeAuthority, makeLeaf, type Authority } from '../support/certificates.ts';
import { certify } from '../support/certify.ts';
import { inChild, type Outcome } from '../support/in-child.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { SO_PIN, USER_PIN, type TokenKind, type TokenWorld } from '../support/token-world.ts';

const SCENARIOS = join(import.meta.dirname, 'tls.scenarios.ts');
const DAY_MS = 86_400_000;

export function tlsContract(kind: TokenKind): void {
  describe(`mutual TLS with a key in ${kind.name}`, () => {
    const pki = temporaryDirectory('tls');
    let authority: Authority;
    let world: TokenWorld;
    let server: Server;

    before(() => {
      authority = makeAuthority(pki.path, 'devices');
    });
    after(() => {
      pki.remove();
    });
    beforeEach(async () => {
      world = await kind.open();
      server = await listen('TLSv1.3');
    });
    afterEach(async () => {
      await closeServer();
      await world.close();
    });

    const listen = async (version: SecureVersion): Promise<Server> => {
      const alternativeNames = 'DNS:localhost';
      const leaf = makeLeaf(pki.path, authority, { commonName: 'localhost', alternativeNames });
      const options = {
        key: leaf.keyPem,
        cert: leaf.certificatePem,
        ca: authority.certificatePem,
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: version,
        maxVersion: version,
      };
      const listening = createServer(options, (request, response) => {
        const { socket } = request;
        if (!(socket instanceof TLSSocket)) throw new Error('not TLS');
        const { CN } = socket.getPeerCertificate().subject;
        response.end([socket.getProtocol(), CN].join(' '));
      });
      await once(listening.listen(0, 'localhost'), 'listening');
      return listening;
    };
    const closeServer = async (): Promise<void> => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    };
    const run = async (name: string, more: object = {}): Promise<Outcome> => {
      const { port } = server.address() as AddressInfo;
      const caPem = authority.certificatePem;
      const args = { settings: world.settings, port, caPem, ...more };
      const outcome = await inChild(SCENARIOS, name, args, world.env);
      const everything = JSON.stringify(outcome);
      assert.ok(!everything.includes(USER_PIN), 'shows the user PIN');
      assert.ok(!everything.includes(SO_PIN), 'shows the SO PIN');
      return outcome;
    };
    const value = async (name: string, more: object = {}): Promise<unknown> => {
      const outcome = await run(name, more);
      assert.equal(outcome.text, undefined, outcome.output);
      return outcome.value;
    };
    /** @returns the certificate of a device that is complete */
    const provisioned = async (tlsKey = 'ec-p256', uptaneKey = 'rsa-2048'): Promise<string> => {
      const publicKey = String(await value('prepare', { tlsKey, uptaneKey }));
      const commonName = 'device-0001';
      const certificatePem = certify(pki.path, authority, publicKey, { commonName });
      await value('store', { certificatePem });
      return certificatePem;
    };

    for (const tlsKey of ['ec-p256', 'rsa-2048']) {
      for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
        test(`authenticates with ${tlsKey} over ${version}, again and again`, async () => {
          const certificatePem = await provisioned(tlsKey);
          await closeServer();
          server = await listen(version);
          const greeting = `${version} device-0001`;
          assert.deepEqual(await value('greet', { certificatePem }), [greeting, greeting]);
        });
      }
    }

    test('polls of a daemon resume the session and leave the token alone', async () => {
      const certificatePem = await provisioned();
      const resumed: boolean[] = [];
      server.on('secureConnection', (socket: TLSSocket) => resumed.push(socket.isSessionReused()));
      server.prependListener('request', (_request, response: ServerResponse) => {
        response.setHeader('connection', 'close');
      });
      const greeting = 'TLSv1.3 device-0001';
      assert.deepEqual(await value('poll', { certificatePem }), Array(3).fill(greeting));
      assert.deepEqual(resumed, [false, true, true]);
    });

    test('shares the token with the signer of manifests, handshake by handshake', async () => {
      const certificatePem = await provisioned();
      const [signature, greeting] = [344, 'TLSv1.3 device-0001'];
      assert.deepEqual(await value('greetAndSign', { certificatePem }), [
        signature,
        greeting,
        signature,
        greeting,
        signature,
        'device-0001',
      ]);
    });

    test('works when the TLS engine was first to initialise the token', async () => {
      const certificatePem = await provisioned();
      const greeting = 'TLSv1.3 device-0001';
      const expected = [greeting, 344, greeting, greeting];
      assert.deepEqual(await value('engineFirst', { certificatePem }), expected);
    });

    test('goes on after the agent has closed its own session', async () => {
      const certificatePem = await provisioned();
      const expected = ['TLSv1.3 device-0001', 'whole'];
      assert.deepEqual(await value('greetAfterClose', { certificatePem }), expected);
    });

    const besideEd25519 = { skip: !kind.keyTypes.includes('ed25519') };
    test(
      'works beside an Ed25519 key, or says that this libp11 cannot',
      besideEd25519,
      async () => {
        const certificatePem = await provisioned('ec-p256', 'ed25519');
        const outcome = await run('greet', { certificatePem });
        if (outcome.text === undefined) {
          const greeting = 'TLSv1.3 device-0001';
          assert.deepEqual(outcome.value, [greeting, greeting]);
          return;
        }
        assert.equal(outcome.code, 'TOKEN_OBJECT');
        assert.match(String(outcome.details['remedy']), /libp11 0\.4\.13 or .*rsa-2048/u);
      },
    );

    test('says how to install the engine when it is not there', async () => {
      const certificatePem = await provisioned();
      const env = { ...world.env, OPENSSL_ENGINES: '/nonexistent' };
      const args = { settings: world.settings, port: 0, caPem: '', certificatePem };
      const { code, details } = await inChild(SCENARIOS, 'greet', args, env);
      assert.equal(code, 'TOKEN_MODULE');
      assert.match(
        String(details['cause']),
        /^engine: no pkcs11\.so in \/nonexistent; provider: .*OPENSSL_CONF/u,
      );
      assert.match(String(details['remedy']), /apt-get install libengine-pkcs11-openssl/u);
    });

    describe('identity', () => {
      test('names what is missing, piece by piece', async () => {
        const missing = async (): Promise<unknown> => {
          const { code, details } = await run('loadOnly');
          assert.equal(code, 'NOT_PROVISIONED');
          assert.equal(details['remedy'], 'run "ota-agent provision"');
          return details['missing'];
        };
        const publicKey = String(
          await value('prepare', { tlsKey: 'ec-p256', uptaneKey: 'rsa-2048' }),
        );
        assert.match(String(await missing()), /^certificate "ota-agent-tls"/u);
        const commonName = 'device-0001';
        const certificatePem = certify(pki.path, authority, publicKey, { commonName });
        await value('store', { certificatePem });
        await value('destroy', { key: 'uptane' });
        assert.match(String(await missing()), /^Uptane key "ota-agent-uptane"/u);
        await value('destroy', { key: 'tls' });
        assert.match(String(await missing()), /^TLS key "ota-agent-tls"/u);
      });

      test('refuses a certificate for another key', async () => {
        await provisioned();
        const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
        const pem = foreign.export({ type: 'spki', format: 'pem' }).toString();
        const commonName = 'device-0001';
        const certificatePem = certify(pki.path, authority, pem, { commonName });
        await value('store', { certificatePem });
        const { code, details } = await run('loadOnly');
        assert.equal(code, 'CERTIFICATE_INVALID');
        assert.equal(details['problem'], 'it is for another key than the one in the token');
      });

      test('refuses a certificate before its time and after it', async () => {
        await provisioned();
        assert.equal(await value('loadOnly'), 'device-0001');
        const refused = async (now: number): Promise<unknown> => {
          const { code, details } = await run('loadOnly', { now });
          assert.equal(code, 'CERTIFICATE_INVALID');
          return details;
        };
        const late = (await refused(Date.now() + 31 * DAY_MS)) as Record<string, string>;
        assert.match(late['problem'] ?? '', /^it expired at \d{4}-/u);
        assert.match(late['remedy'] ?? '', /provision/u);
        const early = (await refused(0)) as Record<string, string>;
        assert.match(early['problem'] ?? '', /^it is not valid before .* it is 1970-01-01T/u);
        assert.equal(early['remedy'], 'set the clock');
      });
    });
  });
}
