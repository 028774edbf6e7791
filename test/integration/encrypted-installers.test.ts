/** Installers that ship, behind decryption: the contract, and cipher text that whoever signs has spoiled. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';

import { OtaError } from '../../agent/errors.ts';
import { decrypting } from '../../agent/io/encrypted/decrypting-installer.ts';
import type { OpenImage, StreamingInstaller } from '../../agent/ports.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import { trust } from '../../agent/uptane/trust.ts';
import {
  installerContract,
  takeImage,
  type InstallerFixture,
} from '../contract/installer.contract.ts';
import { download, fileSlots, ignore, openAbSlot, UPDATE } from '../support/ab-slot.ts';
import { withMarker } from '../support/ab-slot-devices.ts';
import { openBoard, UPDATE as TREE } from '../support/directory-board.ts';
import { decryptionOf, encryptedFor, type EncryptedImage } from '../support/encrypted-image.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { fileDevice } from '../support/file-device.ts';
import { RaucBench } from '../support/rauc-bench.ts';
import { raucProblem } from '../support/rauc-device.ts';
import { softwareKey } from '../support/secrets-key.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const KEY = softwareKey();
const CHUNK_BYTES = 4096;
/** A chunk of cipher text, with its tag. */
const STEP = CHUNK_BYTES + 16;
/** Chunks of the update. */
const COUNT = Math.ceil(UPDATE.length / CHUNK_BYTES);

/** The same device; what it gets is encrypted for it. */
async function encrypted(
  directory: string,
  fixture: InstallerFixture,
): Promise<InstallerFixture & EncryptedImage> {
  const image = await encryptedFor(fixture.target, fixture.content, KEY);
  const installer = decrypting(fixture.installer, decryptionOf(KEY, directory));
  return { ...fixture, ...image, installer, content: image.cipher };
}

function packed(content: Buffer, by: 'gzip' | 'zstd'): TrustedTarget {
  const { lengthBytes, hashes } = targetFor(UPDATE);
  return targetFor(content, { compressed: { by, lengthBytes, hashes } });
}

const DEVICES = {
  file: fileDevice,
  'ab-slot, marker': withMarker,
  'ab-slot, packed with gzip': (directory) => {
    const content = gzipSync(UPDATE, { level: 0 });
    return { ...withMarker(directory), content, target: packed(content, 'gzip') };
  },
  'ab-slot, packed with zstd': (directory) => {
    const content = zstdCompressSync(UPDATE);
    return { ...withMarker(directory), content, target: packed(content, 'zstd') };
  },
  'directory, release.tar.gz': (directory) => {
    const content = gzipSync(TREE);
    const target = targetFor(content, { filename: 'release.tar.gz' });
    return { ...openBoard(directory), target, content, boot: () => undefined };
  },
} satisfies Record<string, (directory: string) => InstallerFixture>;

for (const [name, open] of Object.entries(DEVICES)) {
  installerContract(`${name}, encrypted`, (directory) => encrypted(directory, open(directory)));
}

const noRauc = raucProblem();
test(
  'rauc, encrypted: RAUC opens the bundle itself, and nothing of that is left',
  { skip: noRauc ?? false },
  async (t) => {
    const directory = temporary(t);
    const bench = new RaucBench(directory);
    const device = await bench.open();
    t.after(() => device.close());
    const { target, content } = bench.update;
    const image = await encryptedFor(target, content, KEY);
    const installer = decrypting(device.installer, decryptionOf(KEY, directory));
    const staged = join(directory, 'staged');
    writeFileSync(staged, image.cipher);
    await installer.check(image.target);
    await takeImage({ installer, target: image.target }, staged);
    await installer.activate(image.target);
    assert.equal(existsSync(join(directory, 'decrypted')), false);
    device.boot();
    assert.equal(device.runs(), 'update');
    assert.equal(await installer.booted(image.target), true);
  },
);

function temporary(t: TestContext): string {
  const directory = temporaryDirectory('encrypted-installers');
  t.after(() => {
    directory.remove();
  });
  return directory.path;
}

