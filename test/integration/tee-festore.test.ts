/** The festore program and its TA, in processes of their own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { startTee, type Tee } from '../support/tee.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { BUILD, buildDrivers } from './support-tee-drivers.ts';
import {
  FakeWorld,
  INVOKE,
  OPEN_SESSION,
  answerOperation,
  plainReply,
  u32,
} from './support-tee-fake-world.ts';

const MEBIBYTE = 1024 * 1024;
const NOT_FOUND = 3;
const USAGE = 2;
const REFUSED = 1;

interface Run {
  readonly code: number | null;
  readonly out: Buffer;
  readonly err: string;
}

/** The sanitized program; a report of a sanitizer is on stderr. */
async function festore(
  socket: string,
  args: readonly string[],
  input: Buffer = Buffer.alloc(0),
): Promise<Run> {
  const child = spawn(join(BUILD, 'san', 'festore'), args, {
    env: { ...process.env, OTA_TEE_SOCKET: socket },
    timeout: 30_000,
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  await once(child, 'close');
  return { code: child.exitCode, out: Buffer.concat(out), err: Buffer.concat(err).toString() };
}

describe('festore and its TA', () => {
  const directory = temporaryDirectory('festore');
  let tee: Tee;
  before(async () => {
    buildDrivers('sanitized');
    tee = await startTee(directory.path);
  });
  after(async () => {
    await tee.stop();
    directory.remove();
  });

  const run = (args: readonly string[], input?: Buffer): Promise<Run> =>
    festore(tee.socket, args, input);
  const done = async (args: readonly string[], input?: Buffer): Promise<Buffer> => {
    const { code, out, err } = await run(args, input);
    assert.deepEqual([code, err], [0, '']);
    return out;
  };

  test('puts, lists, gets, replaces and deletes', async () => {
    await done(['put', 'wifi/psk'], Buffer.from('first'));
    await done(['put', 'empty']);
    await done(['put', 'wifi/psk'], Buffer.from('second\n'));
    assert.equal((await done(['list'])).toString(), 'wifi/psk\nempty\n');
    assert.equal((await done(['get', 'wifi/psk'])).toString(), 'second\n');
    assert.equal((await done(['get', 'empty'])).length, 0);
    await done(['delete', 'wifi/psk']);
    await done(['delete', 'empty']);
    assert.equal((await done(['list'])).length, 0);
  });

  test('keeps 1 MiB of any bytes across a restart of the world, which is killed', async () => {
    const value = randomBytes(MEBIBYTE);
    await done(['put', 'big'], value);
    process.kill(tee.pid, 'SIGKILL');
    await tee.stop();
    tee = await startTee(directory.path);
    assert.ok(value.equals(await done(['get', 'big'])));
    await done(['delete', 'big']);
  });

  test('leaves nothing on the disk that the normal world can read', async () => {
    const secret = Buffer.from('a secret that nobody else has');
    const tag = 'a-tag-in-plain-sight';
    await done(['put', tag], secret);
    const files = readdirSync(tee.storage).map((name) => readFileSync(join(tee.storage, name)));
    assert.ok(files.length >= 3);
    for (const file of files)
      assert.deepEqual([file.includes(secret), file.includes(tag)], [false, false]);
    await done(['delete', tag]);
  });

  test('says that a value was changed on the disk, and which', async () => {
    const before = new Set(readdirSync(tee.storage));
    await done(['put', 'changed'], Buffer.alloc(9000, 1));
    const file = readdirSync(tee.storage).find((name) => !before.has(name) && name !== 'dirf.db');
    assert.ok(file !== undefined);
    await tee.stop();
    const path = join(tee.storage, file);
    const fd = openSync(path, 'r+');
    for (const at of [8192, 12288, 16384, 20480]) writeSync(fd, Buffer.alloc(64, 0xee), 0, 64, at);
    closeSync(fd);
    tee = await startTee(directory.path);
    const { code, out, err } = await run(['get', 'changed']);
    assert.deepEqual([code, out.length], [REFUSED, 0]);
    assert.match(err, /^festore: get changed: .*changed by somebody.*\(0xf0100001, origin 4\)\n$/);
    await done(['delete', 'changed']);
  });

  test('ends with 3 when nothing is stored under the tag, and says what to do', async () => {
    for (const verb of ['get', 'delete']) {
      const { code, out, err } = await run([verb, 'no such']);
      assert.deepEqual([code, out.length], [NOT_FOUND, 0]);
      assert.match(err, new RegExp(`^festore: ${verb} no such: nothing is stored .*festore list`));
    }
  });

  test('ends with 2 for wrong arguments and too much input, and stores nothing', async () => {
    const wrong = [[], ['put'], ['get', 'a', 'b'], ['list', 'a'], ['show', 'a']];
    for (const args of wrong) {
      const { code, err } = await run(args);
      assert.deepEqual([code, err.startsWith('usage: ')], [USAGE, true]);
    }
    for (const tag of ['', 'x'.repeat(65)]) {
      const { code, err } = await run(['put', tag]);
      assert.equal(code, USAGE);
      assert.match(err, /a tag has 1 to 64 bytes, this one has (0|65)\n$/);
    }
    const { code, err } = await run(['put', 'long'], Buffer.alloc(MEBIBYTE + 1));
    assert.equal(code, USAGE);
    assert.match(err, /at most 1048576 bytes\n$/);
    assert.equal((await done(['list'])).length, 0);
    assert.match((await done(['--help'])).toString(), /^usage: /);
  });

  test('prints tags that would play with the terminal as numbers', async () => {
    await done(['put', '\u001b[2J\n\\é'], Buffer.from('x'));
    assert.equal((await done(['list'])).toString(), '\\x1b[2J\\x0a\\x5c\\xc3\\xa9\n');
    await done(['delete', '\u001b[2J\n\\é']);
  });

  test('lets eight processes put and get at once', async () => {
    const tags = Array.from({ length: 8 }, (_, index) => `tag-${String(index)}`);
    await Promise.all(tags.map((tag) => done(['put', tag], Buffer.from(tag))));
    const values = await Promise.all(tags.map((tag) => done(['get', tag])));
    assert.deepEqual(values.map(String), tags);
    await Promise.all(tags.map((tag) => done(['delete', tag])));
  });
});

describe('festore and a TEE that is not as it should be', () => {
  let world: FakeWorld;
  before(() => {
    buildDrivers('sanitized');
  });
  beforeEach(async () => {
    world = new FakeWorld();
    await world.listen();
  });
  afterEach(async () => {
    await world.close();
  });

  test('says that there is no TEE, and where it looked', async () => {
    const { code, err } = await festore(`${world.socketPath}-missing`, ['list']);
    assert.equal(code, REFUSED);
    assert.match(err, /-missing: No such file .*\nfestore: list: there is no TEE\n$/);
  });

  test('says that the TEE has no festore application', async () => {
    world.reply = (asked) =>
      asked.opcode === OPEN_SESSION ? u32(0xffff0008, 3, 0, 0) : plainReply(asked);
    const { code, err } = await festore(world.socketPath, ['get', 'a']);
    assert.equal(code, REFUSED);
    assert.match(err, /^festore: get a: this TEE has no festore application/);
  });

  test('says that the store is full, and how to make room', async () => {
    world.reply = (asked) =>
      asked.opcode === INVOKE
        ? Buffer.concat([u32(0xffff3041, 4), answerOperation(asked)])
        : plainReply(asked);
    const { code, err } = await festore(world.socketPath, ['put', 'a'], Buffer.from('x'));
    assert.equal(code, REFUSED);
    assert.match(err, /^festore: put a: the store is full: .*festore delete/);
  });

  test('asks again when the value grows in between', async () => {
    const sizes = [3, 5, 5];
    world.reply = (asked) => {
      if (asked.opcode !== INVOKE) return plainReply(asked);
      const size = sizes.shift() ?? 0;
      const isLast = sizes.length === 0;
      const left = [undefined, { bytes: Buffer.from(isLast ? 'grown' : ''), size }];
      return Buffer.concat([u32(isLast ? 0 : 0xffff0010, 4), answerOperation(asked, left)]);
    };
    const { code, out } = await festore(world.socketPath, ['get', 'a']);
    assert.deepEqual([code, out.toString()], [0, 'grown']);
  });

  test('does not read beyond a list that ends within a tag', async () => {
    world.reply = (asked) =>
      asked.opcode === INVOKE
        ? Buffer.concat([
            u32(asked.payload.readUInt32LE(16) === 0 ? 0xffff0010 : 0, 4),
            answerOperation(asked, [{ bytes: Buffer.from([1, 0x61, 9, 0x62]) }]),
          ])
        : plainReply(asked);
    const { code, out, err } = await festore(world.socketPath, ['list']);
    assert.deepEqual([code, out.toString()], [REFUSED, 'a\n']);
    assert.match(err, /^festore: list: the TEE's list ends within a tag/);
  });

  test('ends when the TEE dies in the middle of a call', async () => {
    world.reply = (asked) => (asked.opcode === INVOKE ? 'close' : plainReply(asked));
    const { code, err } = await festore(world.socketPath, ['get', 'a']);
    assert.equal(code, REFUSED);
    assert.match(err, /^festore: get a: the TEE or its festore application died/);
  });
});
