/** What of the kept metadata is a floor: the versions below which nothing is believed from here on. */
import type { Repo } from '../errors.ts';
import { canonicalText } from '../json-text.ts';
import { digest, signedText } from './canonical.ts';
import type { Format } from './format.ts';
import { KeptFiles } from './kept-files.ts';
import type { Root, Snapshot } from './metadata.ts';
import { roleOf } from './names.ts';
import { keptOfflineSnapshot, OFFLINE_SNAPSHOT } from './offline-snapshot.ts';
import { countingAfterForgetting, countingBesideRemnants, type Kept } from './rotation.ts';

export interface Floors {
  /** By `REPO/ROLE`. Under one root no entry ever goes down, which is what makes it a floor. */
  readonly versions: ReadonlyMap<string, number>;
  /** SHA-256 of what each root signs, in hex: of two roots of one version only one was trusted. */
  readonly roots: ReadonlyMap<Repo, string>;
  /** Of `versions`, the delegated roles that this device has used. */
  readonly used: readonly string[];
}

export type Formats = Readonly<Record<Repo, Format>>;

/**
 * Reads the floors from the kept files alone, as the next verification would find them.
 *
 * Of the Image repository the Snapshot's list counts instead of the Targets files: it binds whatever
 * is fetched later, and after new Snapshot keys it may rightly be lower than an old file (TUF 1.0
 * §5.6). Targets of a Director never go down, and it may serve no Snapshot.
 *
 * @param trusted - everything kept, by `REPO/ROLE`
 * @throws OtaError STORAGE_CORRUPT
 */
export function floorsOf(trusted: ReadonlyMap<string, Uint8Array>, formats: Formats): Floors {
  const versions = new Map<string, number>();
  const roots = new Map<Repo, string>();
  for (const repo of ['director', 'image'] as const) {
    const format = formats[repo];
    const files = new KeptFiles(repo, trusted);
    const root = files.require('root', (bytes) => format.parseRoot(bytes, repo));
    roots.set(repo, rootDigest(root.bytes));
    versions.set(`${repo}/root`, root.body.version);
    const { timestamp, snapshot } = countingOf(files, repo, format, root.body);
    if (timestamp !== undefined) versions.set(`${repo}/timestamp`, timestamp.body.version);
    if (snapshot !== undefined) versions.set(`${repo}/snapshot`, snapshot.body.version);
    if (repo === 'image') {
      for (const [role, version] of listedIn(snapshot?.body)) versions.set(role, version);
    } else {
      const targets = files.read('targets', (bytes) => format.parseTargets(bytes, repo, 'targets'));
      if (targets !== undefined) versions.set('director/targets', targets.body.version);
      const offline = keptOfflineSnapshot(trusted, root.body)?.body.version;
      if (offline !== undefined) versions.set(`director/${OFFLINE_SNAPSHOT}`, offline);
    }
  }
  const isUsed = (name: string): boolean => name.startsWith(DELEGATED) && versions.has(name);
  return { versions, roots, used: [...trusted.keys()].filter(isUsed).sort() };
}

/** SHA-256 of what a root file signs: further signatures on the same root leave it as it is. */
export function rootDigest(bytes: Uint8Array): string {
  return digest('sha256', signedText(canonicalText(bytes, 'root')));
}

const DELEGATED = 'image/delegated/';
const LISTED_FILE = /^(?<name>.+)\.json$/u;

function countingOf(files: KeptFiles, repo: Repo, format: Format, root: Root): Kept {
  const counting =
    format.rules.outdated === 'forget' ? countingAfterForgetting : countingBesideRemnants;
  const timestamp = files.read('timestamp', (bytes) => format.parseTimestamp(bytes, repo));
  const snapshot = files.read('snapshot', (bytes) => format.parseSnapshot(bytes, repo));
  return counting({ timestamp, snapshot }, root);
}

function* listedIn(snapshot: Snapshot | undefined): Generator<[string, number]> {
  for (const [file, { version }] of snapshot?.files ?? []) {
    const name = LISTED_FILE.exec(file)?.groups?.['name'];
    if (name !== undefined && name !== 'root') yield [`image/${roleOf(name)}`, version];
  }
}
