/** Images that are packed while they travel: unpacked into the slot by the format that was signed. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';

import { isOtaError, OtaError } from '../../agent/errors.ts';
import { contentOf, type Compressed, type TrustedTarget } from '../../agent/uptane/plan.ts';
import { installerContract } from '../contract/installer.contract.ts';
import { download, ignore, openAbSlot, UPDATE } from '../support/ab-slot.ts';
import { withMarker } from '../support/ab-slot-devices.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const PACK: Readonly<Record<Compressed['by'], (content: Buffer) => Buffer>> = {
  gzip: (content) => gzipSync(content),
  zstd: (content) => zstdCompressSync(content),
  xz: (content) => execFileSync('xz', ['-c'], { input: content, maxBuffer: 2 ** 24 }),
};
const FORMATS = ['gzip', 'zstd', 'xz'] as const;

function packedTarget(packed: Buffer, by: Compressed['by'], content = UPDATE): TrustedTarget {
  const { lengthBytes, hashes } = targetFor(content);
  return targetFor(packed, { compressed: { by, lengthBytes, hashes } });
}

for (const by of FORMATS) {
  installerContract(`ab-slot, packed with ${by}`, (directory) => {
    const packed = PACK[by](UPDATE);
    return { ...withMarker(directory), target: packedTarget(packed, by), content: packed };
  });
}

function open(t: TestContext): { directory: string; device: ReturnType<typeof withMarker> } {
  const directory = temporaryDirectory('packed');
  t.after(() => {
    directory.remove();
  });
  return { directory: directory.path, device: withMarker(directory.path) };
}

describe('what is declared is what has to come', () => {
  for (const by of FORMATS) {
    const packed = PACK[by](UPDATE);
    const malformed = async (t: TestContext, sent: Buffer, problem: RegExp): Promise<void> => {
      const { installer } = open(t).device;
      await assert.rejects(
        installer.receive(packedTarget(sent, by), () => download(sent), ignore),
        (error) => {
          assert.ok(isOtaError(error) && error.code === 'IMAGE_MALFORMED', String(error));
          const { problem: found, ...rest } = error.details;
          assert.match(found, problem);
          assert.deepEqual(rest, { filename: 'rootfs.img', format: by });
          return true;
        },
      );
    };

    test(`${by}: an image that is not packed so at all is refused`, (t) =>
      malformed(t, UPDATE, /header|descriptor|not recognized/u));

    test(`${by}: so is one that is packed with another format`, async (t) => {
      for (const other of FORMATS) {
        if (other !== by) await malformed(t, PACK[other](UPDATE), /header|descriptor|not recog/u);
      }
    });

    test(`${by}: so are bytes that follow the end, though they were signed`, (t) =>
      malformed(
        t,
        Buffer.concat([packed, Buffer.alloc(100_000, 'garbage')]),
        /follow the end|header|not recognized|Unexpected end|corrupt/u,
      ));

    test(`${by}: so is one that ends too early`, (t) =>
      malformed(t, packed.subarray(0, -9), /unexpected end|Unexpected end/u));

    test(`${by}: bytes that were changed on the way are an attack, not a mistake`, async (t) => {
      const { installer } = open(t).device;
      const changed = Buffer.from(packed);
      changed.fill(0x55, changed.length >> 1, (changed.length >> 1) + 8);
      await assert.rejects(
        installer.receive(packedTarget(packed, by), () => download(changed), ignore),
        (error) => isOtaError(error) && error.code === 'IMAGE_HASH_MISMATCH',
      );
    });

    test(`${by}: no more is unpacked than was signed, whatever it would unpack to`, async (t) => {
      const { directory, device } = open(t);
      const bomb = PACK[by](Buffer.alloc(8 * 1024 * 1024));
      const target = packedTarget(bomb, by, UPDATE);
      await rejectsCode(
        device.installer.receive(target, () => download(bomb), ignore),
        'IMAGE_TOO_LARGE',
        { filename: 'rootfs.img', lengthBytes: UPDATE.byteLength },
      );
      assert.ok(readFileSync(join(directory, 'slot-b')).byteLength <= UPDATE.byteLength);
    });

    test(`${by}: what it unpacks to has hashes of its own`, async (t) => {
      const { installer } = open(t).device;
      const other = Buffer.from(UPDATE);
      other[7] = 0;
      const sent = PACK[by](other);
      await assert.rejects(
        installer.receive(packedTarget(sent, by), () => download(sent), ignore),
        (error) => isOtaError(error) && error.code === 'IMAGE_HASH_MISMATCH',
      );
    });
  }
});

describe('a download that is interrupted', () => {
  const content = randomBytes(2.5 * 1024 * 1024);
  const packed = gzipSync(content, { level: 1 });
  const target = packedTarget(packed, 'gzip', content);
  const lost = (): OtaError =>
    new OtaError('DOWNLOAD_FAILED', { filename: 'rootfs.img', url: 'u', cause: 'reset' });

  test('goes on at once from where a good connection ended, with all that was unpacked', async (t) => {
    const { installer } = open(t).device;
    const offsets: number[] = [];
    const source = async function* (offset: number): AsyncGenerator<Uint8Array> {
      offsets.push(offset);
      yield* download(packed.subarray(0, offset + 1024 * 1024 + 5), offset);
      if (offset + 1024 * 1024 + 5 < packed.length) throw lost();
    };
    await installer.receive(target, source, ignore);
    await installer.prove(target, ignore);
    assert.deepEqual(offsets, [0, 1024 * 1024 + 5, 2 * (1024 * 1024 + 5)]);
  });

  test('begins again at its beginning in the next attempt', async (t) => {
    const { installer } = open(t).device;
    const offsets: number[] = [];
    const broken = async function* (offset: number): AsyncGenerator<Uint8Array> {
      offsets.push(offset);
      yield* download(packed.subarray(0, 700_000), offset);
      throw lost();
    };
    await assert.rejects(installer.receive(target, broken, ignore), { code: 'DOWNLOAD_FAILED' });
    await installer.receive(
      target,
      (offset) => {
        offsets.push(offset);
        return download(packed, offset);
      },
      ignore,
    );
    assert.deepEqual(offsets, [0, 0]);
    await installer.receive(target, () => assert.fail('it is all there'), ignore);
  });
});

describe('the xz program', () => {
  const packed = PACK.xz(UPDATE);
  const target = packedTarget(packed, 'xz');

  const withXz = async (
    t: TestContext,
    script: string | undefined,
    cause: RegExp,
  ): Promise<void> => {
    const { directory } = open(t);
    const programs = join(directory, 'programs');
    mkdirSync(programs);
    if (script !== undefined) {
      writeFileSync(join(programs, 'xz'), `#!/bin/sh\n${script}\n`);
      chmodSync(join(programs, 'xz'), 0o755);
    }
    const before = process.env['PATH'] ?? '';
    process.env['PATH'] = script === undefined ? programs : `${programs}:${before}`;
    t.after(() => {
      process.env['PATH'] = before;
    });
    const slots = { a: join(directory, 'slot-a'), b: join(directory, 'slot-b') };
    const at = (name: string): string => join(directory, name);
    const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
    const installer = openAbSlot(slots, board, { stallMs: 300 });
    const fails = (error: unknown): boolean => {
      assert.ok(isOtaError(error) && error.code === 'INSTALL_FAILED', String(error));
      assert.match(error.details.cause, cause);
      assert.equal(error.details.ecu, 'ecu-1');
      return true;
    };
    if (script === undefined) await assert.rejects(installer.check(target), fails);
    await assert.rejects(
      installer.receive(target, (offset) => download(packed, offset), ignore),
      fails,
    );
  };

  test('that is missing is found before anything is downloaded', (t) =>
    withXz(t, undefined, /^xz cannot be run: .*ENOENT; .*install xz-utils$/u));
  test('that crashes is named with its signal', (t) =>
    withXz(t, 'kill -SEGV $$', /^xz was ended by SIGSEGV/u));
  test('that hangs is ended', (t) => withXz(t, 'sleep 60', /^xz did nothing for 0\.3 s/u));

  test('is not thought to hang while the network is slow', async (t) => {
    const { directory } = open(t);
    const at = (name: string): string => join(directory, name);
    const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
    const slots = { a: at('slot-a'), b: at('slot-b') };
    const installer = openAbSlot(slots, board, { stallMs: 1000 });
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield packed.subarray(0, 100);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      yield packed.subarray(100);
    };
    await installer.receive(target, slow, ignore);
    assert.equal(contentOf(target).lengthBytes, UPDATE.byteLength);
    await installer.prove(target, ignore);
  });
});
