/** Real root file systems to update to: squashfs images made of Debian's own packages. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Small enough to unpack in seconds, large enough that a download can be watched. */
const BASE = [
  'base-files',
  'bash',
  'busybox-static',
  'ca-certificates',
  'coreutils',
  'e2fsprogs',
  'iproute2',
  'kmod',
  'libc6',
  'libpython3.11-stdlib',
  'libssl3',
  'locales',
  'openssl',
  'perl-base',
  'systemd',
  'tzdata',
  'udev',
  'util-linux',
];
/** What version 2 brings. */
const ADDED = ['python3.11-minimal', 'grub-common'];
const SMALLEST_BYTES = 32 * 1024 * 1024;
const CACHE = join(import.meta.dirname, '..', '.cache', 'root-filesystems');

/**
 * Makes the image of one version, or finds it made already.
 *
 * @returns the path of a squashfs image of at least 32 MiB
 */
export async function makeRootFilesystem(version: 1 | 2): Promise<string> {
  await mkdir(CACHE, { recursive: true });
  const image = join(CACHE, `rootfs-${String(version)}.squashfs`);
  if (await isFile(image)) return image;
  const work = await mkdtemp(join(tmpdir(), 'ota-agent-rootfs-'));
  try {
    const tree = join(work, 'tree');
    await unpack(await packages(version), tree);
    await writeFile(
      join(tree, 'usr/lib/os-release'),
      `ID=demo\nNAME="Demonstration"\nVERSION_ID=${String(version)}\n`,
    );
    const fresh = `${image}.new`;
    const compression = ['-comp', 'zstd', '-Xcompression-level', '3'];
    await run('mksquashfs', [
      tree,
      fresh,
      '-noappend',
      '-all-root',
      '-quiet',
      '-no-progress',
      ...compression,
    ]);
    const { size } = await stat(fresh);
    if (size < SMALLEST_BYTES) throw new Error(`${fresh} has only ${String(size)} bytes`);
    await rename(fresh, image);
    return image;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Package files from Debian's mirror, kept for the next run. */
async function packages(version: 1 | 2): Promise<readonly string[]> {
  const directory = join(CACHE, 'packages');
  await mkdir(directory, { recursive: true });
  const wanted = version === 1 ? BASE : [...BASE, ...ADDED];
  const present = await readdir(directory);
  const missing = wanted.filter((name) => !present.some((file) => file.startsWith(`${name}_`)));
  if (missing.length > 0) {
    await run('apt-get', ['download', '-qq', ...missing], { cwd: directory });
  }
  const files = (await readdir(directory)).filter((file) =>
    wanted.some((name) => file.startsWith(`${name}_`)),
  );
  return files.map((file) => join(directory, file));
}

async function unpack(files: readonly string[], tree: string): Promise<void> {
  await mkdir(tree);
  for (const file of files) await run('dpkg-deb', ['-x', file, tree]);
}

async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ?? false;
}
