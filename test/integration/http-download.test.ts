/** Images over HTTP/1.1, from servers that do as they please. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createSecureContext, createServer, type Server, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, before, describe, test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import { HttpClient, type Response } from '../../agent/io/http.ts';
import { makeAuthority, makeLeaf, type Authority, type Leaf } from '../support/certificates.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TIMEOUT_MS = 700;
const MEBIBYTE = 1024 ** 2;

/** Queries of URLs may be passwords: a failure leaves them out. */
const told = (url: string): string => url.replace(/\?.*$/u, '?(redacted)');

describe('a download', () => {
  const directory = temporaryDirectory('http-download');
  let authority: Authority;
  let leaf: Leaf;
  let servers: Server[] = [];
  let client: HttpClient;
  let connections: TLSSocket[] = [];
  let requests: string[] = [];

  before(() => {
    authority = makeAuthority(directory.path, 'gateway');
    const alternativeNames = 'DNS:localhost,IP:127.0.0.1';
    leaf = makeLeaf(directory.path, authority, { commonName: 'gateway', alternativeNames });
  });
  after(() => {
    directory.remove();
  });
  afterEach(async () => {
    await client.close();
    for (const socket of connections) socket.destroy();
    for (const server of servers) server.close();
    [connections, requests, servers] = [[], [], []];
  });

  /** @param answer - once the request is there */
  const asked = async (answer: (socket: TLSSocket) => void): Promise<string> => {
    const server = createServer({ cert: leaf.certificatePem, key: leaf.keyPem }, (socket) => {
      connections.push(socket);
      socket.on('error', () => undefined);
      let request = '';
      socket.on('data', (text: Buffer) => {
        request += text.toString('latin1');
        if (!request.endsWith('\r\n\r\n')) return;
        requests.push(request);
        answer(socket);
      });
    });
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const secureContext = createSecureContext({ ca: authority.certificatePem });
    client = new HttpClient({ secureContext, timeoutMs: TIMEOUT_MS, userAgent: 'ota-agent/test' });
    return `https://127.0.0.1:${String((server.address() as AddressInfo).port)}/targets/image?v=1`;
  };
  const download = async (answer: (socket: TLSSocket) => void): Promise<Response> => {
    const url = await asked(answer);
    return client.download(url, { range: 'bytes=5-' });
  };
  const says =
    (...parts: (string | Buffer)[]) =>
    (socket: TLSSocket): void => {
      for (const part of parts) socket.write(part);
      socket.end();
    };

  test('asks for what it wants, once, and for nothing after it (RFC 9112 §3, §9.6)', async () => {
    const response = await download(
      says('HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nok'),
    );
    assert.equal(response.status, 206);
    assert.equal(response.headers['content-length'], '2');
    assert.equal((await received(response)).toString(), 'ok');
    const [request = [], ...others] = requests.map((text) => text.split('\r\n'));
    assert.deepEqual(others, []);
    assert.deepEqual(
      request.filter((line) => !line.startsWith('host: 127.0.0.1:')),
      [
        'GET /targets/image?v=1 HTTP/1.1',
        'connection: close',
        'user-agent: ota-agent/test',
        'range: bytes=5-',
        '',
        '',
      ],
    );
  });

  for (const [framing, answer] of [
    ['by its length', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789'],
    [
      'in chunks, with extensions and a trailer',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n' +
        '4;a=b\r\n0123\r\n06\r\n456789\r\n0\r\nx: y\r\n\r\n',
    ],
    ['until the server closes', 'HTTP/1.0 200 OK\r\n\r\n0123456789'],
    [
      'after what is said on the way to it',
      'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789',
    ],
  ] as const) {
    test(`ends ${framing}, however it is cut up (RFC 9112 §6, §7)`, async () => {
      const whole = await download(says(answer));
      assert.equal((await received(whole)).toString(), '0123456789');
      await client.close();
      const cut = await download((socket) => {
        void trickle(socket, answer);
      });
      assert.equal((await received(cut)).toString(), '0123456789');
    });
  }

  test('what is not wanted can be left unread', async () => {
    const response = await download(says('HTTP/1.1 416 No\r\ncontent-length: 900000\r\n\r\nx'));
    await response.discard();
    await closed(connections[0]);
  });

  for (const [what, answer] of [
    ['no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ['another version of it', 'HTTP/2.0 200 OK\r\n\r\n'],
    ['a field without a name', 'HTTP/1.1 200 OK\r\n: x\r\n\r\n'],
    ['a field that goes on in the next line', 'HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n'],
    ['a line without a return', 'HTTP/1.1 200 OK\nlocation: x\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx'],
    ['a length that is none', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nx'],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
    ],
    ['another coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n'],
    ['a head without an end', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(4000)}`],
  ] as const) {
    test(`${what} is no answer`, async () => {
      const url = await asked(says(answer));
      await assert.rejects(client.download(url, {}), malformed);
    });
  }

  for (const [what, body] of [
    ['a chunk without a size', 'zz\r\n'],
    ['a chunk that is longer than it says', '1\r\nxx\r\n0\r\n\r\n'],
    ['a size that never ends', '1'.repeat(5000)],
    ['a trailer that never ends', `0\r\n${'x: y\r\n'.repeat(9000)}`],
  ] as const) {
    test(`${what} ends a body`, async () => {
      const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
      const response = await download(says(head, body));
      await assert.rejects(received(response), malformed);
      await closed(connections[0]);
    });
  }

  for (const [what, answer] of [
    ['before it has said anything', ''],
    ['within its head', 'HTTP/1.1 200 OK\r\nconte'],
    ['within a body of a known length', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nxx'],
    ['between chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n'],
  ] as const) {
    test(`a server that hangs up ${what} is told of`, async () => {
      const url = await asked(says(answer));
      const all = client.download(url, {}).then(received);
      await assert.rejects(all, (error) => {
        assert.ok(isOtaError(error) && error.code === 'GATEWAY_UNREACHABLE', String(error));
        assert.match(error.details.cause, /UND_ERR_SOCKET: other side closed/u);
        return true;
      });
    });
  }

  for (const [phase, answer] of [
    ['waiting for the answer', 'HTTP/1.1 200 OK\r\nconte'],
    ['receiving', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nxx'],
  ] as const) {
    test(`silence while ${phase} is a timeout that says so`, async () => {
      const url = await asked((socket) => void socket.write(answer));
      const all = client.download(url, {}).then(received);
      await rejectsCode(all, 'GATEWAY_TIMEOUT', {
        url: told(url),
        phase,
        timeoutMs: TIMEOUT_MS,
      });
      await closed(connections[0]);
    });
  }

  test('a head that trickles is waited for no longer than a silent one', async () => {
    const url = await asked((socket) => {
      const timer = setInterval(() => socket.write('x'), 50);
      socket.on('close', () => {
        clearInterval(timer);
      });
    });
    const phase = 'waiting for the answer';
    await rejectsCode(client.download(url, {}), 'GATEWAY_TIMEOUT', {
      url: told(url),
      phase,
      timeoutMs: TIMEOUT_MS,
    });
  });

  test('a slow reader makes the server wait, loses nothing, and is given no more than fits', async () => {
    const content = randomBytes(24 * MEBIBYTE);
    let sent = 0;
    const response = await download((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${String(content.byteLength)}\r\n\r\n`);
      for (let at = 0; at < content.byteLength; at += MEBIBYTE) {
        socket.write(content.subarray(at, at + MEBIBYTE), () => (sent += MEBIBYTE));
      }
    });
    const pieces: Buffer[] = [];
    let largest = 0;
    for await (const piece of response.body) {
      if (pieces.length === 0) {
        const before = await settledValue(() => sent);
        assert.ok(before < content.byteLength, 'the server was not made to wait');
      }
      largest = Math.max(largest, piece.byteLength);
      pieces.push(Buffer.from(piece));
      if (pieces.length % 8 === 0) await sleep(1);
    }
    assert.ok(Buffer.concat(pieces).equals(content));
    assert.ok(largest <= MEBIBYTE, String(largest));
  });

  test('nobody reads on: its connection ends', async () => {
    const response = await download((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\nxxx');
    });
    for await (const piece of response.body) {
      assert.ok(piece.byteLength > 0);
      break;
    }
    await closed(connections[0]);
  });

  test('ends with its client', async () => {
    const response = await download((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\nxxx');
    });
    const all = received(response);
    await client.close();
    await assert.rejects(all, (error) => isOtaError(error) && error.code === 'GATEWAY_UNREACHABLE');
  });
});

function malformed(error: unknown): true {
  assert.ok(isOtaError(error) && error.code === 'GATEWAY_UNREACHABLE', String(error));
  assert.match(error.details.cause, /^HPE_INVALID: the answer is not HTTP: /u);
  return true;
}

async function trickle(socket: TLSSocket, text: string): Promise<void> {
  for (const character of text) {
    await new Promise((resolve) => socket.write(character, resolve));
  }
  socket.end();
}

/** Once it no longer changes. */
async function settledValue(read: () => number): Promise<number> {
  for (let before = -1; ;) {
    const now = read();
    if (now === before) return now;
    before = now;
    await sleep(200);
  }
}

async function closed(socket: TLSSocket | undefined): Promise<void> {
  assert.ok(socket !== undefined);
  if (!socket.closed) await once(socket, 'close');
}

async function received(response: Response): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of response.body) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}
