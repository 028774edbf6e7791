/** Walks a repository's root metadata forward to the newest version. */
import { OtaError } from '../errors.ts';
import { fetchFile, type Conversation } from './conversation.ts';
import type { MetadataStore } from './store.ts';

/** Each rotation is kept, so a device that was off for longer goes on at its next poll. */
const MAX_ROTATIONS = 256;

/**
 * Follows the chain of roots until the repository has no next one, then closes it.
 *
 * Only "there is none" ends the chain. Any other answer aborts: who could make a device miss a
 * rotation with a broken connection or an oversized file would keep a revoked key alive.
 *
 * Source: Uptane Standard 2.1 §5.4.4.3 steps 2 to 4.
 *
 * @throws OtaError ROOT_CHAIN_TOO_LONG, METADATA_TOO_LARGE and those of `addRoot` and `settleRoot`
 */
export function* updateRoot(store: MetadataStore): Conversation<void> {
  const { repo, format } = store;
  for (let rotations = 0; ; rotations += 1) {
    const file = `${String(store.root.version + 1)}.root.json`;
    if (rotations === MAX_ROTATIONS && format.rules.longChain === 'continue') break;
    const bytes = yield* fetchFile(repo, file, format.maxBytes.root);
    if (bytes === undefined) break;
    if (rotations === MAX_ROTATIONS) {
      throw new OtaError('ROOT_CHAIN_TOO_LONG', { repo, maxRotations: MAX_ROTATIONS });
    }
    store.addRoot(bytes);
    yield { need: 'keep', repo, role: 'root', bytes };
  }
  if (store.settleRoot()) yield { need: 'keep', repo, role: 'snapshot', bytes: undefined };
}
