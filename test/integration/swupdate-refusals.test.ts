/** What swupdate refuses, and with which words: images, disks and daemons that are not as they should be. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';

import { isOtaError } from '../../agent/errors.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import { describe as describeImage, makeSwu, makeSwuKey, type SwuKey } from '../support/swu.ts';
import { SwupdateBoard } from '../support/swupdate-board.ts';
import { devicesOf, installerOn, MODES } from '../support/swupdate-installer.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const FACTORY = Buffer.from('factory image');
const IMAGE = Buffer.alloc(6 * 1024 * 1024, 'new image ');
const MEBIBYTE = 1024 * 1024;
const DIRECTLY = 'installed-directly = true;';
const NEEDS_ROOT = process.getuid?.() === 0 ? false : 'mounting and loop devices need root';

let keys: ReturnType<typeof temporaryDirectory>;
let key: SwuKey;
let stranger: SwuKey;
before(() => {
  keys = temporaryDirectory('swu-keys');
  key = makeSwuKey(keys.path, 'vendor');
  stranger = makeSwuKey(keys.path, 'stranger');
});
after(() => {
  keys.remove();
});

interface Bench {
  readonly board: SwupdateBoard;
  readonly directory: string;
  /** Stages the bytes of a .swu as the cycle does: hashes are right. */
  stage(content: Buffer): { readonly target: TrustedTarget; readonly staged: string };
  /** What is to be done before the directory goes, the last one first. */
  closeLater(close: () => unknown): void;
  close(): Promise<void>;
}

function openBench(): Bench {
  const directory = temporaryDirectory('swupdate');
  const board = SwupdateBoard.create(directory.path, FACTORY, key.certificatePath);
  const staged = join(directory.path, 'staged.swu');
  const closing: (() => unknown)[] = [];
  return {
    board,
    directory: directory.path,
    stage: (content) => {
      writeFileSync(staged, content);
      return { staged, target: targetFor(content, { filename: 'update.swu' }) };
    },
    closeLater: (close) => closing.unshift(close),
    close: async () => {
      await board.killDaemon();
      for (const close of closing) close();
      directory.remove();
    },
  };
}

function openBenchFor(t: TestContext): Bench {
  const bench = openBench();
  t.after(() => bench.close());
  return bench;
}

/** @returns the cause that INSTALL_FAILED names */
async function causeOf(act: Promise<unknown>): Promise<string> {
  try {
    await act;
  } catch (error) {
    assert.ok(isOtaError(error) && error.code === 'INSTALL_FAILED', String(error));
    assert.equal(error.details.installer, 'swupdate');
    return error.details.cause;
  }
  return assert.fail('nothing was refused');
}

const none = (): void => undefined;

/** Neither what runs nor the other slot was touched, and the boot loader chooses as before. */
function demandUntouched(board: SwupdateBoard, before: Readonly<Record<string, string>>): void {
  assert.deepEqual(board.variables(), before);
  assert.ok(readFileSync(board.slots.a).equals(FACTORY));
  assert.equal(readFileSync(board.slots.b).byteLength, 0);
}

