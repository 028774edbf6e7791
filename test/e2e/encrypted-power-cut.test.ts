/** kill -9 while an image that is encrypted is decrypted, and what the next run makes of it. */
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import type { RequestLine } from '../director/gateway/traffic.ts';
import { collect } from '../support/device.ts';
import { DEVICE, describe as said, HARDWARE, openWorld, type World } from '../support/world.ts';

const MARK = 'only this device may read this ';
/** From one point that a download into a slot is resumed from to the next. */
const POINT_BYTES = 32 * 1024 * 1024;
/** Three seconds of that download more: a disk that others use may take one to have the point on it. */
const BYTES = POINT_BYTES + 24 * 1024 * 1024;
const TRIES = 10;

const content = (name: string): Buffer => Buffer.alloc(BYTES, `${MARK}${name} `);

describe('power cuts and encrypted images', () => {
  let world: World;
  let memory: string;
  before(async () => {
    world = await openWorld('provisioned');
    memory = mkdtempSync('/dev/shm/ota-agent-encrypted-');
    world.device.configure({
      download: { reserve: '1MiB' },
      secrets: { directory: join(memory, 'secrets') },
    });
    // A Director without anything to encrypt wants no key.
    await publish('stream.img');
    const result = await world.device.agent(['secrets']);
    assert.equal(result.exit, 0, said(result));
  });
  after(async () => {
    await world.close();
    rmSync(memory, { recursive: true });
  });

  const storage = (...names: readonly string[]): string =>
    join(world.device.options.directory, 'storage', ...names);
  const publish = async (name: string): Promise<void> => {
    const path = join(world.directory, 'published');
    writeFileSync(path, content(name));
    const hardwareIds = [HARDWARE];
    await world.director.publish({ path, name, hardwareIds, version: '1', encrypt: true });
  };
  /** @returns whether it was killed, and had not ended by itself */
  const killedWhen = async (isTime: () => boolean): Promise<boolean> => {
    const child = world.device.start(['once', '--json']);
    const ended = collect(child);
    while (child.exitCode === null && !isTime()) await setTimeout(1);
    child.kill('SIGKILL');
    return (await ended).signal === 'SIGKILL';
  };
  /** Of each request for an image, the part that was asked for. */
  const rangesOf = async (name: string): Promise<readonly (string | undefined)[]> => {
    const path = `/requests?device=${DEVICE}`;
    const lines = (await world.director.control('GET', path)) as readonly RequestLine[];
    return lines.filter((one) => one.path.endsWith(`/targets/${name}`)).map(({ range }) => range);
  };
  const inTheClear = (): readonly string[] =>
    readdirSync(storage(), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => readFileSync(path).includes(MARK));

  test('a stream into a slot goes on where it was cut, and the slot is bootable only when it is whole', async (t) => {
    await world.director.assign(DEVICE, 'stream.img');
    const { device } = world;
    const received = (): boolean =>
      existsSync(device.board.marker) &&
      Object.keys(device.marker()).some((name) => name.startsWith('received'));
    // So that something is left to download when the first point to go on from was noted.
    device.configure({ download: { max_rate: '8MiB' } });
    t.after(() => {
      device.configure({ download: { max_rate: undefined } });
    });
    assert.ok(await killedWhen(received), 'it ended before it could be killed');
    device.configure({ download: { max_rate: undefined } });
    assert.ok(received());
    assert.equal(device.boot(), 'a');
    const written = await device.agent(['once']);
    assert.equal(written.exit, 11, said(written));
    const [whole, rest = '', ...more] = await rangesOf('stream.img');
    assert.deepEqual([whole, more], [undefined, []]);
    const [, from = ''] = /^bytes=(\d+)-$/u.exec(rest) ?? [];
    assert.ok(Number(from) >= POINT_BYTES && Number(from) < BYTES, rest);
    assert.equal(device.boot(), 'b');
    const confirmed = await device.agent(['once']);
    assert.equal(confirmed.exit, 0, said(confirmed));
    assert.ok(device.running(BYTES).equals(content('stream.img')));
    assert.deepEqual(inTheClear(), []);
  });

  test('an image that was cut while it was decrypted into a file is gone, and is installed by the next run', async (t) => {
    const path = join(world.directory, 'installed.img');
    const none = {
      slot_a: undefined,
      slot_b: undefined,
      marker: undefined,
      booted_file: undefined,
    };
    world.device.configure({ installer: { type: 'file', path, ...none } });
    const clear = storage('decrypted', 'image');
    const isPart = (): boolean => {
      const size = statSync(clear, { throwIfNoEntry: false })?.size ?? 0;
      return size > 0 && size < BYTES;
    };
    let name = '';
    for (let cut = 0; cut < TRIES && !isPart(); cut += 1) {
      name = `file-${String(cut)}.img`;
      await publish(name);
      await world.director.assign(DEVICE, name);
      await killedWhen(isPart);
    }
    assert.ok(isPart(), 'it was never killed in the middle');
    t.diagnostic(`${name} was killed in the middle`);
    // One that ended before it could be killed has installed an image before this one.
    assert.ok(!existsSync(path) || !readFileSync(path).equals(content(name)));
    const installed = await world.device.agent(['once']);
    assert.equal(installed.exit, 0, said(installed));
    assert.ok(readFileSync(path).equals(content(name)));
    assert.deepEqual(await rangesOf(name), [undefined]);
    assert.deepEqual(inTheClear(), []);
  });
});
