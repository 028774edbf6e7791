/** Images encrypted for one device, from the publisher's command to what runs. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { after, before, describe, test } from 'node:test';

import { FAULTS, rowOf, type FaultName } from '../director/faults.ts';
import { trustedState } from '../support/trusted-state.ts';
import { DEVICE, describe as said, HARDWARE, openWorld, type World } from '../support/world.ts';

const CLI = join(import.meta.dirname, '../director/cli.ts');
const execute = promisify(execFile);

const MARK = 'only this device may read this ';
const CHUNK_BYTES = 65_536;
const BYTES = 5 * CHUNK_BYTES + 17;

const content = (name: string): Buffer => Buffer.alloc(BYTES, `${MARK}${name}`);
const notAuthentic = 'it is not authentic: changed, moved, or encrypted with another key';

interface Refused {
  readonly exit: number;
  readonly code: string;
  readonly details: object;
  readonly downloads: number;
  /** Signed and whole, and rightly newer afterwards: what it says of encryption is what is wrong. */
  readonly kept: readonly string[];
}

const decryption = (part: string, problem: string, downloads: number): Refused => ({
  exit: 31,
  code: 'IMAGE_DECRYPTION_FAILED',
  details: { part, problem },
  downloads,
  kept: ['director/snapshot', 'director/targets', 'director/timestamp'],
});

const WANTED = { want: `${String(BYTES + 6 * 16)}: the image, and a tag for each chunk` };

const REFUSED: Readonly<Partial<Record<FaultName, Refused>>> = {
  'encryption-other-device': decryption(
    'key',
    'it was encrypted to another key, or changed since',
    0,
  ),
  'encryption-other-image': decryption('key', 'it is for an image with another sha256', 0),
  'encryption-other-key': decryption('chunk 1 of 6', notAuthentic, 1),
  'encryption-chunk-flipped': decryption('chunk 3 of 6', notAuthentic, 1),
  'encryption-chunks-swapped': decryption('chunk 3 of 6', notAuthentic, 1),
  'encryption-truncated': {
    exit: 20,
    code: 'METADATA_MALFORMED',
    details: WANTED,
    downloads: 0,
    kept: ['director/snapshot', 'director/timestamp'],
  },
  'encryption-appended': {
    exit: 20,
    code: 'METADATA_MALFORMED',
    details: WANTED,
    downloads: 0,
    kept: ['director/snapshot', 'director/timestamp'],
  },
};
const THIRD = new Set(['encryption-chunk-flipped', 'encryption-chunks-swapped']);

