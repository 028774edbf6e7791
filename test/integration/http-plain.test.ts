/** Plain HTTP is for tools that ask for it: a device speaks TLS whatever a URL says. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { createSecureContext } from 'node:tls';

import { isOtaError } from '../../agent/errors.ts';
import { HttpClient } from '../../agent/io/http.ts';

const requests: string[] = [];
const server = createServer((request, response) => {
  requests.push(String(request.url));
  if (request.url === '/hang-up') request.socket.destroy();
  else response.end('answer');
});
let url: string;
before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

const client = (plainHttp: boolean): HttpClient =>
  new HttpClient({
    secureContext: createSecureContext({}),
    timeoutMs: 1000,
    userAgent: 'ota-agent/test',
    plainHttp,
  });

test('a device sends nothing in the clear, not even to an http URL', async () => {
  const http = client(false);
  await assert.rejects(
    http.send({ method: 'GET', url: `${url}/secret` }),
    (error) => isOtaError(error) && error.code === 'GATEWAY_TLS',
  );
  await http.close();
  assert.deepEqual(requests, []);
});

test('a tool reads http URLs, and a server that hangs up is no matter of certificates', async () => {
  const http = client(true);
  const { status, body } = await http.send({ method: 'GET', url: `${url}/file` });
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  assert.deepEqual([status, Buffer.concat(chunks).toString()], [200, 'answer']);
  await assert.rejects(
    http.send({ method: 'GET', url: `${url}/hang-up` }),
    (error) => isOtaError(error) && error.code === 'GATEWAY_UNREACHABLE',
  );
  await http.close();
});