/** Spoiled before the Director signed it: its hashes are right, and only decryption can tell in which chunk. */
const SPOILED: Readonly<Record<string, readonly [(cipher: Buffer) => Buffer, chunk: number]>> = {
  'with a bit changed': [(cipher) => flipped(cipher, 2 * STEP), 3],
  'with a bit of the last tag changed': [(cipher) => flipped(cipher, cipher.length - 1), COUNT],
  'with two chunks exchanged': [(cipher) => inOrder(cipher, [0, 2, 1]), 2],
  'with a chunk repeated in the place of another': [(cipher) => inOrder(cipher, [0, 0, 2]), 2],
  'of other content': [(cipher) => randomBytes(cipher.length), 1],
};

/** The first chunks in that order, and the others as they are. */
function inOrder(cipher: Buffer, order: readonly number[]): Buffer {
  const chunks = order.map((chunk) => cipher.subarray(chunk * STEP, (chunk + 1) * STEP));
  return Buffer.concat([...chunks, cipher.subarray(order.length * STEP)]);
}

function flipped(content: Buffer, at: number): Buffer {
  const changed = Buffer.from(content);
  changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
  return changed;
}

function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

function signedAs(target: TrustedTarget, cipher: Buffer): TrustedTarget {
  assert.ok(target.encrypted !== undefined);
  const hashes = new Map([['sha256', sha256(cipher)]]);
  return trust({
    ...target,
    encrypted: { ...target.encrypted, lengthBytes: cipher.length, hashes },
  });
}

interface Sent {
  readonly target: TrustedTarget;
  readonly cipher: Buffer;
  readonly part: string;
  readonly problem: string;
}

for (const [name, open] of Object.entries({ file: fileDevice, 'ab-slot': withMarker })) {
  describe(`${name}: cipher text that is signed as it is, but is none of this image`, () => {
    const refuses = async (
      t: TestContext,
      send: (honest: EncryptedImage) => Sent,
    ): Promise<void> => {
      const directory = temporary(t);
      const device = await encrypted(directory, open(directory));
      const { target, cipher, ...why } = send(device);
      const staged = join(directory, 'staged');
      writeFileSync(staged, cipher);
      const taken = takeImage({ installer: device.installer, target }, staged);
      const { filename } = target;
      await rejectsCode(taken, 'IMAGE_DECRYPTION_FAILED', { filename, ...why });
      assert.equal(existsSync(join(directory, 'decrypted')), false);
      await assert.rejects(device.installer.activate(target));
      for (let boot = 0; boot < 3; boot += 1) {
        await device.boot();
        assert.equal(await device.running(), 'factory');
      }
    };

    for (const [how, [spoil, chunk]] of Object.entries(SPOILED)) {
      test(`${how} is refused in that chunk, and nothing of it can be booted`, (t) =>
        refuses(t, (honest) => {
          const cipher = spoil(honest.cipher);
          const problem = 'it is not authentic: changed, moved, or encrypted with another key';
          const part = `chunk ${String(chunk)} of ${String(COUNT)}`;
          return { target: signedAs(honest.target, cipher), cipher, part, problem };
        }));
    }

    test('cut before its last chunk is refused, and nothing of it can be booted', (t) =>
      refuses(t, (honest) => {
        const cipher = honest.cipher.subarray(0, (COUNT - 1) * STEP);
        const problem = `it ends in or before chunk ${String(COUNT)} of ${String(COUNT)}`;
        return { target: signedAs(honest.target, cipher), cipher, part: 'length', problem };
      }));

    test('with a chunk appended is refused, and nothing of it can be booted', (t) =>
      refuses(t, (honest) => {
        const cipher = Buffer.concat([honest.cipher, honest.cipher.subarray(0, STEP)]);
        const problem = 'it goes on after its last chunk';
        return { target: signedAs(honest.target, cipher), cipher, part: 'length', problem };
      }));
  });
}