describe('an image that is encrypted for one device', () => {
  let world: World;
  let memory: string;
  before(async () => {
    world = await openWorld('provisioned');
    memory = mkdtempSync('/dev/shm/ota-agent-encrypted-');
    world.device.configure({
      download: { attempts: 1, reserve: '1MiB' },
      secrets: { directory: join(memory, 'secrets') },
    });
  });
  after(async () => {
    await world.close();
    rmSync(memory, { recursive: true });
  });

  const director = (...words: readonly string[]): Promise<unknown> =>
    execute(process.execPath, [CLI, '--state', world.director.stateDir, ...words]);
  const offer = async (name: string): Promise<void> => {
    const path = join(world.directory, `published-${name}`);
    writeFileSync(path, content(name));
    const hardwareIds = [HARDWARE];
    await world.director.publish({ path, name, hardwareIds, version: '1', encrypt: true });
    await world.director.assign(DEVICE, name);
  };
  const downloads = async (): Promise<number> => {
    const lines = await world.director.control('GET', `/requests?device=${DEVICE}`);
    const paths = (lines as { readonly path: string }[]).map(({ path }) => path);
    return paths.filter((path) => path.startsWith('/repo/targets/')).length;
  };
  const trust = (): Promise<Record<string, string>> =>
    trustedState(join(world.device.options.directory, 'storage'));
  /** As a power cut in the middle of an installation does. */
  const leaveInTheClear = (): void => {
    const directory = join(world.device.options.directory, 'storage', 'decrypted');
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'image'), MARK);
  };
  /** Every file of the device with plain content in it. */
  const inTheClear = (): readonly string[] => {
    const { directory } = world.device.options;
    return readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => readFileSync(path).includes(MARK));
  };

  test('is not to be had before the device has registered a key, and then by one command', async () => {
    const path = join(world.directory, 'published');
    writeFileSync(path, content('first.img'));
    const words = ['--name', 'first.img', '--hardware-id', HARDWARE, '--version', '1'];
    await director('publish', path, ...words, '--encrypt');
    await assert.rejects(
      director('assign', DEVICE, 'first.img'),
      /run ota-agent secrets on the device/u,
    );
    const result = await world.device.agent(['secrets']);
    assert.equal(result.exit, 0, said(result));
    await director('assign', DEVICE, 'first.img');
  });

  test('runs from its slot, and lies nowhere else on the device in the clear', async () => {
    const installed = await world.device.agent(['once']);
    assert.equal(installed.exit, 11, said(installed));
    world.device.boot();
    const confirmed = await world.device.agent(['confirm']);
    assert.equal(confirmed.exit, 0, said(confirmed));
    assert.ok(world.device.running(BYTES).equals(content('first.img')));
    assert.deepEqual(inTheClear(), [world.device.slots.b]);
    const report = await world.device.agent(['once']);
    assert.equal(report.exit, 0, said(report));
    assert.equal(await outcome(), 'done');
  });

  const outcome = async (): Promise<string> => {
    const device = await world.director.control('GET', `/devices/${DEVICE}`);
    return (device as { readonly assignment: { readonly outcome: string } }).assignment.outcome;
  };

  for (const [fault, expected] of Object.entries(REFUSED)) {
    test(`${fault}: ${expected.code}, and all stays as it was`, async () => {
      await offer(`${fault}.img`);
      const seen = await world.device.agent(['check']);
      assert.equal(seen.exit, 10, said(seen));
      const trusted = await trust();
      const already = await downloads();
      const parameters = THIRD.has(fault) ? { chunk: 2 } : {};
      leaveInTheClear();
      await world.director.fault(fault as FaultName, 'on', { parameters });
      const result = await world.device.agent(['once']);
      await world.director.fault(fault as FaultName, 'off');
      assert.equal(result.exit, expected.exit, said(result));
      assert.equal(result.json['code'], expected.code);
      assert.equal(rowOf(fault as FaultName).code, expected.code);
      const details = result.json['details'] as Record<string, unknown>;
      for (const [name, value] of Object.entries(expected.details)) {
        assert.equal(details[name], value);
      }
      assert.equal((await downloads()) - already, expected.downloads);
      const now = await trust();
      const changed = Object.keys({ ...trusted, ...now }).filter(
        (name) => trusted[name] !== now[name],
      );
      assert.deepEqual(changed, expected.kept);
      world.device.boot();
      assert.ok(world.device.running(BYTES).equals(content('first.img')));
      assert.deepEqual(inTheClear(), [world.device.slots.b]);
    });
  }

  test('every fault of encryption that the Director knows is played here', () => {
    const names = Object.keys(FAULTS).filter((name) => name.startsWith('encryption-'));
    assert.deepEqual(Object.keys(REFUSED).toSorted(), names.toSorted());
  });

  test('is taken by the daemon as well, once it is honest again, and by any installer', async () => {
    const path = join(world.directory, 'installed.img');
    world.device.configure({
      installer: {
        type: 'file',
        path,
        slot_a: undefined,
        slot_b: undefined,
        marker: undefined,
        booted_file: undefined,
      },
    });
    await offer('second.img');
    const daemon = world.device.start(['run']);
    try {
      const until = Date.now() + 20_000;
      while ((await outcome()) !== 'done') {
        assert.ok(Date.now() < until, 'the daemon has installed nothing');
        await delay(100);
      }
    } finally {
      daemon.kill('SIGTERM');
      await once(daemon, 'exit');
    }
    assert.ok(readFileSync(path).equals(content('second.img')));
    assert.deepEqual(inTheClear(), [world.device.slots.b]);
  });
});
