/** TLS sessions taken up again: what that costs, and what becomes of it when the other side cannot. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import { HttpClient, type HttpOptions } from '../../agent/io/http.ts';
import type { LeftSessions } from '../../agent/io/tls-tickets.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { makeAuthority, makeLeaf, type Authority, type Leaf } from '../support/certificates.ts';
import { startRelay, type Passed } from '../support/relay.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const HOST = '127.0.0.1';

describe('a TLS session', () => {
  const directory = temporaryDirectory('resumption');
  let authority: Authority;
  let gateway: Leaf;
  let device: Leaf;
  let server: Server;
  let port: number;
  let http: HttpClient;
  /** Of each connection that was secured. */
  let resumed: boolean[];
  /** Who sent each request. */
  let devices: unknown[];
  let connections: number;
  const clients: HttpClient[] = [];

  before(() => {
    authority = makeAuthority(directory.path, 'gateway');
    gateway = leafOf(authority, 'gateway');
    device = makeLeaf(directory.path, authority, { commonName: 'device-1' });
  });
  after(() => {
    directory.remove();
  });
  beforeEach(async () => {
    resumed = [];
    devices = [];
    connections = 0;
    await listen(gateway, 0);
    http = client();
  });
  afterEach(async () => {
    for (const each of clients.splice(0)) await each.close();
    await unlisten();
  });

  const client = (more: Partial<HttpOptions> = {}, grounds = 'the same'): HttpClient => {
    const { certificatePem: cert, keyPem: key } = device;
    const secureContext = createSecureContext({ ca: authority.certificatePem, cert, key });
    const context = { secureContext, grounds };
    const options = { timeoutMs: 5000, userAgent: 'ota-agent/test', ...more };
    const opened = new HttpClient({ ...options, secureContext: () => context });
    clients.push(opened);
    return opened;
  };

  const leafOf = (by: Authority, commonName: string): Leaf =>
    makeLeaf(directory.path, by, { commonName, alternativeNames: `IP:${HOST}` });

  const listen = async ({ certificatePem: cert, keyPem: key }: Leaf, at: number): Promise<void> => {
    const ca = authority.certificatePem;
    const client = { requestCert: true, rejectUnauthorized: true };
    const options = { cert, key, ca, ...client, sessionTimeout: 300 };
    server = createServer(options, ({ socket }, response) => {
      assert.ok(socket instanceof TLSSocket);
      devices.push(socket.getPeerCertificate().subject.CN);
      response.setHeader('connection', 'close').end('answer');
    });
    server.on('connection', () => {
      connections += 1;
    });
    server.on('secureConnection', (socket) => {
      resumed.push(socket.isSessionReused());
    });
    server.listen(at, HOST);
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  };

  const unlisten = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };

  const get = async (by = port, from = http): Promise<void> => {
    const response = await from.send({ method: 'GET', url: `https://${HOST}:${String(by)}/` });
    await response.discard();
  };

  test('is resumed for a fraction of the bytes that a full handshake with ML-KEM takes', async () => {
    const relay = await startRelay(port);
    try {
      await get(relay.port);
      const full = relay.take();
      await get(relay.port);
      const again = relay.take();
      assert.deepEqual(resumed, [false, true]);
      const sum = ({ bytesUp, bytesDown }: Passed): number => bytesUp + bytesDown;
      assert.ok(sum(again) < sum(full) / 3, `${String(sum(again))} of ${String(sum(full))} bytes`);
    } finally {
      relay.close();
    }
  });

  test('that the gateway has forgotten is followed by a full handshake at once, with the certificate', async () => {
    await get();
    server.setTicketKeys(randomBytes(48));
    await get();
    await get();
    assert.deepEqual(devices, ['device-1', 'device-1', 'device-1']);
    assert.equal(resumed.at(-1), true);
  });

  test('is no way in for an impostor, who has the address but not the session', async () => {
    await get();
    await unlisten();
    await listen(leafOf(makeAuthority(directory.path, 'impostor'), 'impostor'), port);
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await assert.rejects(get(), (error) => isOtaError(error) && error.code === 'GATEWAY_TLS');
    }
    assert.deepEqual(devices, ['device-1']);
  });

  test('is not offered when the lifetime that its server gave it is over (RFC 8446 §4.6.1)', async () => {
    let now = Date.now();
    http = client({ policy: { pins: [], now: () => now as Instant } });
    await get();
    now += 299_000;
    await get();
    now += 2000;
    await get();
    assert.deepEqual(resumed, [false, true, false]);
    assert.equal(connections, 3, 'none came to nothing');
  });

  describe('that one process leaves to the next', () => {
    /** As it arrives between processes. */
    const left = (from = http): LeftSessions | undefined => structuredClone(from.leaveSessions());

    test('is resumed in the first connection, as the same device', async () => {
      await get();
      await get(port, client({ sessions: left() }));
      assert.deepEqual(resumed, [false, true]);
      assert.equal(connections, 2);
      assert.deepEqual(devices, ['device-1', 'device-1']);
    });

    test('is nothing to a process with another identity, or that trusts others', async () => {
      await get();
      await get(port, client({ sessions: left() }, 'others'));
      assert.deepEqual(resumed, [false, false]);
      assert.equal(connections, 2);
    });

    test('is left again by a process that has not asked its server for anything', async () => {
      await get();
      const idle = client({ sessions: left() });
      await get(port, client({ sessions: left(idle) }));
      assert.deepEqual(resumed, [false, true]);
    });

    test('is gone once its grounds have changed', async () => {
      await get();
      const again = client({ sessions: left() }, 'others');
      assert.deepEqual(again.leaveSessions(), { grounds: 'others', tickets: [] });
    });
  });
});
