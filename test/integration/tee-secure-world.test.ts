/** The secure world as a process: arguments, files, socket, signals. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

import { temporaryDirectory } from '../support/temporary.ts';
import * as wire from '../unit/tee/wire-client.ts';
import { runToEnd, SecureWorld } from './tee-secure-world-process.ts';

const PKCS11_TA = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';
const PING = 0;
const FAILED = 1;
const USAGE = 2;

let directory = temporaryDirectory('world');
let worlds: SecureWorld[] = [];

beforeEach(() => {
  directory = temporaryDirectory('world');
});

afterEach(async () => {
  for (const world of worlds) await world.end('SIGKILL');
  worlds = [];
  directory.remove();
});

function at(name: string): string {
  return join(directory.path, name);
}

async function start(...more: readonly string[]): Promise<SecureWorld> {
  const world = await SecureWorld.start('--storage', at('s'), '--socket', at('socket'), ...more);
  worlds.push(world);
  return world;
}

/** A client that has said HELLO and reads one answer at a time. */
async function client(): Promise<{
  readonly socket: Socket;
  readonly ask: (bytes: Buffer) => Promise<wire.Answer>;
}> {
  const socket = connect(at('socket'));
  await once(socket, 'connect');
  const ask = async (bytes: Buffer): Promise<wire.Answer> => {
    socket.write(bytes);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return wire.readAnswer(answer);
  };
  assert.equal((await ask(wire.hello(1))).body.readUInt32LE(), 1);
  return { socket, ask };
}

async function pings(): Promise<boolean> {
  const { socket, ask } = await client();
  const opened = await ask(wire.openSession(2, { uuid: PKCS11_TA }));
  const { body } = await ask(
    wire.invoke(3, opened.body.readUInt32LE(8), PING, [
      { type: 7, bytes: Buffer.alloc(4) },
      { type: 0 },
      { type: 6, size: 12 },
      { type: 0 },
    ]),
  );
  socket.destroy();
  return body.readUInt32LE(0) === 0;
}