describe('an image that swupdate refuses leaves both slots as they were', () => {
  const make = (board: SwupdateBoard, changes: Partial<Parameters<typeof makeSwu>[3]> = {}) =>
    makeSwu(board.directory, IMAGE, key, {
      devices: devicesOf(board),
      attributes: DIRECTLY,
      ...changes,
    });

  const refusals: readonly {
    readonly title: string;
    readonly content: (board: SwupdateBoard) => Buffer;
    readonly cause: RegExp;
  }[] = [
    {
      title: 'signed by somebody else: SWUpdate’s own check stays on',
      content: (board) => makeSwu(board.directory, IMAGE, stranger, { devices: devicesOf(board) }),
      cause: /^SWUpdate refused the image: .*(?:[Ss]ignature|certificate)/u,
    },
    {
      title: 'for other hardware',
      content: (board) => make(board, { hardware: '2.0' }),
      cause: /^SWUpdate refused the image: .*SW not compatible with hardware/u,
    },
    {
      title: 'with a byte that changed',
      content: (board) => {
        const content = make(board);
        content[content.length - MEBIBYTE] = (content.at(-MEBIBYTE) ?? 0) ^ 1;
        return content;
      },
      cause: /^SWUpdate refused the image: .*HASH mismatch/u,
    },
    {
      title: 'truncated by whoever published it',
      content: (board) => make(board).subarray(0, 3 * MEBIBYTE),
      cause: /^the image is not a \.swu file: it ends at byte 3145728, in the middle of an entry$/u,
    },
    {
      title: 'that is no .swu',
      content: () => IMAGE,
      cause:
        /^the image is not a \.swu file: no cpio header at byte 0 \(make it with cpio -H crc\)$/u,
    },
    {
      title: 'without the software set',
      content: (board) => make(board, { set: 'beta' }),
      cause: /^sw-description has no software set stable with mode copy-b$/u,
    },
    {
      title: 'that would write the slot that runs',
      content: (board) =>
        make(board, { devices: { [MODES.a]: board.slots.b, [MODES.b]: board.slots.a } }),
      cause:
        /^sw-description writes rootfs\.img to \S+slot-a, but mode copy-b may write to \S+slot-b only$/u,
    },
    {
      title: 'that would choose what boots',
      content: (board) =>
        make(board, { also: 'bootenv = ( { name = "boot_slot"; value = "b"; } );' }),
      cause: /^sw-description sets the boot environment \(bootenv\): remove that/u,
    },
    {
      title: 'with a description that cannot be read',
      content: (board) => make(board, { description: 'software = {\n version = ;\n' }),
      cause: /^sw-description near line 2: ";": want a value$/u,
    },
  ];

  let bench: Bench;
  before(async () => {
    bench = openBench();
    await bench.board.startDaemon();
  });
  after(() => bench.close());

  for (const { title, content, cause } of refusals) {
    test(title, async () => {
      const { board, stage } = bench;
      const { target, staged } = stage(content(board));
      const variables = board.variables();
      assert.match(await causeOf(installerOn(board).write(target, staged, none)), cause);
      demandUntouched(board, variables);
      await causeOf(installerOn(board).activate(target));
    });
  }

  test('truncated on its way', async () => {
    const { board, stage } = bench;
    const { target, staged } = stage(make(board));
    writeFileSync(staged, make(board).subarray(0, 1000));
    await rejectsCode(installerOn(board).write(target, staged, none), 'IMAGE_TRUNCATED', {
      filename: 'update.swu',
      lengthBytes: target.lengthBytes,
      receivedBytes: 1000,
    });
  });

  test('of a set that the daemon does not accept: what to start it with', async () => {
    const { board, stage } = bench;
    const { target, staged } = stage(make(board, { set: 'beta' }));
    const installer = installerOn(board, { softwareSet: 'beta' });
    assert.equal(
      await causeOf(installer.write(target, staged, none)),
      'SWUpdate does not accept the software set beta with mode copy-b: start its daemon with -q beta,copy-b',
    );
  });
});

describe('a disk that cannot take the image', { skip: NEEDS_ROOT }, () => {
  const loop = (
    { closeLater }: Bench,
    path: string,
    sizeBytes: number,
    ...options: string[]
  ): string => {
    writeFileSync(path, Buffer.alloc(sizeBytes));
    const args = ['-f', '--show', ...options, path];
    const device = execFileSync('losetup', args).toString().trim();
    closeLater(() => execFileSync('losetup', ['-d', device]));
    return device;
  };
  const mount = ({ closeLater }: Bench, path: string, options: string): void => {
    mkdirSync(path);
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]);
    closeLater(() => execFileSync('umount', ['-l', path]));
  };
  const make = (board: SwupdateBoard, image = IMAGE, attributes = DIRECTLY): Buffer =>
    makeSwu(board.directory, image, key, { devices: devicesOf(board), attributes });

  test('an image larger than its slot is SPACE_INSUFFICIENT before a byte is written', async (t) => {
    const bench = openBenchFor(t);
    const { board, directory, stage } = bench;
    board.slots.b = loop(bench, join(directory, 'small'), 4 * MEBIBYTE);
    const { target, staged } = stage(make(board));
    await board.startDaemon();
    await rejectsCode(installerOn(board).write(target, staged, none), 'SPACE_INSUFFICIENT', {
      path: board.slots.b,
      neededBytes: IMAGE.byteLength,
      freeBytes: 4 * MEBIBYTE,
    });
    assert.ok(readFileSync(board.slots.b).equals(Buffer.alloc(4 * MEBIBYTE)));
  });

  test('an image that is too large once unpacked is refused in the words of SWUpdate, and cannot run', async (t) => {
    const bench = openBenchFor(t);
    const { board, directory, stage } = bench;
    board.slots.b = loop(bench, join(directory, 'small'), 4 * MEBIBYTE);
    const attributes = `${DIRECTLY} compressed = "zlib";`;
    const { target, staged } = stage(make(board, gzipSync(IMAGE), attributes));
    await board.startDaemon();
    const installer = installerOn(board);
    assert.match(
      await causeOf(installer.write(target, staged, none)),
      /^SWUpdate refused the image: .*(?:No space left|cannot write|Error streaming)/u,
    );
    await causeOf(installer.activate(target));
    assert.equal(board.boot(), 'a');
  });

  test('a read-only slot is refused in the words of SWUpdate', async (t) => {
    const bench = openBenchFor(t);
    const { board, directory, stage } = bench;
    board.slots.b = loop(bench, join(directory, 'disk'), 8 * MEBIBYTE, '--read-only');
    const { target, staged } = stage(make(board));
    await board.startDaemon();
    assert.match(
      await causeOf(installerOn(board).write(target, staged, none)),
      /^SWUpdate refused the image: .*Error streaming rootfs\.img/u,
    );
    assert.equal(board.boot(), 'a');
  });

  test('a full disk where SWUpdate unpacks is told in its words', async (t) => {
    const bench = openBenchFor(t);
    const { board, directory, stage } = bench;
    rmSync(join(directory, 'run'), { recursive: true });
    mount(bench, join(directory, 'run'), 'size=2M');
    const { target, staged } = stage(make(board, IMAGE, ''));
    await board.startDaemon();
    const variables = board.variables();
    assert.match(
      await causeOf(installerOn(board).write(target, staged, none)),
      /^SWUpdate refused the image: .*(?:space|No space left)/u,
    );
    demandUntouched(board, variables);
  });

  for (const [options, code] of [
    ['ro', 'EROFS'],
    ['size=4k,nr_inodes=1', 'ENOSPC'],
  ] as const) {
    test(`no record can be made on a disk that is ${code}: nothing is written to the slot`, async (t) => {
      const bench = openBenchFor(t);
      const { board, directory, stage } = bench;
      mount(bench, join(directory, 'state'), options);
      const { target, staged } = stage(make(board));
      await board.startDaemon();
      const variables = board.variables();
      const installer = installerOn(board, { recordPath: join(directory, 'state', 'slots') });
      assert.match(
        await causeOf(installer.write(target, staged, none)),
        new RegExp(`^${code}: `, 'u'),
      );
      demandUntouched(board, variables);
    });
  }
});

