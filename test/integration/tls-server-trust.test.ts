/** What a gateway has to prove beside a certificate of the right CA, against servers that do not. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import { createServer as createTcpServer, connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { X509Certificate } from 'node:crypto';
import { createSecureContext, type TLSSocket } from 'node:tls';

import { isOtaError } from '../../agent/errors.ts';
import { followCrls, readCrls } from '../../agent/io/crl-files.ts';
import { HttpClient, type HttpOptions } from '../../agent/io/http.ts';
import { verifyStaple } from '../../agent/io/ocsp.ts';
import type { ServerPolicy } from '../../agent/io/tls-policy.ts';
import { pinOf } from '../../agent/io/tls-pins.ts';
import { contextOptions, type ServerTrust } from '../../agent/io/tls.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { makeAuthority, makeLeaf, type Authority, type Leaf } from '../support/certificates.ts';
import { EARLY_DATA, extensionsOf, PRE_SHARED_KEY } from '../support/client-hello.ts';
import { RevocationBooks } from '../support/revocation.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const HOUR_MS = 3_600_000;
const NAMES = { alternativeNames: 'DNS:localhost,IP:127.0.0.1' };

describe('what the gateway has to prove', () => {
  const directory = temporaryDirectory('trust');
  let authority: Authority;
  let gateway: Leaf;
  let books: RevocationBooks;
  let server: Server;
  let resumed: boolean[];
  let requests: number;
  let staple: Buffer | undefined;
  let clients: HttpClient[];

  before(() => {
    authority = makeAuthority(directory.path, 'gateway');
    gateway = makeLeaf(directory.path, authority, { commonName: 'gateway', ...NAMES });
  });
  after(() => {
    directory.remove();
  });
  beforeEach(async (t) => {
    [resumed, requests, clients, staple] = [[], 0, [], undefined];
    books = new RevocationBooks(join(directory.path, t.name.replace(/\W/gu, '-')), authority);
    books.enter(gateway.certificatePem, 'good');
    await listen({ cert: gateway.certificatePem, key: gateway.keyPem });
  });
  afterEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    server.closeAllConnections();
    server.close();
  });

  const listen = async (options: object): Promise<void> => {
    server = createServer(options, (_request, response) => {
      requests += 1;
      response.setHeader('connection', 'close').end('answer');
    });
    server.on('secureConnection', (socket: TLSSocket) => resumed.push(socket.isSessionReused()));
    server.on('OCSPRequest', (_cert: Buffer, _issuer: Buffer, answer: Answer) => {
      answer(null, staple ?? null);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
  };
  const relisten = async (options: object): Promise<void> => {
    server.close();
    await listen(options);
  };
  const trust = (more: ServerTrust = {}): ServerTrust => ({
    caPem: authority.certificatePem,
    ...more,
  });
  const client = (
    policy: Partial<ServerPolicy> = {},
    secureContext: HttpOptions['secureContext'] = createSecureContext(contextOptions(trust())),
  ): HttpClient => {
    const now = (): Instant => Date.now() as Instant;
    const made = new HttpClient({
      secureContext,
      timeoutMs: 2000,
      userAgent: 'ota-agent/test',
      policy: { pins: [], now, ...policy },
    });
    clients.push(made);
    return made;
  };
  const get = async (http: HttpClient, port = portOf(server)): Promise<number> => {
    const url = `https://127.0.0.1:${String(port)}/`;
    const response = await http.send({ method: 'GET', url });
    await response.discard();
    return response.status;
  };
  /** Refused after the handshake and before the first byte of a request. */
  const refused = async (http: HttpClient, cause: RegExp, remedy: RegExp): Promise<void> => {
    await assert.rejects(get(http), (error) => {
      assert.ok(isOtaError(error) && error.code === 'GATEWAY_TLS', String(error));
      assert.match(error.details.cause, cause);
      assert.match(error.details.remedy, remedy);
      return true;
    });
    assert.equal(requests, 0);
  };

  describe('pinned keys (RFC 7469)', () => {
    const pin = (pem: string): string => pinOf(new X509Certificate(pem));

    test('its own key or that of its CA will do, and one of several', async () => {
      const other = pin(makeAuthority(directory.path, 'next').certificatePem);
      for (const pem of [gateway.certificatePem, authority.certificatePem]) {
        assert.equal(await get(client({ pins: [other, pin(pem)] })), 200);
      }
    });

    test('a pin is what the commands of RFC 7469, appendix A, print', () => {
      const input = gateway.certificatePem;
      const command =
        'openssl x509 -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary';
      const digest = execFileSync('sh', ['-c', command], { input });
      assert.equal(pin(gateway.certificatePem), `sha256/${digest.toString('base64')}`);
    });

    test('a gateway of the right CA with other keys is refused, and the pin it has is named', async () => {
      const other = pin(makeAuthority(directory.path, 'next').certificatePem);
      const offered = pin(gateway.certificatePem).replace(/[+/]/gu, '\\$&');
      await refused(client({ pins: [other] }), new RegExp(offered, 'u'), new RegExp(offered, 'u'));
    });

    test('a certificate that a stranger only adds to his own chain proves nothing', async () => {
      // Two CAs of one name; the pin is that of the one that did not sign.
      const [real, rogue] = ['a', 'b'].map((name) =>
        makeAuthority(subdirectory(directory.path, name), 'twin'),
      );
      assert.ok(real !== undefined && rogue !== undefined);
      const leaf = makeLeaf(subdirectory(directory.path, 'b'), rogue, {
        commonName: 'rogue',
        ...NAMES,
        extensions: ['authorityKeyIdentifier=none'],
      });
      await relisten({ cert: leaf.certificatePem + real.certificatePem, key: leaf.keyPem });
      const caPem = rogue.certificatePem;
      const context = createSecureContext(contextOptions({ caPem }));
      assert.equal(await get(client({}, context)), 200);
      requests = 0;
      await refused(
        client({ pins: [pin(real.certificatePem)] }, context),
        /gateway\.pins/u,
        /add/u,
      );
    });
  });

  describe('lists of revoked certificates (RFC 5280 §5)', () => {
    const withCrls = (...paths: string[]): HttpClient =>
      client({}, createSecureContext(contextOptions(trust({ crls: readCrls(paths) }))));

    test('a gateway that is on none is spoken to, PEM or DER', async () => {
      const pem = books.crl();
      assert.equal(await get(withCrls(pem)), 200);
      const der = `${pem}.der`;
      const body = readFileSync(pem, 'utf8').replace(/-----[^-]+-----/gu, '');
      writeFileSync(der, Buffer.from(body, 'base64'));
      assert.equal(await get(withCrls(der)), 200);
    });

    test('one that was revoked is refused', async () => {
      books.enter(gateway.certificatePem, 'revoked');
      await refused(withCrls(books.crl()), /CERT_REVOKED/u, /do not trust it/u);
    });

    test('a list that has ended, or is of another CA, says to bring a current one', async () => {
      await refused(withCrls(books.crl(0)), /CRL_HAS_EXPIRED/u, /gateway\.crl/u);
      const other = makeAuthority(directory.path, 'elsewhere');
      const foreign = new RevocationBooks(subdirectory(directory.path, 'foreign'), other).crl();
      await refused(withCrls(foreign), /UNABLE_TO_GET_CRL/u, /gateway\.crl/u);
    });

    test('a list that is replaced counts for the next connection, resumable or not', async () => {
      const path = join(directory.path, 'current.crl');
      copyFileSync(books.crl(), path);
      const identity = {
        certificate: { fingerprint: 'of nobody' },
        trust: trust({ crls: readCrls([path]) }),
        contextFor: (changed: ServerTrust) => createSecureContext(contextOptions(changed)),
      };
      const secureContext = identity.contextFor(identity.trust);
      const whole = { ...identity, secureContext };
      const followed = followCrls([path], () => whole);
      const http = client({}, followed);
      assert.equal(await get(http), 200);
      assert.equal(await get(http), 200);
      assert.deepEqual(resumed, [false, true]);
      books.enter(gateway.certificatePem, 'revoked');
      copyFileSync(books.crl(), path);
      requests = 0;
      await refused(http, /CERT_REVOKED/u, /do not trust it/u);
      writeFileSync(path, 'no list');
      assert.equal(http.leaveSessions(), undefined);
      await assert.rejects(
        get(http),
        (error) => isOtaError(error) && error.code === 'FILE_UNREADABLE',
      );
    });
  });

  describe('stapled OCSP (RFC 6960)', () => {
    const stapled = (now?: number): HttpClient =>
      client({ verifyStaple, ...(now === undefined ? {} : { now: () => now as Instant }) });

    test('an answer of the CA that all is well', async () => {
      staple = books.ocsp(gateway.certificatePem);
      assert.equal(await get(stapled()), 200);
    });

    test('an answer of a responder that the CA has certified for that', async () => {
      const signer = makeLeaf(directory.path, authority, {
        commonName: 'responder',
        extensions: ['extendedKeyUsage=OCSPSigning'],
      });
      staple = books.ocsp(gateway.certificatePem, signer);
      assert.equal(await get(stapled()), 200);
    });

    test('no answer is a refusal: who was revoked would leave it out', async () => {
      await refused(stapled(), /OCSP: it sent no answer/u, /staple/u);
    });

    test('revoked, and unknown to its CA', async () => {
      books.enter(gateway.certificatePem, 'revoked');
      staple = books.ocsp(gateway.certificatePem);
      await refused(stapled(), /was revoked at 2025-01-01/u, /do not trust it/u);
      books.enter(gateway.certificatePem, 'unknown');
      staple = books.ocsp(gateway.certificatePem);
      await refused(stapled(), /does not know/u, /another one/u);
    });

    test('an answer of yesterday, and one from the future, by the best known time', async () => {
      staple = books.ocsp(gateway.certificatePem);
      await refused(stapled(Date.now() + 25 * HOUR_MS), /the answer ended at/u, /staple/u);
      await refused(stapled(Date.now() - HOUR_MS), /the answer is of/u, /clock/u);
    });

    test('an answer about another certificate of the same CA', async () => {
      const other = makeLeaf(directory.path, authority, { commonName: 'other', ...NAMES });
      books.enter(other.certificatePem, 'good');
      staple = books.ocsp(other.certificatePem);
      await refused(stapled(), /about another certificate/u, /staple/u);
    });

    test('an answer by a certificate of the CA that is not for that, or by a stranger', async () => {
      const server = makeLeaf(directory.path, authority, {
        commonName: 'server',
        extensions: ['extendedKeyUsage=serverAuth'],
      });
      staple = books.ocsp(gateway.certificatePem, server);
      await refused(stapled(), /not signed by its CA/u, /staple/u);
      const stranger = makeAuthority(directory.path, 'stranger');
      const signer = makeLeaf(directory.path, stranger, {
        commonName: 'strange',
        extensions: ['extendedKeyUsage=OCSPSigning'],
      });
      staple = books.ocsp(gateway.certificatePem, signer);
      await refused(stapled(), /not signed by its CA/u, /staple/u);
    });

    test('an answer that was tampered with, cut off, or is none', async () => {
      const good = books.ocsp(gateway.certificatePem);
      const tampered = Buffer.from(good);
      const at = tampered.indexOf(Buffer.from('18', 'hex'), 100);
      tampered[at + 5] = (tampered[at + 5] ?? 0) ^ 1;
      for (const bad of [tampered, good.subarray(0, 100), Buffer.from('no answer')]) {
        staple = bad;
        await refused(stapled(), /OCSP: /u, /staple/u);
      }
    });
  });

  describe('session tickets', () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      test(`${version}: a proof counts for connections that resume, and no longer than it says`, async () => {
        await relisten({
          cert: gateway.certificatePem,
          key: gateway.keyPem,
          maxVersion: version,
        });
        staple = books.ocsp(gateway.certificatePem);
        let late = 0;
        const now = (): Instant => (Date.now() + late) as Instant;
        const http = client({ verifyStaple, now });
        for (let poll = 0; poll < 3; poll += 1) await get(http);
        assert.deepEqual(resumed, [false, true, true]);
        late = 25 * HOUR_MS;
        requests = 0;
        await refused(http, /the answer ended at/u, /staple/u);
      });
    }

    test('a gateway that was refused is not resumed with its ticket', async () => {
      const http = client({ pins: [`sha256/${'A'.repeat(43)}=`] });
      for (let poll = 0; poll < 2; poll += 1) await refused(http, /gateway\.pins/u, /add/u);
      assert.ok(!resumed.includes(true));
    });

    test('nothing is sent before the gateway has answered (0-RTT can be replayed, RFC 8446 §8)', async () => {
      const hellos: Buffer[] = [];
      const tap = createTcpServer((downstream) => {
        const upstream = connect(portOf(server), '127.0.0.1');
        downstream.once('data', (first: Buffer) => hellos.push(first));
        downstream.pipe(upstream).pipe(downstream);
        for (const socket of [upstream, downstream]) socket.on('error', () => socket.destroy());
      });
      await once(tap.listen(0, '127.0.0.1'), 'listening');
      try {
        const http = client();
        for (let poll = 0; poll < 2; poll += 1) await get(http, portOf(tap));
      } finally {
        tap.close();
      }
      assert.deepEqual(resumed, [false, true]);
      const offered = hellos.map(extensionsOf);
      assert.deepEqual(
        offered.map((types) => [types.includes(PRE_SHARED_KEY), types.includes(EARLY_DATA)]),
        [
          [false, false],
          [true, false],
        ],
      );
    });
  });

  test('TLS 1.2 is spoken where nothing else is there, unless tls_min says 1.3', async () => {
    await relisten({ cert: gateway.certificatePem, key: gateway.keyPem, maxVersion: 'TLSv1.2' });
    assert.equal(await get(client()), 200);
    requests = 0;
    const strict = createSecureContext(contextOptions(trust({ minVersion: 'TLSv1.3' })));
    await refused(client({}, strict), /PROTOCOL_VERSION/u, /TLS/u);
  });
});

type Answer = (error: null, response: Buffer | null) => void;
function portOf(server: { address(): unknown }): number {
  return (server.address() as AddressInfo).port;
}

function subdirectory(parent: string, name: string): string {
  const path = join(parent, name);
  mkdirSync(path, { recursive: true });
  return path;
}