function mode(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

test('is ready when it says so: the socket answers, and only its owner may use it', async () => {
  const { readyLine } = await start();

  assert.ok(readyLine.includes(at('socket')) && readyLine.includes(at('s')), readyLine);
  assert.ok(await pings());
  assert.deepEqual([mode(at('socket')), mode(at('s')), mode(at('s/huk'))], ['600', '700', '600']);
  assert.equal(readFileSync(at('s/huk')).byteLength, 16);
  assert.deepEqual(
    readdirSync(directory.path).filter((name) => name.startsWith('socket')),
    ['socket'],
  );
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`ends cleanly on ${signal}: connections closed, socket gone, exit 0`, async () => {
    const world = await start();
    const { socket } = await client();
    const closed = once(socket, 'close');

    const ended = await world.end(signal);

    await closed;
    assert.deepEqual(ended, { code: 0, signal: null, stderr: '' });
    assert.equal(existsSync(at('socket')), false);
  });
}

test('starts again where a killed one left its socket, with the same key', async () => {
  const first = await start();
  await first.end('SIGKILL');
  const huk = readFileSync(at('s/huk'));
  assert.ok(existsSync(at('socket')));

  await start();

  assert.ok(await pings());
  assert.deepEqual(readFileSync(at('s/huk')), huk);
});

test('does not take a socket from who listens there, nor a file from who put it there', async () => {
  const server = createServer().listen(at('socket'));
  await once(server, 'listening');
  const taken = await runToEnd('--storage', at('s'), '--socket', at('socket'));
  server.close();

  assert.equal(taken.code, FAILED);
  assert.match(taken.stderr, new RegExp(`another process listens at ${at('socket')}`, 'u'));
  writeFileSync(at('file'), 'precious');
  const occupied = await runToEnd('--storage', at('s'), '--socket', at('file'));
  assert.equal(occupied.code, FAILED);
  assert.match(occupied.stderr, /is not a socket; choose another path/u);
  assert.equal(readFileSync(at('file'), 'utf8'), 'precious');
});

test('does not share its storage with another', async () => {
  await start();

  const second = await runToEnd('--storage', at('s'), '--socket', at('other'));

  assert.equal(second.code, FAILED);
  assert.match(second.stderr, /is in use/u);
  assert.ok(await pings());
  assert.equal(existsSync(at('other')), false);
});

test('refuses arguments it does not understand: what, where, what to do, exit 2', async () => {
  const storage = ['--storage', at('s')];
  const socket = ['--socket', at('socket')];
  writeFileSync(at('short'), Buffer.alloc(15));
  const refused: readonly (readonly [readonly string[], RegExp])[] = [
    [socket, /--storage is missing/u],
    [[...storage, ...socket, '--unknown'], /--unknown/u],
    [[...storage, ...socket, 'more'], /more/u],
    [[...storage, '--socket', ''], /the socket path is empty/u],
    [[...storage, ...socket, '--slots', '0'], /--slots 0: give a number of tokens from 1 to 64/u],
    [[...storage, ...socket, '--slots', '1e1'], /--slots 1e1: give a number/u],
    [[...storage, ...socket, '--slots', '65'], /--slots 65: give a number/u],
    [[...storage, ...socket, '--huk', at('none')], /cannot read the hardware unique key .*none/u],
    [[...storage, ...socket, '--huk', at('short')], /short has 15 bytes: .* has 16/u],
  ];
  for (const [args, says] of refused) {
    const { code, stderr } = await runToEnd(...args);
    assert.equal(code, USAGE, stderr);
    assert.match(stderr, says);
    assert.match(stderr, /usage: npm run tee/u);
  }
  assert.equal(existsSync(at('socket')), false);
});

test('says which socket path is too long for the system', async () => {
  const path = at('x'.repeat(100));

  const { code, stderr } = await runToEnd('--storage', at('s'), '--socket', path);

  assert.equal(code, FAILED);
  assert.match(stderr, /too long: .* choose a shorter one/u);
});

test('does not open storage with another key, nor a directory it may not use', async () => {
  const first = await start();
  await first.end();
  writeFileSync(at('huk'), Buffer.alloc(16, 7));

  const other = await runToEnd('--storage', at('s'), '--socket', at('socket'), '--huk', at('huk'));

  assert.equal(other.code, FAILED);
  assert.match(other.stderr, /cannot open the storage in .*--huk/u);
  writeFileSync(at('plain'), '');
  const file = await runToEnd('--storage', at('plain'), '--socket', at('socket'));
  assert.equal(file.code, FAILED);
  assert.match(file.stderr, /cannot make .*plain.*give another directory with --storage/u);
  await start();
  assert.ok(await pings(), 'the right key still opens it');
});

test('a frame that cannot be parsed ends its connection and no other', async () => {
  await start();
  const good = await client();
  const bad = await client();
  const closed = once(bad.socket, 'close');

  bad.socket.write(Buffer.alloc(12, 0xff));

  await closed;
  const opened = await good.ask(wire.openSession(2, { uuid: PKCS11_TA }));
  assert.equal(opened.body.readUInt32LE(0), 0);
  good.socket.destroy();
});

test('answers requests of one connection in their order, however they arrive', async () => {
  await start();
  const { socket, ask } = await client();
  const opened = await ask(wire.openSession(2, { uuid: PKCS11_TA }));
  const session = opened.body.readUInt32LE(8);
  const requests = Array.from({ length: 50 }, (_, index) =>
    wire.invoke(100 + index, session, PING, [
      { type: 7, bytes: Buffer.alloc(4) },
      { type: 0 },
      { type: 6, size: 12 },
      { type: 0 },
    ]),
  );
  const bytes = Buffer.concat(requests);
  for (let from = 0; from < bytes.byteLength; from += 37)
    socket.write(bytes.subarray(from, from + 37));

  const numbers: number[] = [];
  let pending = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    pending = Buffer.concat([pending, chunk]);
    while (pending.byteLength >= 12 && pending.byteLength >= 12 + pending.readUInt32LE(0)) {
      numbers.push(pending.readUInt32LE(4));
      pending = pending.subarray(12 + pending.readUInt32LE(0));
    }
    if (numbers.length >= requests.length) break;
  }

  assert.deepEqual(
    numbers,
    requests.map((_, index) => 100 + index),
  );
});

test('creates what is missing on the way to its socket, closed to others', async () => {
  const socket = at('run/tee/socket');
  const world = await SecureWorld.start('--storage', at('s'), '--socket', socket);
  worlds.push(world);

  assert.equal(mode(at('run/tee')), '700');
  mkdirSync(at('open'), { mode: 0o755 });
  chmodSync(at('open'), 0o755);
  await world.end();
  const again = await SecureWorld.start('--storage', at('s'), '--socket', at('open/socket'));
  worlds.push(again);
  assert.deepEqual([mode(at('open')), mode(at('open/socket'))], ['755', '600']);
});
