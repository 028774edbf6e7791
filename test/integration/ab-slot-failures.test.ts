/** Disks that are full or read-only, and tools of boot loaders that are missing, crash or hang. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';

import { UbootEnvironment } from '../../agent/io/installers/ab-slot/uboot.ts';
import { isOtaError } from '../../agent/errors.ts';
import { attachDisk, download, FACTORY, ignore, openAbSlot, UPDATE } from '../support/ab-slot.ts';
import { take, withUboot } from '../support/ab-slot-devices.ts';
import { bootBoard } from '../support/boot-loader.ts';
import { Uboot } from '../support/boot-loaders/uboot.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { detachLoop, loopProblem } from '../support/loop-device.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const noLoop = loopProblem();
const target = targetFor(UPDATE);

function temporary(t: TestContext): string {
  const directory = temporaryDirectory('slot-failures');
  t.after(() => {
    directory.remove();
  });
  return directory.path;
}

describe('ab-slot on disks that fail', { skip: noLoop ?? false }, () => {
  /** A small file system of its own, with slot b on it. */
  const smallDisk = (
    t: TestContext,
    bytes: string,
  ): { slots: { a: string; b: string }; board: Parameters<typeof openAbSlot>[1]; mnt: string } => {
    const directory = temporaryDirectory('small-disk');
    const at = (...names: string[]): string => join(directory.path, ...names);
    const mnt = at('mnt');
    mkdirSync(mnt);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', mnt]);
    t.after(() => {
      execFileSync('umount', [mnt]);
      directory.remove();
    });
    writeFileSync(at('slot-a'), FACTORY);
    writeFileSync(join(mnt, 'slot-b'), '');
    const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
    bootBoard(board);
    return { slots: { a: at('slot-a'), b: join(mnt, 'slot-b') }, board, mnt };
  };

  test('a slot whose file system is too small is refused before the download', async (t) => {
    const { slots, board } = smallDisk(t, '512k');
    await rejectsCode(openAbSlot(slots, board).check(target), 'SPACE_INSUFFICIENT', {
      path: slots.b,
      neededBytes: UPDATE.byteLength,
      freeBytes: 512 * 1024,
    });
  });

  test('so is an image larger than the size that is set for slots', async (t) => {
    const { slots, board } = smallDisk(t, '8m');
    const slotBytes = UPDATE.byteLength - 1;
    await rejectsCode(openAbSlot(slots, board, { slotBytes }).check(target), 'SPACE_INSUFFICIENT', {
      path: slots.b,
      neededBytes: UPDATE.byteLength,
      freeBytes: slotBytes,
    });
  });

  for (const [how, threadFromBytes] of [
    ['', Infinity],
    [' in a thread', 0],
  ] as const) {
    test(`a file system that fills up meanwhile${how} says how much is missing; then it goes on`, async (t) => {
      const { slots, board, mnt } = smallDisk(t, '1600k');
      const installer = openAbSlot(slots, board, { threadFromBytes });
      const filled = async function* (offset: number): AsyncGenerator<Uint8Array> {
        writeFileSync(join(mnt, 'log'), Buffer.alloc(1024 * 1024));
        yield* download(UPDATE, offset);
      };
      await assert.rejects(installer.receive(target, filled, ignore), (error) => {
        assert.ok(isOtaError(error) && error.code === 'SPACE_INSUFFICIENT', String(error));
        const { path, neededBytes, freeBytes } = error.details;
        assert.deepEqual([path, neededBytes], [slots.b, UPDATE.byteLength]);
        assert.ok(freeBytes < neededBytes, String(freeBytes));
        return true;
      });
      writeFileSync(join(mnt, 'log'), '');
      await installer.receive(target, (offset) => download(UPDATE, offset), ignore);
      await installer.prove(target, ignore);
      await installer.activate(target);
      assert.equal(bootBoard(board), 'b');
    });
  }

  test('a read-only file system is an INSTALL_FAILED before the download', async (t) => {
    const { slots, board, mnt } = smallDisk(t, '8m');
    execFileSync('mount', ['-o', 'remount,ro', mnt]);
    await assert.rejects(openAbSlot(slots, board).check(target), (error) => {
      assert.ok(isOtaError(error) && error.code === 'INSTALL_FAILED');
      assert.match(error.details.cause, /^EROFS: .*slot-b/u);
      return true;
    });
  });

  test('a read-only device is, too, and says what to do', async (t) => {
    const directory = temporary(t);
    const at = (name: string): string => join(directory, name);
    const device = attachDisk(at('disk'), 4 * 1024 * 1024);
    t.after(() => {
      detachLoop(device);
    });
    execFileSync('blockdev', ['--setro', device]);
    writeFileSync(at('slot-a'), FACTORY);
    const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
    bootBoard(board);
    await rejectsCode(
      openAbSlot({ a: at('slot-a'), b: device }, board).check(target),
      'INSTALL_FAILED',
      { installer: 'ab-slot', ecu: 'ecu-1', cause: `${device} is read-only: make it writable` },
    );
  });

  test('a boot loader that cannot be told is found before the download', async (t) => {
    const { slots, board, mnt } = smallDisk(t, '8m');
    const marker = join(mnt, 'boot', 'marker');
    const installer = openAbSlot(slots, { ...board, marker });
    await assert.rejects(installer.check(target), (error) => {
      assert.ok(isOtaError(error) && error.code === 'INSTALL_FAILED');
      assert.match(error.details.cause, /boot: ENOENT.*let the agent write there/u);
      return true;
    });
  });
});

