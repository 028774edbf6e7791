/** Clients that mean harm, or come in crowds: one of them is no matter to the others. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';

import { PROBE } from '../support/probe-ta.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import * as wire from '../unit/tee/wire-client.ts';
import { buildDrivers, runDriver } from './support-tee-drivers.ts';
import { ANSWER_TIMEOUT_MS, Client, isClosed, OTHER_TA, PROBE_TA } from './tee-probe-client.ts';

const MAIN = join(import.meta.dirname, '../support/tee-probe-main.ts');
const SUCCESS = 0;
const CANCEL = 0xffff_0002;
const OUT_OF_MEMORY = 0xffff_000c;
const MIB = 1024 * 1024;
/** What the world may grow to while it is abused; Node itself is some 80 MiB. */
const MAX_RESIDENT_BYTES = 1200 * MIB;

const directory = temporaryDirectory('hostile');
const path = join(directory.path, 'socket');
let world: ChildProcess;

before(async () => {
  process.env['OTA_TEE_SOCKET'] = path;
  world = spawn(process.execPath, [MAIN, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  assert.ok(world.stdout);
  await once(world.stdout, 'data');
});

/** After each: the world is there, and serves an honest client at once. */
afterEach(async () => {
  Client.endAll();
  assert.equal(world.exitCode, null);
  await (await Client.open()).echoes();
});

after(async () => {
  Client.endAll();
  world.kill('SIGKILL');
  await once(world, 'exit');
  directory.remove();
});

function residentBytes(): number {
  const status = readFileSync(`/proc/${String(world.pid)}/status`, 'utf8');
  return 1024 * Number(/VmRSS:\s+(\d+)/u.exec(status)?.[1]);
}

const fills = (bytes: number): readonly wire.WireParameter[] => [
  { type: 6, size: bytes },
  { type: 0 },
  { type: 0 },
  { type: 0 },
];

test('garbage before HELLO, and anything but HELLO, ends the connection', async () => {
  for (const bytes of [
    Buffer.alloc(64, 0xff),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    wire.openSession(1, { uuid: PROBE_TA }),
    wire.cancel(1, 1),
    wire.hello(1, { version: 0 }),
  ]) {
    const client = await Client.connect();
    client.read();
    client.socket.write(bytes);
    assert.ok(await isClosed(client));
  }
});

test('100 clients at once each get their own answers', async () => {
  const crowd = await Promise.all(Array.from({ length: 100 }, () => Client.open()));

  await Promise.all(
    crowd.map(async (client, index) => {
      for (let turn = 0; turn < 20; turn += 1) {
        await client.echoes(Buffer.from(`client ${String(index)}, turn ${String(turn)}`));
      }
    }),
  );
});

test('a client opens sessions until it is refused, and gets them back when it goes', async () => {
  const greedy = await Client.greet();
  let opened = 0;
  let result = SUCCESS;
  while (result === SUCCESS && opened < 1000) {
    result = (await greedy.openSession()).body.readUInt32LE(0);
    if (result === SUCCESS) opened += 1;
  }

  assert.deepEqual([opened, result], [256, OUT_OF_MEMORY]);
  await (await Client.open()).echoes();
  greedy.socket.destroy();
  for (let turn = 0; turn < 20; turn += 1) (await Client.open()).socket.destroy();
});

test('connections are 1024 at most; more are turned away, and those that are in stay in', async () => {
  const honest = await Client.open();
  const crowd: Client[] = [];
  // Not all at once: those that wait for accept(2) are fewer.
  while (crowd.length < 1100) {
    crowd.push(...(await Promise.all(Array.from({ length: 100 }, () => Client.connect()))));
  }
  for (const client of crowd) client.read();

  const end = Date.now() + ANSWER_TIMEOUT_MS;
  const turnedAway = () => crowd.filter(({ socket }) => socket.destroyed).length;
  while (turnedAway() < 76 && Date.now() < end) await honest.echoes();

  assert.ok(turnedAway() >= 76, String(turnedAway()));
  for (const { socket } of crowd) socket.destroy();
  await honest.echoes();
});

test("another client's session is none, whatever its number is", async () => {
  const owner = await Client.open();
  const thief = await Client.open();
  const mine = thief.session;
  thief.session = owner.session;

  const { body } = await thief.invoke(PROBE.ECHO, wire.NO_PARAMETERS);

  assert.deepEqual([body.readUInt32LE(0), body.readUInt32LE(4)], [0xffff_0006, 3]);
  await owner.echoes();
  thief.session = mine;
  await thief.echoes();
});

test('half frames, however many and however large, keep nobody from being served', async () => {
  const half = Buffer.concat([wire.words(16 * MIB, 2, 4), Buffer.alloc(15 * MIB)]);
  const crowd = await Promise.all(Array.from({ length: 40 }, () => Client.greet()));
  const honest = await Client.open();

  for (const client of crowd) client.socket.write(half);
  for (let turn = 0; turn < 50; turn += 1) await honest.echoes(Buffer.alloc(10_000, turn));

  const end = Date.now() + ANSWER_TIMEOUT_MS;
  const cutOff = () => crowd.filter(({ socket }) => socket.destroyed).length;
  while (cutOff() < 20 && Date.now() < end) await honest.echoes();
  assert.ok(cutOff() >= 20, String(cutOff()));
  assert.ok(residentBytes() < MAX_RESIDENT_BYTES, String(residentBytes()));
  assert.equal(honest.socket.destroyed, false, 'who holds most goes');
});

test('a client that asks for much and never reads is not answered without end', async () => {
  const honest = await Client.open();
  const deaf = await Client.open();
  deaf.socket.pause();
  const asks = Array.from({ length: 1000 }, () =>
    wire.invoke(deaf.next(), deaf.session, PROBE.FILL, fills(15 * MIB)),
  );

  deaf.socket.write(Buffer.concat(asks));

  for (let turn = 0; turn < 50; turn += 1) await honest.echoes();
  assert.ok(residentBytes() < MAX_RESIDENT_BYTES, String(residentBytes()));
});

test('a client that reads slowly gets all that it asked for, in the end', async () => {
  const slow = await Client.open();
  slow.socket.pause();
  const answers = Array.from({ length: 4 }, () => slow.invoke(PROBE.FILL, fills(15 * MIB)));
  await (await Client.open()).echoes();

  slow.socket.resume();

  for (const { body } of await Promise.all(answers)) {
    const [output] = wire.readOutputs(body.subarray(8));
    assert.ok(output !== undefined && 'bytes' in output);
    assert.equal(output.bytes.byteLength, 15 * MIB);
    assert.ok(output.bytes.subarray(0, 100).equals(Buffer.alloc(100, 0xa5)));
  }
});

test('a flood of one client leaves others their turn', async () => {
  const honest = await Client.open();
  const flood = await Client.open();
  const one = wire.invoke(flood.next(), flood.session, PROBE.REFUSE, wire.NO_PARAMETERS);
  const many = Buffer.concat(Array<Buffer>(2000).fill(one));
  for (let turn = 0; turn < 100; turn += 1) flood.socket.write(many);

  for (let turn = 0; turn < 20; turn += 1) await honest.echoes();

  assert.equal(flood.socket.destroyed, false);
});

test('a TA that waits keeps neither other TAs nor other requests; what it got stays as it was', async () => {
  const waiting = await Client.open();
  const other = await Client.open(OTHER_TA);
  const sent = Buffer.from('x'.repeat(1000));
  const later = waiting.ask(
    wire.invoke(7, waiting.session, PROBE.ECHO_LATER, [
      { type: 5, bytes: sent },
      { type: 6, size: sent.byteLength },
      { type: 0 },
      { type: 0 },
    ]),
  );
  waiting.socket.write(wire.cancel(8, 9999));

  await other.echoes(Buffer.alloc(1000, 1));

  const { request, body } = await later;
  assert.equal(request, 7);
  assert.deepEqual(wire.readOutputs(body.subarray(8)), [{ size: 1000, bytes: sent }]);
});

test('a request that is under way is cancelled by its number, and only by its own client', async () => {
  const waiting = await Client.open();
  const stranger = await Client.open();
  const later = waiting.ask(
    wire.invoke(7, waiting.session, PROBE.WAIT_FOR_EVER, wire.NO_PARAMETERS),
  );
  stranger.socket.write(wire.cancel(8, 7));
  const other = await Client.open(OTHER_TA);
  await other.echoes();

  waiting.socket.write(wire.cancel(8, 7));

  const { request, body } = await later;
  assert.deepEqual([request, body.readUInt32LE(0), body.readUInt32LE(4)], [7, CANCEL, 4]);
});

test('a client that goes while its TA waits for ever lets the next one in', async () => {
  const gone = await Client.open();
  gone.socket.write(wire.invoke(7, gone.session, PROBE.WAIT_FOR_EVER, wire.NO_PARAMETERS));
  const next = await Client.greet();
  const opening = next.openSession();

  gone.socket.destroy();

  next.session = (await opening).body.readUInt32LE(8);
  await next.echoes();
});

test('a number that is used twice at a time ends the connection', async () => {
  const client = await Client.open();
  const wait = wire.invoke(7, client.session, PROBE.WAIT_FOR_EVER, wire.NO_PARAMETERS);

  client.socket.write(Buffer.concat([wait, wait]));

  assert.ok(await isClosed(client));
});

test('TEEC_RequestCancellation reaches a TA that waits (GlobalPlatform TEE Client API v1.0 §4.5.11)', async () => {
  buildDrivers('plain');
  const script = ['initialize 0', 'open 0 0 0 null', 'cancel 0', 'close 0', 'finalize 0'];

  const { lines, exitCode } = await runDriver('teec-driver', 'plain', script, {
    env: { OTA_TEE_SOCKET: path },
  });

  assert.equal(exitCode, 0);
  assert.deepEqual([lines[0], lines[2]], ['0x00000000', '0xffff0002 0xffff0002']);
});
