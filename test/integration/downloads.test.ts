/** Where images come from: mirrors, a proxy, a limit on the rate; over mutual TLS on loopback. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createProxy, type Server as Proxy } from 'node:http';
import { createServer, type Server } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import { createSecureContext } from 'node:tls';
import { after, afterEach, before, describe, test } from 'node:test';

import { proxyRules, type ProxyFor } from '../../agent/io/http-proxy.ts';
import { HttpClient } from '../../agent/io/http.ts';
import { limitRate } from '../../agent/io/limit-bytes.ts';
import { HttpRepositories } from '../../agent/io/repositories.ts';
import { makeAuthority, makeLeaf, type Authority, type Leaf } from '../support/certificates.ts';
import { rejectsCode, throwsCode } from '../support/expect-code.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const CONTENT = Buffer.alloc(200_000, 'image ');
const TARGET = targetFor(CONTENT);
const RATE = { bytesPerSecond: 1, windowMs: 5000 };

/** What a server does with the request for an image. */
type Manner = 'whole' | 'half' | 'absent' | 'wrong';

interface Place {
  readonly url: string;
  readonly server: Server;
  manner: Manner;
  /** `Range` of every request, or `all`. */
  readonly asked: string[];
}

describe('images', () => {
  const directory = temporaryDirectory('downloads');
  let authority: Authority;
  let leaf: Leaf;
  let device: Leaf;
  const open: (Server | Proxy)[] = [];
  const clients: HttpClient[] = [];

  before(() => {
    authority = makeAuthority(directory.path, 'gateway');
    leaf = makeLeaf(directory.path, authority, {
      commonName: 'gateway',
      alternativeNames: 'DNS:localhost,IP:127.0.0.1',
    });
    device = makeLeaf(directory.path, authority, { commonName: 'device-1' });
  });
  after(() => {
    directory.remove();
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close()));
    for (const server of open.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  const place = async (manner: Manner): Promise<Place> => {
    const asked: string[] = [];
    const keys = { cert: leaf.certificatePem, key: leaf.keyPem, ca: authority.certificatePem };
    const server = createServer({ ...keys, requestCert: true }, (request, response) => {
      asked.push(request.headers.range ?? 'all');
      const from = Number(/^bytes=(\d+)-$/u.exec(request.headers.range ?? '')?.[1] ?? 0);
      const content = self.manner === 'wrong' ? Buffer.alloc(CONTENT.length, 'other') : CONTENT;
      if (self.manner === 'absent') {
        response.writeHead(503).end('busy');
        return;
      }
      response.writeHead(from > 0 ? 206 : 200);
      if (self.manner === 'half') {
        response.write(content.subarray(from, from + 50_000), () => response.destroy());
      } else response.end(content.subarray(from));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    open.push(server);
    const url = `https://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    const self: Place = { url, server, manner, asked };
    return self;
  };

  const client = (proxyFor?: ProxyFor): HttpClient => {
    const made = new HttpClient({
      secureContext: createSecureContext({
        ca: authority.certificatePem,
        cert: device.certificatePem,
        key: device.keyPem,
      }),
      timeoutMs: 2000,
      userAgent: 'ota-agent/test',
      ...(proxyFor === undefined ? {} : { proxyFor }),
    });
    clients.push(made);
    return made;
  };

  const repositories = (
    origin: Place,
    mirrors: readonly Place[],
    failing: string[] = [],
  ): HttpRepositories =>
    new HttpRepositories(client(), { director: '', image: origin.url, events: undefined }, RATE, {
      mirrors: mirrors.map(({ url }) => url),
      maxBytesPerSecond: undefined,
      failing: (error) => failing.push(error.message),
    });

  test('come from the first mirror that has them; the repository is not asked', async () => {
    const [origin, absent, mirror] = [
      await place('whole'),
      await place('absent'),
      await place('whole'),
    ];
    const failing: string[] = [];
    const from = repositories(origin, [absent, mirror], failing);
    assert.ok((await received(from.openImage(TARGET, 0))).equals(CONTENT));
    assert.ok((await received(from.openImage(TARGET, 0))).equals(CONTENT));
    assert.deepEqual(origin.asked, []);
    assert.equal(failing.length, 1, 'a failing mirror is told of once');
    assert.match(failing[0] ?? '', /^DOWNLOAD_FAILED .*status=503/u);
  });

  test('go on at the next place from where a mirror broke off, byte for byte', async () => {
    const [origin, mirror] = [await place('whole'), await place('half')];
    const from = repositories(origin, [mirror]);
    assert.ok((await received(from.openImage(TARGET, 1000))).equals(CONTENT.subarray(1000)));
    assert.deepEqual(mirror.asked, ['bytes=1000-']);
    assert.deepEqual(origin.asked, ['bytes=51000-']);
  });

  test('whose bytes were wrong are not asked of that mirror again; others still are', async () => {
    const [origin, mirror] = [await place('whole'), await place('wrong')];
    const from = repositories(origin, [mirror]);
    assert.ok(!(await received(from.openImage(TARGET, 0))).equals(CONTENT));
    from.distrust(TARGET);
    assert.ok((await received(from.openImage(TARGET, 0))).equals(CONTENT));
    assert.deepEqual([mirror.asked.length, origin.asked.length], [1, 1]);
    const other = targetFor(Buffer.from('another image'));
    await received(from.openImage(other, 0));
    assert.equal(mirror.asked.length, 2);
  });

  test('that are encrypted for one device come from the repository: mirrors have none', async () => {
    const [origin, mirror] = [await place('whole'), await place('whole')];
    const from = repositories(origin, [mirror]);
    const { hashes } = TARGET;
    const encrypted = { chunkBytes: 4096, key: '', lengthBytes: CONTENT.length, hashes };
    const target = targetFor(CONTENT.subarray(1000), { encrypted, uri: `${mirror.url}/plain` });
    assert.ok((await received(from.openImage(target, 0))).equals(CONTENT));
    assert.deepEqual([mirror.asked, origin.asked], [[], ['all']]);
    const elsewhere = { ...encrypted, uri: `${mirror.url}/cipher` };
    const moved = targetFor(CONTENT.subarray(1000), { encrypted: elsewhere });
    assert.ok((await received(from.openImage(moved, 0))).equals(CONTENT));
    assert.deepEqual([mirror.asked, origin.asked], [['all'], ['all']]);
  });

  test('that no place has are a failure of the repository', async () => {
    const [origin, mirror] = [await place('absent'), await place('absent')];
    const from = repositories(origin, [mirror]);
    await rejectsCode(received(from.openImage(TARGET, 0)), 'DOWNLOAD_FAILED', {
      filename: TARGET.filename,
      url: `${origin.url}/targets/${TARGET.filename}`,
      cause: `GATEWAY_ANSWER: GATEWAY_ANSWER url=${origin.url}/targets/${TARGET.filename} status=503 answer=busy`,
    });
  });

  test('come no faster than the limit', async () => {
    const start = performance.now();
    const pieces = (async function* () {
      for (let at = 0; at < 4; at += 1) yield await Promise.resolve(Buffer.alloc(50_000));
    })();
    assert.equal((await received(limitRate(pieces, 400_000))).length, 200_000);
    const tookMs = performance.now() - start;
    assert.ok(tookMs > 450, `${String(tookMs)} ms for half a second's worth`);
  });

  const proxy = async (answer: 200 | 407): Promise<{ url: string; tunnels: string[] }> => {
    const tunnels: string[] = [];
    const server = createProxy();
    server.on('connect', (request, socket) => {
      tunnels.push(`${String(request.url)} ${request.headers['proxy-authorization'] ?? ''}`.trim());
      if (answer === 407) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n');
        return;
      }
      const [host = '', port = ''] = String(request.url).split(':');
      const server = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        server.pipe(socket).pipe(server);
      });
      server.on('error', () => socket.destroy());
      socket.on('error', () => server.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    open.push(server);
    return { url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, tunnels };
  };

  test('go through a proxy, which sees no more than the name of the server: TLS is mutual within', async () => {
    const origin = await place('whole');
    const { url, tunnels } = await proxy(200);
    const names: string[] = [];
    origin.server.on('secureConnection', (socket) => {
      names.push(String(socket.getPeerCertificate().subject.CN));
    });
    const through = client(
      proxyRules(undefined, { HTTPS_PROXY: url.replace('//', '//me:pa%40ss@') }),
    );
    const target = `${origin.url}/targets/x`;
    const kept = await through.send({ method: 'GET', url: target });
    assert.ok((await received(kept.body)).equals(CONTENT));
    const own = await through.download(target, { range: 'bytes=1000-' });
    assert.ok((await received(own.body)).equals(CONTENT.subarray(1000)));
    const credentials = Buffer.from('me:pa@ss').toString('base64');
    const tunnel = `${origin.url.slice('https://'.length)} Basic ${credentials}`;
    assert.deepEqual(tunnels, [tunnel, tunnel]);
    assert.deepEqual(names, ['device-1', 'device-1']);
  });

  test('a proxy that opens no tunnel is named, and what to do', async () => {
    const origin = await place('whole');
    const { url } = await proxy(407);
    const target = `${origin.url}/x`;
    const through = client(proxyRules(url, {}));
    await rejectsCode(through.send({ method: 'GET', url: target }), 'GATEWAY_UNREACHABLE', {
      url: target,
      cause: `ERR_NO_TUNNEL: the proxy ${url.slice('http://'.length)} answers 407`,
      remedy: 'check gateway.proxy or HTTPS_PROXY, and that the proxy lets this device through',
    });
    assert.deepEqual(origin.asked, []);
  });
});

test('NO_PROXY names hosts, domains, ports or everything, as for curl', () => {
  const env = { HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: 'here, .in.example, there:8443' };
  const direct = (host: string, port = 443): boolean =>
    proxyRules(undefined, env)(host, port) === undefined;
  assert.deepEqual(
    ['here', 'sub.here', 'a.in.example', 'in.example', 'nothere', 'there'].map((host) =>
      direct(host),
    ),
    [true, true, true, true, false, false],
  );
  assert.ok(direct('there', 8443));
  assert.equal(proxyRules(undefined, { ...env, NO_PROXY: '*' })('any', 443), undefined);
  assert.equal(proxyRules('direct', env)('any', 443), undefined);
  assert.equal(proxyRules('http://own:1', env)('here', 443)?.host, 'own:1');
  assert.equal(proxyRules(undefined, { https_proxy: '' })('any', 443), undefined);
  throwsCode(() => proxyRules(undefined, { HTTPS_PROXY: 'proxy:3128' }), 'USAGE', {
    what: 'HTTPS_PROXY is no URL of an HTTP proxy',
    remedy: 'set it to http://HOST:PORT, or set gateway.proxy',
  });
});

async function received(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
