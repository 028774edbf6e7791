import type { RawFiles } from './rpmb-fs.ts';

/**
 * Where the root hash of dirf.db is remembered outside the normal world's disk, so that the whole
 * directory can't be replaced by an older copy of itself.
 *
 * On a device it is a file in the RPMB partition ("dirfile.db.hash").
 */
export interface Anchor {
  /** @returns 32 bytes, or `undefined` when nothing was ever stored */
  load(): Uint8Array | undefined;
  /** Durable when it returns. From then on only this version of dirf.db is accepted. */
  store(rootHash: Uint8Array): void;
}

/** An anchor as long as the process, for tests. */
export function openMemoryAnchor(): Anchor {
  let stored: Uint8Array | undefined;
  return {
    load: () => stored,
    store: (rootHash) => {
      stored = rootHash.slice();
    },
  };
}

/** Name and size of what OP-TEE keeps with CFG_REE_FS_INTEGRITY_RPMB. */
const HASH_FILE = 'dirfile.db.hash';
const HASH_BYTES = 32;

/**
 * An anchor in the RPMB.
 *
 * dirf.db is committed first, then its hash goes here, as in OP-TEE. Between the two, dirf.db holds
 * both versions and this names the older one: it opens, and the newer is overwritten by the next
 * commit. The other order could name a version that no disk has.
 *
 * Source: OP-TEE 4.10 core/tee/tee_ree_fs.c (open_dirh, commit_dirh_writes).
 */
export function openRpmbAnchor(files: RawFiles): Anchor {
  return {
    load: () => {
      const stored = files.readRaw(HASH_FILE);
      return stored?.byteLength === HASH_BYTES ? stored : undefined;
    },
    store: (rootHash) => {
      files.writeRaw(HASH_FILE, rootHash);
    },
  };
}