describe('a daemon that does not do its part', () => {
  const make = (board: SwupdateBoard): Buffer =>
    makeSwu(board.directory, IMAGE, key, { devices: devicesOf(board), attributes: DIRECTLY });

  test('not there: found before anything is downloaded, with what to do', async (t) => {
    const { board, stage } = openBenchFor(t);
    const { target, staged } = stage(make(board));
    const cause = await causeOf(installerOn(board).check(target));
    assert.equal(
      cause,
      `SWUpdate cannot be reached: connect ENOENT ${board.socketPath}; start its daemon, or set installer.swupdate_socket to its control socket`,
    );
    assert.equal(await causeOf(installerOn(board).write(target, staged, none)), cause);
    assert.equal(await causeOf(installerOn(board).describe()), cause);
  });

  test('speaking another protocol: refused by name', async (t) => {
    const { board, stage } = openBenchFor(t);
    const { target } = stage(make(board));
    // As a daemon with messages of another size does.
    const server = createServer((socket) => {
      socket.once('data', () => socket.end(Buffer.alloc(100, 1)));
    });
    await new Promise<void>((resolve) => server.listen(board.socketPath, resolve));
    t.after(() => new Promise((resolve) => server.close(resolve)));
    assert.equal(
      await causeOf(installerOn(board).check(target)),
      `${board.socketPath} does not speak SWUpdate's control protocol of 2022.12 to 2024.12 (64-bit): use such a release`,
    );
  });

  test('killed in the middle: the old image stays chosen, and a retry with a new daemon installs', async (t) => {
    const { board, stage } = openBenchFor(t);
    const { target, staged } = stage(make(board));
    const installer = installerOn(board);
    await board.startDaemon();
    let killed: Promise<void> | undefined;
    const cause = await causeOf(
      installer.write(target, staged, () => {
        killed ??= board.killDaemon();
      }),
    );
    assert.equal(cause, 'SWUpdate ended during the installation: restart its daemon');
    await killed;
    await causeOf(installer.activate(target));
    assert.equal(board.boot(), 'a');
    rmSync(board.socketPath);
    await board.startDaemon();
    await installer.write(target, staged, none);
    await installer.activate(target);
    assert.equal(board.boot(), 'b');
    assert.ok(board.running(IMAGE.byteLength).equals(IMAGE));
    assert.equal(await installer.booted(target), true);
  });

  test('hanging: given up in time before and during an installation, and used again when it goes on', async (t) => {
    const { board, stage } = openBenchFor(t);
    const { target, staged } = stage(make(board));
    const installer = installerOn(board, { quietMs: 400 });
    await board.startDaemon();
    board.signalDaemon('SIGSTOP');
    assert.equal(
      await causeOf(installer.check(target)),
      `SWUpdate at ${board.socketPath} did not answer within 0.4 s: restart it`,
    );
    board.signalDaemon('SIGCONT');
    const cause = await causeOf(
      installer.write(target, staged, () => {
        board.signalDaemon('SIGSTOP');
      }),
    );
    assert.equal(
      cause,
      'SWUpdate was silent for 0.4 s during the installation: restart its daemon',
    );
    board.signalDaemon('SIGCONT');
    assert.equal(board.boot(), 'a');
    const patient = installerOn(board);
    await patient.write(target, staged, none);
    await patient.activate(target);
    assert.equal(board.boot(), 'b');
    assert.equal(await patient.booted(target), true);
  });

  test('started for dry runs only: it is told to install all the same', async (t) => {
    const { board, stage } = openBenchFor(t);
    const { target, staged } = stage(make(board));
    await board.startDaemon(['-H', 'board:1.0', '-n']);
    await installerOn(board).write(target, staged, none);
    assert.ok(readFileSync(board.slots.b).subarray(0, IMAGE.byteLength).equals(IMAGE));
  });

  test(
    'marking the environment that chooses: undone, and told what to start it with',
    { skip: NEEDS_ROOT },
    async (t) => {
      const { board, directory, stage } = openBenchFor(t);
      const { target, staged } = stage(make(board));
      // Its environment is always the one of /etc/fw_env.config.
      const etc = join(directory, 'etc');
      mkdirSync(etc);
      execFileSync('cp', ['-a', '/etc/ld.so.cache', '/etc/passwd', '/etc/group', etc]);
      writeFileSync(join(etc, 'fw_env.config'), readFileSync(board.fwEnv));
      const inside = `mount --bind ${etc} /etc && exec "$0" "$@"`;
      const wrapper = ['unshare', '-m', 'sh', '-c', inside];
      await board.startDaemon(['-H', 'board:1.0', '-B', 'uboot'], wrapper);
      const before = board.variables();
      const variable = { name: 'ustate', value: before['ustate'] ?? '' };
      const installer = installerOn(board, { variable });
      assert.match(
        await causeOf(installer.write(target, staged, none)),
        /^SWUpdate changed the boot environment to .*ustate=1, which is undone: start its daemon with -B none, or with -M -m/u,
      );
      assert.equal(board.variables()['ustate'], undefined);
      await causeOf(installer.activate(target));
      // What marks nothing that chooses is in nobody's way.
      await installerOn(board).write(target, staged, none);
      assert.equal(board.boot(), 'a');
    },
  );
});

