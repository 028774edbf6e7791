/**
 * TUF 1.0 as a format of the Image repository, or of any TUF repository.
 *
 * Not imported where the Uptane dialect is configured, so that a device which does not need tuf-js
 * does not load it.
 *
 * Source: TUF specification 1.0 §4 for files, §5 for the rules, §6.2 for consistent snapshots.
 */
import type { Format } from './format.ts';
import type { Root } from './metadata.ts';
import { percentEncoded } from './names.ts';
import { TufJudge } from './tuf-judge.ts';
import {
  parseTufRoot,
  parseTufSnapshot,
  parseTufTargets,
  parseTufTimestamp,
} from './tuf-metadata.ts';

export const TUF: Format = {
  name: 'tuf',
  maxBytes: {
    root: 512 * 1024,
    timestamp: 64 * 1024,
    snapshot: 2 * 1024 * 1024,
    targets: { director: 64 * 1024, image: 8 * 1024 * 1024 },
  },
  rules: {
    sameTimestamp: 'discard',
    listedSnapshot: 'binds',
    targetsVersion: 'as-listed',
    listedLength: 'exact',
    longChain: 'continue',
    outdated: 'ignore',
  },
  parseRoot: parseTufRoot,
  parseTimestamp: parseTufTimestamp,
  parseSnapshot: parseTufSnapshot,
  parseTargets: parseTufTargets,
  snapshotFile: (root, { version }) => metadataFile(root, 'snapshot', version),
  targetsFile: (root, name, listed) => metadataFile(root, name, listed?.version),
  imageFile: ({ consistentSnapshot }, filename, { hashes }) => {
    const [hex] = hashes.values();
    return consistentSnapshot && hex !== undefined ? withPrefix(filename, hex) : undefined;
  },
  openJudge: (repo, root, now) => new TufJudge(repo, root, now),
};

function metadataFile({ consistentSnapshot }: Root, name: string, version?: number): string {
  const file = `${percentEncoded(name)}.json`;
  return consistentSnapshot && version !== undefined ? `${String(version)}.${file}` : file;
}

/** The hash goes before the last segment: the directory stays. */
function withPrefix(filename: string, hex: string): string {
  const slash = filename.lastIndexOf('/') + 1;
  return `${filename.slice(0, slash)}${hex}.${filename.slice(slash)}`;
}
