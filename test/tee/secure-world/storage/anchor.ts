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
