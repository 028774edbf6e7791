/**
 * What a path really is: the device or file behind every name that leads to it, and what that is made
 * of. Names differ and storage does not, so that what must not be written is told by storage alone.
 *
 * Source: proc_pid_mountinfo(5); Documentation/ABI/testing/sysfs-block.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';

import { causeOf } from '../../../errors.ts';
import { failed } from './boot-choice.ts';

export interface Storage {
  /** `block MAJOR:MINOR` or `file DEVICE:INODE`. */
  readonly id: string;
  /** Itself, and what is written to as well when it is: the disk of a partition, the file of a loop. */
  readonly below: ReadonlySet<string>;
  readonly loops: readonly Loop[];
}

/** Which part of a file a loop device shows. */
interface Loop {
  readonly id: string;
  readonly file: string;
  readonly from: number;
  readonly to: number;
}

export interface Mounted extends Storage {
  readonly at: string;
}

/** @throws OtaError INSTALL_FAILED if it is neither block device nor file */
export async function storageAt(path: string): Promise<Storage> {
  let found: Stats;
  try {
    found = await stat(path);
  } catch (error) {
    throw failed(
      `slot ${path}: ${causeOf(error)}; see installer.slot_a and installer.slot_b`,
      error,
    );
  }
  return storageOf(identify(found, path));
}

/** @throws OtaError INSTALL_FAILED if it is neither block device nor file */
export function identify(found: Stats, path: string): string {
  if (found.isBlockDevice()) return `block ${numbers(found.rdev)}`;
  if (found.isFile()) return `file ${String(found.dev)}:${String(found.ino)}`;
  throw failed(`${path} is neither a block device nor a file: a slot has to be one`);
}

/** Would writing to the one change the other? */
export function overlap(x: Storage, y: Storage): boolean {
  if (x.below.has(y.id) || y.below.has(x.id)) return true;
  return x.loops.some((one) =>
    y.loops.some(
      ({ id, file, from, to }) =>
        id !== one.id && file === one.file && from < one.to && one.from < to,
    ),
  );
}

/** What file systems are on, and swap. */
export async function allMounted(): Promise<readonly Mounted[]> {
  const swaps = await readFile('/proc/swaps', 'utf8').catch(() => '');
  const paths = swaps.split('\n').slice(1);
  const swapped = paths.map((line) => ({
    device: '0:0',
    source: line.split(/\s/u)[0] ?? '',
    at: 'swap',
  }));
  return storageOfMounts([...(await mounts()), ...swapped]);
}

/** What the file system at `path` is on. */
export async function mountedAt(path: string): Promise<readonly Mounted[]> {
  return storageOfMounts((await mounts()).filter(({ at }) => at === path));
}

async function storageOfMounts(all: readonly Mount[]): Promise<readonly Mounted[]> {
  const places = new Map<string, string>();
  for (const { device, source, at } of all) {
    // File systems of several devices, such as btrfs, have a number of their own.
    if (!device.startsWith('0:')) places.set(`block ${device}`, at);
    const found = source.startsWith('/') ? await stat(source).catch(() => undefined) : undefined;
    const isUsed = found?.isBlockDevice() === true || (at === 'swap' && found?.isFile() === true);
    if (found !== undefined && isUsed) places.set(identify(found, source), at);
  }
  return Promise.all(Array.from(places, async ([id, at]) => ({ ...(await storageOf(id)), at })));
}

/** Of a block device; `undefined` if it is none. */
export async function blockFacts(
  id: string,
): Promise<{ readonly bytes: number; readonly isReadOnly: boolean } | undefined> {
  const directory = sysfsOf(id);
  if (directory === undefined) return undefined;
  const sectors = await readFile(`${directory}/size`, 'utf8');
  const readOnly = await readFile(`${directory}/ro`, 'utf8');
  return { bytes: Number(sectors) * SECTOR_BYTES, isReadOnly: readOnly.trim() === '1' };
}

/** Of sysfs, whatever the device has. */
const SECTOR_BYTES = 512;

async function storageOf(id: string): Promise<Storage> {
  const below = new Set([id]);
  const loops: Loop[] = [];
  // A set may grow while it is gone through: what is found is looked into as well.
  for (const one of below) {
    const directory = sysfsOf(one);
    if (directory === undefined) continue;
    for (const device of await parts(directory)) below.add(`block ${device}`);
    const loop = await loopOf(one, directory);
    if (loop === undefined) continue;
    below.add(loop.file);
    loops.push(loop);
  }
  return { id, below, loops };
}

/** The disk of a partition; what a mapped device is made of. */
async function parts(directory: string): Promise<readonly string[]> {
  const slaves = await readdir(`${directory}/slaves`).catch(() => []);
  const devices = slaves.map((name) => `${directory}/slaves/${name}/dev`);
  const isPartition =
    (await readFile(`${directory}/partition`).catch(() => undefined)) !== undefined;
  if (isPartition) devices.push(`${directory}/../dev`);
  return Promise.all(devices.map(async (path) => (await readFile(path, 'utf8')).trim()));
}

async function loopOf(id: string, directory: string): Promise<Loop | undefined> {
  const read = (name: string): Promise<string> => readFile(`${directory}/loop/${name}`, 'utf8');
  const path = (await read('backing_file').catch(() => '')).trimEnd();
  const found = path === '' ? undefined : await stat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  const from = Number(await read('offset'));
  const limit = Number(await read('sizelimit'));
  const file = identify(found, path);
  return { id, file, from, to: limit === 0 ? Number.MAX_SAFE_INTEGER : from + limit };
}

function sysfsOf(id: string): string | undefined {
  return id.startsWith('block ') ? `/sys/dev/block/${id.slice('block '.length)}` : undefined;
}

interface Mount {
  readonly device: string;
  readonly source: string;
  readonly at: string;
}

async function mounts(): Promise<readonly Mount[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text.split('\n').flatMap((line) => {
    const [own = '', super_ = ''] = line.split(' - ');
    const [, , device, , at] = own.split(' ');
    const [, source = ''] = super_.split(' ');
    return device === undefined || at === undefined
      ? []
      : [{ device, at: unescaped(at), source: unescaped(source) }];
  });
}

/** Spaces and the like are octal there. */
function unescaped(text: string): string {
  return text.replace(/\\(\d{3})/gu, (_all, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** MAJOR:MINOR as the kernel writes them; Linux's encoding of `st_rdev`. */
function numbers(rdev: number): string {
  const device = BigInt(rdev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return `${String(major)}:${String(minor)}`;
}