test('a slot whose devices are those of the running one under another name is never written', async (t) => {
  const { board, stage } = openBenchFor(t);
  const alias = join(board.directory, 'alias');
  execFileSync('ln', ['-s', board.slots.a, alias]);
  board.slots.b = alias;
  const content = makeSwu(board.directory, IMAGE, key, { devices: devicesOf(board) });
  const { target, staged } = stage(content);
  await board.startDaemon();
  assert.equal(
    await causeOf(installerOn(board).write(target, staged, none)),
    `${alias} is a device of both slots: each needs its own`,
  );
  assert.ok(readFileSync(board.slots.a).equals(FACTORY));
});

test('a command line that names no slot, or both, is an error that says what is wanted', async (t) => {
  const { board, stage } = openBenchFor(t);
  const { target } = stage(Buffer.from('x'));
  for (const [line, problem] of [
    ['quiet', 'names no slot'],
    ['root=/dev/board-a root=/dev/board-b', 'names both slots'],
  ] as const) {
    writeFileSync(board.cmdline, line);
    assert.equal(
      await causeOf(installerOn(board).booted(target)),
      `${board.cmdline} ${problem}: want either "root=/dev/board-a" or "root=/dev/board-b"`,
    );
  }
});

test('descriptions in JSON are read like those in libconfig', async (t) => {
  const { board, stage } = openBenchFor(t);
  const sha256 = /sha256 = "(\w+)"/u.exec(describeImage(IMAGE, { devices: devicesOf(board) }))?.[1];
  const images = (device: string) => ({
    images: [{ filename: 'rootfs.img', type: 'raw', device, sha256, 'installed-directly': true }],
  });
  const software = {
    version: '1.0.0',
    'hardware-compatibility': ['1.0'],
    stable: { [MODES.a]: images(board.slots.a), [MODES.b]: images(board.slots.b) },
  };
  const description = JSON.stringify({ software }, undefined, 1);
  const content = makeSwu(board.directory, IMAGE, key, { devices: {}, description });
  const { target, staged } = stage(content);
  await board.startDaemon();
  await installerOn(board).write(target, staged, none);
  assert.ok(readFileSync(board.slots.b).equals(IMAGE));
});
