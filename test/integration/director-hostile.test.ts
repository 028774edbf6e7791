import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { after, afterEach, before, describe, test } from 'node:test';

import { canonicalJson } from '../director/json/canonical-json.ts';
import type { SimulatedDevice } from '../director/simulated/device.ts';
import { registration } from '../director/simulated/ecus.ts';
import { answered, deviceState, startFixture, type Fixture } from './director-fixture.ts';

const MIB = 1024 * 1024;

let fixture: Fixture;
let hostile: SimulatedDevice;
let honest: SimulatedDevice;
let counter = 0;

before(async () => {
  fixture = await startFixture({ requestTimeoutSeconds: 2 });
  hostile = await fixture.newDevice('hostile');
  honest = await fixture.newDevice('honest');
  for (const one of [hostile, honest]) await one.register();
});
after(async () => {
  await fixture.end();
});
afterEach(async () => {
  counter += 1;
  answered(await honest.sendManifest({ counter }), 200);
});

async function open(): Promise<TLSSocket> {
  const { hostname, port } = new URL(fixture.director.gatewayUrl);
  const socket = connect({
    host: hostname,
    port: Number(port),
    ca: readFileSync(fixture.director.caPath),
    key: hostile.key,
    cert: hostile.certificate,
  });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  return socket;
}

/** What the server said until it hung up, while a byte was sent every now and then. */
async function drip(socket: Socket): Promise<string> {
  let said = '';
  socket.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const dripping = setInterval(() => socket.write('x'), 200);
  // A byte that crosses the answer resets the connection: `once` would throw that.
  return new Promise((resolve) => {
    socket.once('close', () => {
      clearInterval(dripping);
      resolve(said);
    });
  });
}

describe('the gateway, with a hostile client, goes on serving others, and', () => {
  test('refuses bodies that are too large with 413, also when they do not say how large', async () => {
    const body = Buffer.alloc(8 * MIB + 1, ' ');
    const chunked = { 'transfer-encoding': 'chunked' };
    for (const headers of [{}, chunked]) {
      const answer = await hostile
        .call('PUT', '/director/manifest', { body, headers })
        // The server may hang up before all of it is sent.
        .catch((error: unknown) => error);
      if (answer instanceof Error) assert.match(answer.message, /EPIPE|ECONNRESET|hang up/u);
      else assert.equal((answer as { status: number }).status, 413);
    }
  });

  test('ends a request whose headers or body never end', { timeout: 30_000 }, async () => {
    const headers = await open();
    headers.write('GET /repo/root.json HTTP/1.1\r\nhost: x\r\nx-slow: ');
    const body = await open();
    body.write('PUT /director/manifest HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{');
    for (const said of await Promise.all([drip(headers), drip(body)]))
      assert.match(said, /^(?:HTTP\/1\.1 408 |$)/u, 'what a reset took away was 408');
  });

  test('ends a connection that never finishes its handshake', async () => {
    const { hostname, port } = new URL(fixture.director.gatewayUrl);
    const socket = connectTcp(Number(port), hostname);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    await once(socket.resume(), 'close');
  });

  test('takes no manifest of another device, and no ECUs: the certificate says who it is', async () => {
    counter += 1;
    const stolen = canonicalJson(honest.manifest({ counter }));
    const answer = await hostile.call('PUT', '/director/manifest', { body: stolen });
    answered(answer, 400, 'signature_not_valid');
    const ecus = canonicalJson(registration(honest.ecus));
    answered(
      await hostile.call('POST', '/director/ecus', { body: ecus }),
      409,
      'ecu_replacement_disabled',
    );
    const headers = { 'x-ats-device-uuid': 'honest', 'x-device-id': 'honest' };
    await hostile.call('PUT', '/director/manifest', { body: stolen, headers });
    assert.ok(((await deviceState(fixture, 'honest')).reportCounter ?? 0) < counter);
  });

  test('takes no manifest twice', async () => {
    const body = canonicalJson(hostile.manifest({ counter: 7 }));
    answered(await hostile.call('PUT', '/director/manifest', { body }), 200);
    const again = await hostile.call('PUT', '/director/manifest', { body });
    answered(again, 400, 'report_counter_reused');
    const older = canonicalJson(hostile.manifest({ counter: 6 }));
    answered(
      await hostile.call('PUT', '/director/manifest', { body: older }),
      400,
      'report_counter_reused',
    );
    assert.equal((await deviceState(fixture, 'hostile')).reportCounter, 7);
  });
});
