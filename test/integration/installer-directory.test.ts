/** Trees that are switched by one link: the contract, and what goes wrong with archives and disks. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';

import { installerContract } from '../contract/installer.contract.ts';
import {
  device,
  install,
  openBoard,
  release,
  UPDATE,
  type Device,
} from '../support/directory-board.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { tarArchive } from '../support/tar-archive.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const FORMATS = [
  ['release.tar', UPDATE],
  ['release.tar.gz', gzipSync(UPDATE)],
  ['release.tar.zst', zstdCompressSync(UPDATE)],
] as const;

for (const [filename, content] of FORMATS) {
  installerContract(`directory, ${filename}`, (directory) => {
    const board = openBoard(directory);
    const target = targetFor(content, { filename });
    return { ...board, target, content, boot: () => undefined };
  });
}

describe('directory', () => {
  test('the first tree of a device needs none before it, and there is none to go back to', async (t) => {
    const board = device(t);
    rmSync(board.path);
    const target = await install(board, UPDATE);
    assert.equal(board.running(), 'update');
    await rejectsCode(board.installer.rollBack(target), 'INSTALL_FAILED', {
      installer: 'directory',
      ecu: 'ecu-1',
      cause: `there is nothing to go back to: no tree at ${board.path}.previous`,
    });
    assert.equal(board.running(), 'update');
  });

  test('the tree before is kept for going back, and older ones are removed', async (t) => {
    const board = device(t);
    const trees = (): string[] =>
      readdirSync(`${board.path}.versions`).filter((name) => !name.endsWith('.json'));
    const kept = [];
    for (const version of ['1', '2', '3']) {
      const target = await install(board, release(version));
      await board.installer.confirm(target);
      kept.push(trees().length);
    }
    assert.deepEqual(kept, [1, 2, 2]);
    await board.installer.rollBack(targetFor(release('3'), { filename: 'release.tar' }));
    assert.equal(readFileSync(join(board.path, 'version'), 'utf8'), '2');
    assert.deepEqual(readdirSync(join(board.directory, 'factory')), ['version']);
  });

  test('a tree that was changed since is not what was installed, and can be installed again', async (t) => {
    const board = device(t);
    const target = await install(board, UPDATE);
    appendFileSync(join(board.path, 'bin/app'), 'rm -rf /\n');
    assert.equal(await board.installer.booted(target), false);
    assert.equal((await board.installer.describe())['content'], 'changed');
    await install(board, UPDATE);
    assert.equal(board.running(), 'update');
    assert.equal(await board.installer.booted(target), true);
    await board.installer.rollBack(target);
    assert.equal(board.running(), 'factory');
  });

  test('a tree that was changed before it is chosen is never chosen', async (t) => {
    const board = device(t);
    const target = targetFor(UPDATE, { filename: 'release.tar' });
    const staged = join(board.directory, 'staged');
    writeFileSync(staged, UPDATE);
    await board.installer.write(target, staged, () => undefined);
    const versions = `${board.path}.versions`;
    const name = readdirSync(versions).find((entry) => !entry.endsWith('.json')) ?? '';
    writeFileSync(join(versions, name, 'added'), '');
    await rejectsCode(board.installer.activate(target), 'INSTALL_FAILED', {
      installer: 'directory',
      ecu: 'ecu-1',
      cause: `release.tar is not there, whole, in ${versions}`,
    });
    assert.equal(board.running(), 'factory');
  });

  test('there is no going back to a tree that was changed since', async (t) => {
    const board = device(t);
    const first = await install(board, release('1'));
    await board.installer.confirm(first);
    const old = join(board.directory, readlinkSync(board.path));
    const target = await install(board, UPDATE);
    writeFileSync(join(old, 'version'), 'tampered');
    await rejectsCode(board.installer.rollBack(target), 'INSTALL_FAILED', {
      installer: 'directory',
      ecu: 'ecu-1',
      cause: `the tree to go back to was changed since it was unpacked: ${old}`,
    });
    assert.equal(board.running(), 'update');
  });

  test('a hostile archive is an INSTALL_FAILED that names the entry, before a file is made', async (t) => {
    const board = device(t);
    const content = tarArchive([{ path: 'a' }, { path: '../../etc/passwd' }]);
    const installing = install(board, content);
    await rejectsCode(installing, 'INSTALL_FAILED', {
      installer: 'directory',
      ecu: 'ecu-1',
      cause: 'archive release.tar is refused: "../../etc/passwd" has ".." in "../../etc/passwd"',
    });
    assert.deepEqual(readdirSync(board.directory).toSorted(), ['current', 'factory', 'staged']);
  });

  test('a name that is no archive is refused before it is downloaded', async (t) => {
    const { installer } = device(t);
    const wrong = targetFor(UPDATE, { filename: 'rootfs.ext4' });
    await rejectsCode(installer.check(wrong), 'INSTALL_FAILED', {
      installer: 'directory',
      ecu: 'ecu-1',
      cause: 'rootfs.ext4 is not named as an archive: .tar, .tar.gz, .tgz, .tar.zst, .tzst',
    });
  });

  test('a directory where the link has to be is not touched', async (t) => {
    const board = device(t);
    rmSync(board.path);
    mkdirSync(board.path);
    await rejectsCode(install(board, UPDATE), 'INSTALL_FAILED', {
      installer: 'directory',
      ecu: 'ecu-1',
      cause: `${board.path} is no symbolic link: move what is there to ${board.path}.factory, and make ${board.path} a link to it`,
    });
    assert.ok(lstatSync(board.path).isDirectory());
  });
});

describe(
  'directory on a disk of its own',
  { skip: isRoot() ? false : 'mounting needs root' },
  () => {
    const DISK_BYTES = 512 * 1024;

    const mounted = (t: TestContext): Device => {
      const temporary = temporaryDirectory('small-disk');
      const disk = join(temporary.path, 'disk');
      mkdirSync(disk);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${String(DISK_BYTES)}`, 'tmpfs', disk]);
      t.after(() => {
        execFileSync('umount', [disk]);
        temporary.remove();
      });
      const board = openBoard(disk);
      return { ...board, directory: temporary.path };
    };

    test('an archive larger than the disk is refused before it is downloaded', async (t) => {
      const { installer, path } = mounted(t);
      const large = targetFor(UPDATE, { filename: 'a.tar', lengthBytes: 10 * DISK_BYTES });
      await assert.rejects(installer.check(large), {
        code: 'SPACE_INSUFFICIENT',
        details: {
          path: `${path}.versions`,
          neededBytes: 10 * DISK_BYTES,
          freeBytes: freeOf(path),
        },
      });
    });

    test('an archive that unpacks to more than is free is refused before a file is made', async (t) => {
      const board = mounted(t);
      const freeBytes = freeOf(board.path);
      await rejectsCode(
        install(board, gzipSync(release('large', DISK_BYTES)), 'release.tgz'),
        'SPACE_INSUFFICIENT',
        // Its data, and a block for each entry and each small file.
        { path: `${board.path}.versions`, neededBytes: DISK_BYTES + 7 * 4096, freeBytes },
      );
      assert.ok(!existsSync(`${board.path}.versions`));
      assert.equal(board.running(), 'factory');
    });

    test('a disk that fills up meanwhile leaves nothing behind, and says how much is missing', async (t) => {
      const board = mounted(t);
      const target = targetFor(UPDATE, { filename: 'release.tar' });
      const staged = join(board.directory, 'staged');
      writeFileSync(staged, UPDATE);
      const eat = (): void => {
        const disk = join(board.path, '..');
        writeFileSync(join(disk, 'eaten'), Buffer.alloc(freeOf(board.path) - 8192));
      };
      let eaten = false;
      const writing = board.installer.write(target, staged, () => {
        if (!eaten) eat();
        eaten = true;
      });
      await assert.rejects(writing, (error: unknown) => {
        const { code, details } = error as { code: string; details: Record<string, number> };
        assert.equal(code, 'SPACE_INSUFFICIENT');
        assert.ok((details['neededBytes'] ?? 0) > (details['freeBytes'] ?? 0));
        return true;
      });
      assert.deepEqual(readdirSync(`${board.path}.versions`), []);
      assert.equal(board.running(), 'factory');
    });

    test('a disk that is read-only is an INSTALL_FAILED that says so', async (t) => {
      const board = mounted(t);
      execFileSync('mount', ['-o', 'remount,ro', join(board.path, '..')]);
      const cause = `EROFS: read-only file system, access '${join(board.path, '..')}'`;
      await rejectsCode(install(board, UPDATE), 'INSTALL_FAILED', {
        installer: 'directory',
        ecu: 'ecu-1',
        cause,
      });
      await rejectsCode(board.installer.describe(), 'INSTALL_FAILED', {
        installer: 'directory',
        ecu: '-',
        cause,
      });
    });
  },
);

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function freeOf(path: string): number {
  const out = execFileSync('stat', ['-f', '-c', '%a %S', join(path, '..')]).toString();
  const [blocks = 0, size = 0] = out.trim().split(' ').map(Number);
  return blocks * size;
}
