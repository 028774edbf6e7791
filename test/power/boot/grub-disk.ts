/** A disk that a PC boots: GRUB, its environment, and two slots with the smallest kernel. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { SECTOR_BYTES, writeGpt, type Partition } from './gpt.ts';

const MIB = 1024 * 1024;
const GRUB_DIRECTORY = '/usr/lib/grub/i386-pc';
const MODULES = [
  'biosdisk',
  'part_gpt',
  'ext2',
  'normal',
  'loadenv',
  'test',
  'linux',
  'boot',
  'serial',
];
const MODULES_ON_SERIAL = ['terminal', 'echo'];

/** As bytes on the disk: BIOS boot partition, and Linux data. */
const TYPES = {
  grub: Buffer.from('4861682149646f6e744e656564454649', 'hex'),
  linux: Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex'),
};

/** In their order: `hd0,gpt1` and so on. */
export const PARTITIONS = {
  core: partition('grub', 'core', 1, 1),
  boot: partition('linux', 'boot', 2, 8),
  a: partition('linux', 'rootfs-a', 10, 2),
  b: partition('linux', 'rootfs-b', 12, 2),
} as const;
const DISK_BYTES = 15 * MIB;

function partition(type: keyof typeof TYPES, name: string, at: number, mib: number): Partition {
  const [firstSector, sectors] = [at, mib].map((size) => (size * MIB) / SECTOR_BYTES);
  return { type: TYPES[type], name, firstSector: firstSector ?? 0, sectors: sectors ?? 0 };
}

/** The script that integrators are told to use. */
export function documentedScript(): string {
  const guide = readFileSync(join(import.meta.dirname, '../../../agent/INSTALLERS.md'), 'utf8');
  const section = guide.slice(guide.indexOf('### `boot_choice = "grub"`'));
  const script = /^```text\n(set ota_active=a\n[^`]*)^```$/mu.exec(section)?.[1];
  if (script === undefined) throw new Error('agent/INSTALLERS.md has no script for grub.cfg');
  return script;
}

/** The image of a root file system, which may be in either slot. */
export function rootImage(directory: string, name: string): Buffer {
  const tree = join(directory, `root-${name}`);
  mkdirSync(join(tree, 'boot'), { recursive: true });
  const object = join(directory, `${name}.o`);
  const source = join(import.meta.dirname, 'kernel.S');
  const define = `-DNAME="\\nkernel of image ${name}: "`;
  const compile = ['-m32', '-nostdlib', '-ffreestanding', define, '-c', source, '-o', object];
  execFileSync('gcc', compile, { stdio: 'pipe' });
  const kernel = join(tree, 'boot', 'vmlinuz');
  execFileSync('objcopy', ['-O', 'binary', '-j', '.text', object, kernel], { stdio: 'pipe' });
  writeFileSync(join(tree, 'boot', 'initrd.img'), Buffer.alloc(SECTOR_BYTES));
  return formatted(join(directory, `${name}.ext4`), tree, 2 * MIB);
}

/** As it leaves the factory: GRUB has an environment, and slot a has an image. */
export function grubDisk(directory: string, factory: Buffer): Buffer {
  const disk = Buffer.alloc(DISK_BYTES);
  const put = (content: Buffer, { firstSector }: Partition): void => {
    content.copy(disk, firstSector * SECTOR_BYTES);
  };
  const tree = join(directory, 'boot');
  mkdirSync(join(tree, 'grub'), { recursive: true });
  const serial = 'serial --unit=0 --speed=115200\nterminal_output serial\n';
  writeFileSync(join(tree, 'grub', 'grub.cfg'), `${serial}${documentedScript()}`);
  execFileSync('grub-editenv', [join(tree, 'grub', 'grubenv'), 'create']);
  const image = formatted(
    join(directory, 'boot.ext4'),
    tree,
    PARTITIONS.boot.sectors * SECTOR_BYTES,
  );
  put(image, PARTITIONS.boot);
  put(factory, PARTITIONS.a);
  installGrub(disk, directory);
  writeGpt(disk, Object.values(PARTITIONS));
  return disk;
}

/** What grub-install does, which wants the disk to be one of this machine. */
function installGrub(disk: Buffer, directory: string): void {
  const path = join(directory, 'core.img');
  const options = ['-O', 'i386-pc', '-d', GRUB_DIRECTORY, '-o', path, '-p', '(hd0,gpt2)/grub'];
  execFileSync('grub-mkimage', [...options, ...MODULES, ...MODULES_ON_SERIAL], { stdio: 'pipe' });
  const core = readFileSync(path);
  const { firstSector } = PARTITIONS.core;
  const first = readFileSync(join(GRUB_DIRECTORY, 'boot.img'));
  // Where boot.img finds the first sector of the core, and that one the rest of it.
  first.writeBigUInt64LE(BigInt(firstSector), 0x5c);
  core.writeBigUInt64LE(BigInt(firstSector + 1), 0x1f4);
  first.copy(disk, 0, 0, BOOT_CODE_BYTES);
  core.copy(disk, firstSector * SECTOR_BYTES);
}

const BOOT_CODE_BYTES = 440;

function formatted(path: string, tree: string, lengthBytes: number): Buffer {
  writeFileSync(path, '');
  truncateSync(path, lengthBytes);
  const isLarge = lengthBytes > 4 * MIB;
  const journal = isLarge ? [] : ['-O', '^has_journal'];
  const options = ['-q', '-F', '-b', isLarge ? '4096' : '1024', ...journal, '-d', tree];
  execFileSync('mkfs.ext4', [...options, path], { stdio: 'pipe' });
  return readFileSync(path);
}
