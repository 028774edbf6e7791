import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createSecureContext, type TLSSocket } from 'node:tls';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { isOtaError, type FailureCode } from '../../agent/errors.ts';
import { HttpClient } from '../../agent/io/http.ts';
import { HttpDirector, HttpRepositories } from '../../agent/io/repositories.ts';
import { makeAuthority, makeLeaf, type Authority, type Leaf } from '../support/certificates.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
const RATE = { bytesPerSecond: 1, windowMs: 5000 };

describe('HTTP to the gateway', () => {
  const directory = temporaryDirectory('http');
  let authority: Authority;
  let serverLeaf: Leaf;
  let device: Leaf;
  let server: Server;
  let url: string;
  let handler: Handler;
  let connections: number;
  let resumed: boolean[];
  let clients: HttpClient[];

  before(() => {
    authority = makeAuthority(directory.path, 'gateway');
    const alternativeNames = 'DNS:localhost,IP:127.0.0.1';
    serverLeaf = makeLeaf(directory.path, authority, { commonName: 'gateway', alternativeNames });
    device = makeLeaf(directory.path, authority, { commonName: 'device-1' });
  });
  after(() => {
    directory.remove();
  });
  beforeEach(async () => {
    connections = 0;
    resumed = [];
    clients = [];
    handler = (_request, response) => response.end('answer');
    await listen(serverLeaf);
  });
  afterEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    server.closeAllConnections();
    server.close();
  });

  const listen = async (leaf: Leaf): Promise<void> => {
    server = createServer(
      {
        cert: leaf.certificatePem,
        key: leaf.keyPem,
        ca: authority.certificatePem,
        requestCert: true,
        rejectUnauthorized: true,
      },
      (request, response) => {
        handler(request, response);
      },
    );
    server.on('secureConnection', (socket: TLSSocket) => {
      connections += 1;
      resumed.push(socket.isSessionReused());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `https://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  };
  const client = (leaf: Partial<Leaf> = device, ca = authority.certificatePem): HttpClient => {
    const secureContext = createSecureContext({ ca, cert: leaf.certificatePem, key: leaf.keyPem });
    const made = new HttpClient({ secureContext, timeoutMs: 1000, userAgent: 'ota-agent/test' });
    clients.push(made);
    return made;
  };
  const urls = (): { director: string; image: string; events: string } => ({
    director: `${url}/director`,
    image: `${url}/repo`,
    events: `${url}/events`,
  });
  const repositories = (http = client()): HttpRepositories =>
    new HttpRepositories(http, urls(), RATE);
  const get = (http: HttpClient, path = '/'): Promise<Buffer> =>
    http.send({ method: 'GET', url: `${url}${path}` }).then(read);

  test('several requests go over one connection', async () => {
    const http = client();
    for (let request = 0; request < 5; request += 1) await get(http);
    assert.equal(connections, 1);
  });

  test('a connection that is gone is resumed, not negotiated from scratch', async () => {
    const http = client();
    handler = (_request, response) => response.setHeader('connection', 'close').end('answer');
    for (let request = 0; request < 3; request += 1) await get(http);
    assert.deepEqual(resumed, [false, true, true]);
  });

  test('names the cause and the remedy when nobody listens', async () => {
    server.close();
    await refused(get(client()), 'GATEWAY_UNREACHABLE', /ECONNREFUSED/u, /gateway\.url/u);
  });

  test('a gateway of a foreign CA is refused, and gateway.ca is named', async () => {
    const foreign = makeAuthority(directory.path, 'foreign').certificatePem;
    await refused(get(client(device, foreign)), 'GATEWAY_TLS', /certificate/u, /gateway\.ca/u);
    assert.equal(connections, 0);
  });

  test('an expired gateway certificate points at the clock first', async () => {
    server.close();
    const commonName = 'expired';
    const alternativeNames = 'IP:127.0.0.1';
    await listen(
      makeLeaf(directory.path, authority, { commonName, alternativeNames, validity: 'expired' }),
    );
    await refused(get(client()), 'GATEWAY_TLS', /CERT_HAS_EXPIRED/u, /clock/u);
  });

  test('a gateway of another name is refused', async () => {
    server.close();
    const alternativeNames = 'DNS:elsewhere.example';
    await listen(makeLeaf(directory.path, authority, { commonName: 'other', alternativeNames }));
    await refused(get(client()), 'GATEWAY_TLS', /ALTNAME/u, /gateway\.url/u);
  });

  test('a device without a certificate learns that the gateway wants one', async () => {
    await refused(get(client({})), 'GATEWAY_TLS', /CERTIFICATE_REQUIRED/u, /client certificate/u);
  });

  test('a silent gateway is a timeout that says what was waited for', async () => {
    handler = () => undefined;
    await rejectsCode(get(client(), '/quiet'), 'GATEWAY_TIMEOUT', {
      url: `${url}/quiet`,
      phase: 'waiting for the answer',
      timeoutMs: 1000,
    });
  });

  for (const status of [403, 404, 424]) {
    test(`${String(status)} means that there is no such file`, async () => {
      handler = (_request, response) => response.writeHead(status).end('{"code":"x"}');
      const answer = await repositories().fetchMetadata('director', '2.root.json', 100);
      assert.equal(answer, undefined);
    });
  }

  for (const status of [400, 401, 500, 503]) {
    test(`${String(status)} is no end of a root chain but GATEWAY_ANSWER (R2)`, async () => {
      handler = (_request, response) => response.writeHead(status).end('out  of\norder');
      const file = '2.root.json';
      await rejectsCode(repositories().fetchMetadata('image', file, 100), 'GATEWAY_ANSWER', {
        url: `${url}/repo/${file}`,
        status,
        answer: 'out of order',
      });
    });
  }

  test('GATEWAY_ANSWER says for how long the gateway wants to be left alone, in seconds or until a date', async () => {
    const asks = async (retryAfter: string): Promise<void> => {
      handler = (_request, response) =>
        response
          .writeHead(503, { date: 'Fri, 01 Jan 2100 00:00:00 GMT', 'retry-after': retryAfter })
          .end();
      await repositories().fetchMetadata('image', 'root.json', 100);
    };
    const file = { url: `${url}/repo/root.json`, status: 503, answer: '' };
    const minute = { ...file, retryAfterSeconds: 60 };
    await rejectsCode(asks('60'), 'GATEWAY_ANSWER', minute);
    await rejectsCode(asks('Fri, 01 Jan 2100 00:01:00 GMT'), 'GATEWAY_ANSWER', minute);
    await rejectsCode(asks('soon'), 'GATEWAY_ANSWER', file);
  });

  for (const [status, code] of [
    [404, undefined],
    [503, 'GATEWAY_ANSWER'],
  ] as const) {
    test(`${String(status)} with a text that trickles for ever does not hold the cycle up (P8)`, async () => {
      let trickle: NodeJS.Timeout | undefined;
      handler = (_request, response) => {
        response.writeHead(status);
        trickle = setInterval(() => response.write('x'), 50);
      };
      const start = performance.now();
      const asked = repositories().fetchMetadata('image', 'f.json', 100);
      const came = await asked.catch((error: unknown) => isOtaError(error) && error.code);
      clearInterval(trickle);
      assert.equal(came, code);
      assert.ok(performance.now() - start < 5000);
    });
  }

  test('metadata past its limit is refused at the first byte too many (R2, T1, S1, G1)', async () => {
    handler = (_request, response) => response.end('x'.repeat(101));
    await rejectsCode(repositories().fetchMetadata('image', 'f.json', 100), 'METADATA_TOO_LARGE', {
      repo: 'image',
      file: 'f.json',
      maxBytes: 100,
    });
  });

  test('an image is asked for from where we are, and a server that ignores it is coped with', async () => {
    const content = Buffer.from('0123456789');
    const ranges: (string | undefined)[] = [];
    handler = (request, response) => {
      ranges.push(request.headers.range);
      assert.equal(request.url, '/repo/targets/dir%20a/b%2Bc.img');
      response.end(content);
    };
    const target = targetFor(content, { filename: 'dir a/b+c.img' });
    const parts = [];
    for await (const part of repositories().openImage(target, 4)) parts.push(Buffer.from(part));
    assert.equal(Buffer.concat(parts).toString(), '456789');
    assert.deepEqual(ranges, ['bytes=4-']);
  });

  test('what is served under another name than its own is asked for under that (TUF 1.0 §6.2)', async () => {
    const asked: (string | undefined)[] = [];
    handler = (request, response) => {
      asked.push(request.url);
      response.end('content');
    };
    const target = targetFor(Buffer.from('content'), { filename: 'a/b.img' });
    const image = { ...target, imageFile: 'a/00ff.b.img' } as typeof target;
    for await (const part of repositories().openImage(image, 0)) assert.ok(part.byteLength > 0);
    await repositories().fetchMetadata('image', '7.a%2Fb.json', 100);
    assert.deepEqual(asked, ['/repo/targets/a/00ff.b.img', '/repo/7.a%2Fb.json']);
  });

  test('events survive the redirect of the field’s gateways as a POST with its body', async () => {
    const seen: string[] = [];
    handler = (request, response) => {
      seen.push(`${String(request.method)} ${String(request.url)}`);
      if (request.url === '/events') response.writeHead(301, { location: '/events/' }).end();
      else
        void read(request).then((body) =>
          response.writeHead(204).end(void seen.push(body.toString())),
        );
    };
    const event = {
      id: '1',
      deviceTime: '2030-01-01T00:00:00Z',
      eventType: { id: 'EcuDownloadStarted', version: 0 },
      event: { ecu: 'ecu-1' },
    };
    assert.equal(await new HttpDirector(client(), urls()).postEvents([event]), 1);
    assert.deepEqual(seen, ['POST /events', 'POST /events/', JSON.stringify([event])]);
  });

  test('413 halves a batch of events until it fits', async () => {
    const sizes: number[] = [];
    handler = (request, response) => {
      void read(request).then((body) => {
        const { length } = JSON.parse(body.toString()) as unknown[];
        sizes.push(length);
        response.writeHead(length > 2 ? 413 : 204).end();
      });
    };
    const event = {
      id: '1',
      deviceTime: '2030-01-01T00:00:00Z',
      eventType: { id: 'EcuDownloadStarted', version: 0 },
      event: { ecu: 'ecu-1' },
    };
    const events = Array.from({ length: 8 }, () => event);
    assert.equal(await new HttpDirector(client(), urls()).postEvents(events), 2);
    assert.deepEqual(sizes, [8, 4, 2]);
  });
});

async function refused(
  act: Promise<unknown>,
  code: FailureCode,
  cause: RegExp,
  remedy: RegExp,
): Promise<void> {
  await assert.rejects(act, (error) => {
    assert.ok(isOtaError(error), String(error));
    assert.equal(error.code, code);
    assert.match('cause' in error.details ? error.details.cause : '', cause);
    assert.match('remedy' in error.details ? error.details.remedy : '', remedy);
    return true;
  });
}

async function read(body: IncomingMessage | { body: AsyncIterable<Uint8Array> }): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  const source: AsyncIterable<Uint8Array> = 'body' in body ? body.body : body;
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}
