/** Digests: PKCS#11 v2.40 §2.17 to §2.22. */
import { createHash } from 'node:crypto';

import type { Digester, Mechanism } from '../processing.ts';
import { HASHES, type Hash } from './hashes.ts';

export const DIGESTS: readonly Mechanism[] = HASHES.map((hash) => ({
  id: hash.mechanism,
  keyTypes: [],
  digest: () => digester(hash),
}));

function digester({ name, bytes }: Hash): Digester {
  const state = createHash(name);
  return {
    does: 'digest',
    digestBytes: bytes,
    update: (data) => {
      state.update(data);
    },
    digest: () => state.digest(),
  };
}
