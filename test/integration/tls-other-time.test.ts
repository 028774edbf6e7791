/** A gateway whose certificate holds at the best known time, and not by the system's clock. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createSecureContext, type TLSSocket } from 'node:tls';

import { isOtaError } from '../../agent/errors.ts';
import { readCrls } from '../../agent/io/crl-files.ts';
import { gatewayPolicy } from '../../agent/io/gateway-trust.ts';
import { HttpClient } from '../../agent/io/http.ts';
import { contextOptions, type ServerTrust } from '../../agent/io/tls.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { makeAuthority, makeLeaf, type Authority, type Leaf } from '../support/certificates.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { RevocationBooks } from '../support/revocation.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const DAY_MS = 86_400_000;
/** Within the life of CA and certificate, which were made 60 days ago for 30 days. */
const THEN_DAYS = 45;

describe('a wrong clock and the certificate of the gateway', () => {
  const directory = temporaryDirectory('other-time');
  const longAgo = fakeClock('-60d');
  let authority: Authority;
  let gateway: Leaf;
  let server: Server;
  let resumed: boolean[];
  let requests: number;
  let clients: HttpClient[];

  const leaf = (by: Authority, alternativeNames: string, commonName = 'gateway'): Leaf =>
    makeLeaf(directory.path, by, { commonName, alternativeNames, clock: longAgo });
  before(() => {
    authority = makeAuthority(directory.path, 'gateway', longAgo);
    gateway = leaf(authority, 'DNS:localhost,IP:127.0.0.1');
  });
  after(() => {
    directory.remove();
  });
  beforeEach(async () => {
    [resumed, requests, clients] = [[], 0, []];
    await listen(gateway);
  });
  afterEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    server.closeAllConnections();
    server.close();
  });

  const listen = async ({ certificatePem: cert, keyPem: key }: Leaf): Promise<void> => {
    server = createServer({ cert, key }, (_request, response) => {
      requests += 1;
      response.setHeader('connection', 'close').end('answer');
    });
    server.on('secureConnection', (socket: TLSSocket) => resumed.push(socket.isSessionReused()));
    await once(server.listen(0, '127.0.0.1'), 'listening');
  };
  /** A device whose best known time is so many days ago. */
  const client = (daysAgo: number, more: ServerTrust = {}): HttpClient => {
    const trust = { caPem: authority.certificatePem, ...more };
    const made = new HttpClient({
      secureContext: createSecureContext(contextOptions(trust)),
      timeoutMs: 5000,
      userAgent: 'ota-agent/test',
      policy: gatewayPolicy(trust, { now: () => (Date.now() - daysAgo * DAY_MS) as Instant }),
    });
    clients.push(made);
    return made;
  };
  const get = async (http: HttpClient, host = '127.0.0.1'): Promise<number> => {
    const url = `https://${host}:${String((server.address() as AddressInfo).port)}/`;
    const response = await http.send({ method: 'GET', url });
    await response.discard();
    return response.status;
  };
  const refused = async (http: HttpClient, cause: RegExp, remedy: RegExp): Promise<void> => {
    await assert.rejects(get(http), (error) => {
      assert.ok(isOtaError(error) && error.code === 'GATEWAY_TLS', String(error));
      assert.match(error.details.cause, cause);
      assert.match(error.details.remedy, remedy);
      return true;
    });
    assert.equal(requests, 0);
  };

  test('is judged by the best known time, by address and by name, each time anew', async () => {
    const http = client(THEN_DAYS);
    for (const host of ['127.0.0.1', 'localhost']) assert.equal(await get(http, host), 200);
    assert.equal(await get(http), 200);
    assert.ok(!resumed.includes(true));
  });

  test('a certificate that has ended, or not begun, by that time as well, points at the clock', async () => {
    for (const [days, problem] of [
      [20, /expired/u],
      [70, /not yet valid/u],
    ] as const) {
      await refused(client(days), problem, /set this device's clock/u);
    }
  });

  test('without another time than the system’s there is one verdict', async () => {
    await refused(client(0), /CERT_HAS_EXPIRED/u, /clock/u);
  });

  test('what OpenSSL has not come to because of the date is refused all the same', async () => {
    const names = 'DNS:localhost,IP:127.0.0.1';
    server.close();
    await listen(leaf(makeAuthority(directory.path, 'foreign', longAgo), names, 'foreign'));
    await refused(client(THEN_DAYS), /UNABLE_TO_VERIFY_LEAF|issuer/u, /gateway\.ca|clock/u);
    server.close();
    await listen(leaf(authority, 'DNS:elsewhere.example', 'elsewhere'));
    await refused(client(THEN_DAYS), /does not match certificate/u, /gateway\.url/u);
    server.close();
    const extensions = ['extendedKeyUsage=clientAuth'];
    const options = { commonName: 'client', alternativeNames: names, clock: longAgo, extensions };
    await listen(makeLeaf(directory.path, authority, options));
    await refused(client(THEN_DAYS), /purpose/u, /./u);
  });

  test('pins and lists of revoked certificates count as ever', async () => {
    const pins = [`sha256/${'A'.repeat(43)}=`];
    await refused(client(THEN_DAYS, { pins }), /gateway\.pins/u, /add sha256/u);
    const books = new RevocationBooks(join(directory.path, 'books'), authority);
    books.enter(gateway.certificatePem, 'revoked');
    const crls = readCrls([books.crl(30, longAgo)]);
    await refused(client(THEN_DAYS, { crls }), /revoked/u, /./u);
    books.enter(gateway.certificatePem, 'good');
    const clean = readCrls([books.crl(30, longAgo)]);
    assert.equal(await get(client(THEN_DAYS, { crls: clean })), 200);
  });

  test('without the program that judges by another time, the clock is named', async () => {
    const { PATH } = process.env;
    process.env['PATH'] = directory.path;
    try {
      await refused(client(THEN_DAYS), /ENOENT/u, /install openssl/u);
    } finally {
      process.env['PATH'] = PATH;
    }
  });

  test('a clock that lags does not let a certificate pass that has ended by the best known time', async () => {
    const current = makeAuthority(directory.path, 'current');
    server.close();
    await listen(
      makeLeaf(directory.path, current, {
        commonName: 'current',
        alternativeNames: 'IP:127.0.0.1',
      }),
    );
    const caPem = current.certificatePem;
    assert.equal(await get(client(-20, { caPem })), 200);
    requests = 0;
    await refused(client(-40, { caPem }), /has ended/u, /renew the gateway/u);
  });
});