describe('ab-slot, encrypted: a stream', () => {
  const slot = (
    t: TestContext,
    content: Buffer,
  ): { device: ReturnType<typeof withMarker>; open: () => StreamingInstaller } => {
    const directory = temporary(t);
    const slots = fileSlots(directory);
    const device = withMarker(directory, slots);
    const at = (name: string): string => join(directory, name);
    const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
    // Of another process each time: what it goes on from is on the disk.
    const open = (): StreamingInstaller => {
      const inner = openAbSlot(slots, board, { checkpointBytes: content.length / 4 });
      const installer = decrypting(inner, decryptionOf(KEY, directory));
      assert.ok(installer.takes === 'stream');
      return installer;
    };
    return { device, open };
  };
  const CONTENT = randomBytes(4 * 1024 * 1024);

  test('that was changed on the way is an attack, not a mistake of whoever signed it', async (t) => {
    const { open } = slot(t, CONTENT);
    const {
      target,
      encrypted: signed,
      cipher,
    } = await encryptedFor(targetFor(CONTENT), CONTENT, KEY);
    const changed = flipped(cipher, STEP);
    await rejectsCode(
      open().receive(target, (offset) => download(changed, offset), ignore),
      'IMAGE_HASH_MISMATCH',
      {
        filename: target.filename,
        algorithm: 'sha256',
        signed: signed.hashes.get('sha256') ?? '',
        computed: sha256(changed),
      },
    );
  });

  test('that broke off goes on at the chunk in which the slot ends, and what runs is the image', async (t) => {
    const { device, open } = slot(t, CONTENT);
    const { target, cipher } = await encryptedFor(targetFor(CONTENT), CONTENT, KEY);
    const offsets: number[] = [];
    const until = (bytes: number): OpenImage =>
      async function* (offset) {
        offsets.push(offset);
        yield* download(cipher.subarray(0, bytes), offset);
        if (bytes < cipher.length) throw lost();
      };
    await rejectsCode(open().receive(target, until(2_500_000), ignore), 'DOWNLOAD_FAILED', LOST);
    // A chunk of the rest that is changed costs nothing of what is proven.
    const changed = flipped(cipher, 600 * STEP);
    const spoiled: OpenImage = (offset) => {
      offsets.push(offset);
      return download(changed, offset);
    };
    await assert.rejects(open().receive(target, spoiled, ignore), {
      code: 'IMAGE_DECRYPTION_FAILED',
    });
    const installer = open();
    await installer.receive(target, until(cipher.length), ignore);
    await installer.prove(target, ignore);
    await installer.activate(target);
    device.boot();
    assert.equal(await installer.booted(target), true);
    assert.equal(offsets.length, 3);
    assert.deepEqual(
      offsets.map((offset) => offset % STEP),
      [0, 0, 0],
    );
    assert.equal(offsets[0], 0);
    assert.ok((offsets[1] ?? 0) >= 256 * STEP, String(offsets));
    assert.ok((offsets[2] ?? 0) >= (offsets[1] ?? 0), String(offsets));
  });

  test('of a packed image goes on within one attempt, and is unpacked into the slot', async (t) => {
    const { device, open } = slot(t, CONTENT);
    const content = gzipSync(CONTENT, { level: 1 });
    const { lengthBytes, hashes } = targetFor(CONTENT);
    const plain = targetFor(content, { compressed: { by: 'gzip', lengthBytes, hashes } });
    const { target, cipher } = await encryptedFor(plain, content, KEY);
    const offsets: number[] = [];
    const installer = open();
    await installer.receive(
      target,
      async function* (offset) {
        offsets.push(offset);
        const end = offset + 1_500_000;
        yield* download(cipher.subarray(0, end), offset);
        if (end < cipher.length) throw lost();
      },
      ignore,
    );
    await installer.prove(target, ignore);
    await installer.activate(target);
    device.boot();
    assert.equal(await installer.booted(target), true);
    assert.ok(offsets.length >= 3, String(offsets));
  });
});

const LOST = { filename: 'rootfs.img', url: 'u', cause: 'reset' };

function lost(): OtaError {
  return new OtaError('DOWNLOAD_FAILED', LOST);
}