describe('U-Boot’s tools', () => {
  /** Tools that a test wrote, before the real ones. */
  const tools = (t: TestContext, directory: string, scripts: Record<string, string>): void => {
    const programs = join(directory, 'programs');
    mkdirSync(programs);
    for (const [name, script] of Object.entries(scripts)) {
      writeFileSync(join(programs, name), `#!/bin/sh\n${script}\n`);
      chmodSync(join(programs, name), 0o755);
    }
    const before = process.env['PATH'] ?? '';
    process.env['PATH'] = Object.keys(scripts).length === 0 ? programs : `${programs}:${before}`;
    t.after(() => {
      process.env['PATH'] = before;
    });
  };
  const fails = async (act: Promise<unknown>, cause: RegExp): Promise<void> => {
    await assert.rejects(act, (error) => {
      assert.ok(isOtaError(error) && error.code === 'INSTALL_FAILED', String(error));
      assert.match(error.details.cause, cause);
      return true;
    });
  };

  test('that are missing are found before the download', async (t) => {
    const directory = temporary(t);
    const { installer } = withUboot(directory, 'boot-order');
    tools(t, directory, {});
    await fails(
      installer.check(target),
      /^fw_printenv cannot be run: .*install libubootenv-tool$/u,
    );
  });

  test('that crash or hang are named, and the old image stays chosen', async (t) => {
    const directory = temporary(t);
    const device = withUboot(directory, 'boot-order');
    await take(device);
    tools(t, directory, { fw_setenv: 'kill -SEGV $$' });
    await fails(device.installer.activate(target), /^fw_setenv was ended by SIGSEGV/u);
    device.boot();
    assert.equal(device.running(), 'factory');
    const { config: configPath } = device.uboot;
    const options = { configPath, convention: 'boot-order', tries: 3, timeoutMs: 300 } as const;
    writeFileSync(join(directory, 'programs', 'fw_setenv'), '#!/bin/sh\nsleep 60\n');
    const hanging = new UbootEnvironment(options);
    await fails(hanging.attempt('b', 'a'), /^fw_setenv did not end within 0\.3 s/u);
    assert.equal(device.uboot.values().get('BOOT_ORDER'), 'A');
  });

  test('that fail say what they said, and where to look', async (t) => {
    const directory = temporary(t);
    const uboot = new Uboot(directory, { BOOT_ORDER: 'A' });
    for (const name of ['uboot.env', 'uboot-redundant.env']) {
      writeFileSync(join(directory, name), Buffer.alloc(0x2000));
    }
    const options = { configPath: uboot.config, convention: 'boot-order', tries: 3 } as const;
    await fails(
      new UbootEnvironment(options).read(),
      /^fw_printenv ended with 243 \(Cannot read environment.*fw_env\.config and that there is/u,
    );
  });

  test('that do not write what they were told are found out', async (t) => {
    const directory = temporary(t);
    const uboot = new Uboot(directory, { BOOT_ORDER: 'A' });
    tools(t, directory, { fw_setenv: 'exit 0' });
    const options = { configPath: uboot.config, convention: 'boot-order', tries: 3 } as const;
    await fails(
      new UbootEnvironment(options).attempt('b', 'a'),
      /^fw_setenv left BOOT_ORDER as it was/u,
    );
  });
});
