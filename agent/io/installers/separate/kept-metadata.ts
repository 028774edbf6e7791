/** Signed metadata for the installer: what the agent has verified, and of roots what came before. */
import type { Repositories, Store } from '../../../ports.ts';
import type { MetadataSource } from './link.ts';

/** `7.root.json`, `timestamp.json`, `3.snapshot.json`, `delegations/NAME.json`. */
const FILE = /^(?:delegations\/)?(?:(\d+)\.)?(.+)\.json$/u;

/**
 * @param repositories - for roots between the installer's and the agent's; absent without network
 */
export function keptMetadata(
  store: Pick<Store, 'loadTrusted'>,
  repositories: Pick<Repositories, 'fetchMetadata'> | undefined,
): MetadataSource {
  return async (repo, file, maxBytes) => {
    const [, version, name = ''] = FILE.exec(file) ?? [];
    const trusted = await store.loadTrusted();
    const kept = trusted.get(`${repo}/${name}`) ?? trusted.get(`${repo}/delegated/${name}`);
    if (name !== 'root') return kept ?? repositories?.fetchMetadata(repo, file, maxBytes);
    const [wanted, newest] = [Number(version), kept === undefined ? 0 : versionOf(kept)];
    if (wanted === newest) return kept;
    // The agent goes no further than its own root: it verified the rest with that.
    return wanted > newest ? undefined : repositories?.fetchMetadata(repo, file, maxBytes);
  };
}

/** Of metadata that the agent has parsed before. */
function versionOf(bytes: Uint8Array): number {
  const { signed } = JSON.parse(Buffer.from(bytes).toString()) as { signed: { version: number } };
  return signed.version;
}
