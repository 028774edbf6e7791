/**
 * How fast trusted storage is, and what it asks of the disk.
 *
 * Usage: node test/bench/tee-storage.bench.ts [DIRECTORY], on the file system to be measured; the
 * system's temporary directory by default. Prints one line per operation.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { BlockDirectory, BlockFile } from '../tee/secure-world/storage/block-file.ts';
import { openDirectory } from '../tee/secure-world/storage/disk-directory.ts';
import { openReeFsOn } from '../tee/secure-world/storage/ree-fs.ts';

const TA = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';
const OBJECTS = 500;
/** About a P-256 private key as the PKCS#11 TA stores it. */
const OBJECT_BYTES = 400;

let writes = 0;
let syncs = 0;

function counting(disk: BlockDirectory): BlockDirectory {
  const countingFile = (file: BlockFile): BlockFile => ({
    read: () => file.read(),
    write: (placed) => {
      writes += 1;
      file.write(placed);
    },
    sync: () => {
      syncs += 1;
      file.sync();
    },
    close: () => {
      file.close();
    },
  });
  return {
    names: () => disk.names(),
    create: (name) => countingFile(disk.create(name)),
    open: (name) => {
      const file = disk.open(name);
      return file && countingFile(file);
    },
    rename: (from, to) => {
      disk.rename(from, to);
    },
    unlink: (name) => {
      disk.unlink(name);
    },
    sync: () => {
      syncs += 1;
      disk.sync();
    },
    close: () => {
      disk.close();
    },
  };
}

function measure(what: string, times: number, act: (index: number) => void): void {
  [writes, syncs] = [0, 0];
  const durationsMs: number[] = [];
  for (let index = 0; index < times; index += 1) {
    const startMs = performance.now();
    act(index);
    durationsMs.push(performance.now() - startMs);
  }
  const totalMs = durationsMs.reduce((sum, each) => sum + each, 0);
  durationsMs.sort((a, b) => a - b);
  const quantileMs = (part: number): string =>
    (durationsMs[Math.floor(part * (times - 1))] ?? 0).toFixed(2);
  console.log(
    [
      what.padEnd(38),
      `${(times / (totalMs / 1000)).toFixed(0).padStart(6)}/s`,
      `p50 ${quantileMs(0.5)} ms`,
      `p99 ${quantileMs(0.99)} ms`,
      `${(syncs / times).toFixed(2)} syncs`,
      `${(writes / times).toFixed(2)} writes`,
    ].join('  '),
  );
}

const directory = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'tee-storage-bench-'));
const huk = new Uint8Array(16).fill(1);
const data = new Uint8Array(OBJECT_BYTES).fill(2);
const name = (index: number): Uint8Array => Buffer.from(`object ${String(index)}`);
try {
  let storage = openReeFsOn(counting(openDirectory(directory)), { huk });
  measure(`create, ${String(OBJECT_BYTES)} bytes`, OBJECTS, (index) => {
    storage.write(TA, name(index), data);
  });
  measure(`update, ${String(OBJECT_BYTES)} bytes`, OBJECTS, (index) => {
    storage.write(TA, name(index), data);
  });
  measure('update, 64 KiB', 100, () => {
    storage.write(TA, name(0), new Uint8Array(65536));
  });
  measure(`read, ${String(OBJECT_BYTES)} bytes`, OBJECTS, (index) => {
    storage.read(TA, name(index + 1));
  });
  measure(`list, ${String(OBJECTS)} objects`, 100, () => storage.list(TA));
  storage.close();
  measure(`open, ${String(OBJECTS)} objects`, 20, () => {
    storage = openReeFsOn(counting(openDirectory(directory)), { huk });
    storage.close();
  });
  storage = openReeFsOn(counting(openDirectory(directory)), { huk });
  measure('remove', OBJECTS, (index) => {
    storage.remove(TA, name(index));
  });
  storage.close();
} finally {
  rmSync(directory, { recursive: true, force: true });
}
