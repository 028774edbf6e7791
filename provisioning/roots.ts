/** Step 4: the metadata that trust starts from. Uptane Standard 2.1 §5.4.1. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { malformed } from '../agent/decode.ts';
import { causeOf, OtaError, type Repo } from '../agent/errors.ts';
import { StateDirectory } from '../agent/io/metadata-dir.ts';
import type { Format } from '../agent/uptane/format.ts';
import { verifyInitialSet } from '../agent/uptane/initial-set.ts';
import { loadFormat } from '../agent/uptane/load-format.ts';
import { verifyFirstRoot } from '../agent/uptane/store.ts';
import type { GatewayRequest, Provisioning } from './record.ts';

const REPOS = ['director', 'image'] as const;
const FIRST_ROOT: Readonly<Record<Repo, string>> = {
  director: '/director/1.root.json',
  image: '/repo/1.root.json',
};
/** What a set has to have; a Director made for the reference client serves no more. */
const NEEDED: Readonly<Record<Repo, readonly string[]>> = {
  director: ['root', 'targets'],
  image: ['root', 'timestamp', 'snapshot', 'targets'],
};
const ROLES = ['root', 'timestamp', 'snapshot', 'targets'];

/** Where trust began: named root files, a complete set, or whatever the gateway served. */
type Beginning = 'pinned-roots' | 'initial-metadata' | 'first-use';

/** What one repository's trust starts from. */
interface Start {
  readonly beginning: Beginning;
  /** By role. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly facts: string;
}

/**
 * Refuses settings that leave no way to the first root, before anything is changed.
 *
 * @throws OtaError CONFIG_INVALID if roots are neither pinned nor to be trusted on first use
 */
export function demandRootSource({ settings }: Provisioning): void {
  const { roots, initial_metadata: set, trust_on_first_use: onFirstUse } = settings.uptane;
  if (roots !== undefined || set !== undefined || onFirstUse) return;
  throw new OtaError('CONFIG_INVALID', {
    file: 'settings',
    line: 0,
    key: 'uptane.roots',
    problem: 'is not set, nor is uptane.initial_metadata, so there is nothing to begin to trust',
    remedy: 'name the root metadata files of Director and Image repository',
  });
}

/**
 * Pins the metadata that the trust in both repositories starts from, each once.
 *
 * A root that is there is never replaced: from then on, only its own keys may do that. How trust began
 * is recorded, so that every later run can say so.
 *
 * @returns warnings
 * @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH, THRESHOLD_NOT_MET unless it signs itself
 * @throws OtaError those of `verifyInitialSet`, FILE_UNREADABLE, GATEWAY_ANSWER
 */
export async function provisionRoots(
  all: Provisioning,
  gateway: GatewayRequest,
): Promise<readonly string[]> {
  const { record } = all;
  const warnings: string[] = [];
  // A set is verified as a whole before any of it is pinned.
  const sets = await readSets(all);
  for (const repo of REPOS) {
    const trust = `${repo}-trust` as const;
    const isThere = await record.hasRoot(repo);
    const start = isThere ? undefined : (sets?.get(repo) ?? (await readStart(all, gateway, repo)));
    if (start !== undefined) {
      await record.put(trust, start.beginning);
      await record.pin(repo, start.files);
    }
    const isOnFirstUse = (await record.get(trust)) === 'first-use';
    const facts = start?.facts ?? repo;
    all.say(
      'roots',
      start === undefined ? 'found done' : 'done now',
      isOnFirstUse ? `${facts}. ${WARNING}` : facts,
    );
    if (isOnFirstUse) warnings.push(`${repo}: ${WARNING}`);
  }
  return warnings;
}

const WARNING =
  'TRUSTED ON FIRST USE: whoever answered as the gateway at the first contact decides what this ' +
  'device installs; compare the digest, and pin uptane.roots or uptane.initial_metadata in production';

/** `undefined` where there is no set, or nothing left to start. */
async function readSets(all: Provisioning): Promise<ReadonlyMap<Repo, Start> | undefined> {
  const { initial_metadata: directory } = all.settings.uptane;
  const missing = await Promise.all(REPOS.map(async (repo) => !(await all.record.hasRoot(repo))));
  if (directory === undefined || !missing.includes(true)) return undefined;
  const everything = await new StateDirectory(directory).loadTrusted();
  const sets = new Map<Repo, Start>();
  for (const repo of REPOS) {
    const files = new Map<string, Uint8Array>();
    for (const role of ROLES) {
      const bytes = everything.get(`${repo}/${role}`);
      if (bytes !== undefined) files.set(role, bytes);
      else if (NEEDED[repo].includes(role)) throw incomplete(join(directory, repo, `${role}.json`));
    }
    const seen = verifyInitialSet(repo, files, await formatOf(all, repo));
    const versions = seen.map(({ role, version }) => `${role} ${String(version)}`).join(', ');
    const facts = `${repo} complete set: ${versions}; root SHA-256 ${sha256(files.get('root'))}`;
    sets.set(repo, { beginning: 'initial-metadata', files, facts });
  }
  return sets;
}

async function readStart(all: Provisioning, gateway: GatewayRequest, repo: Repo): Promise<Start> {
  const path = all.settings.uptane.roots?.[REPOS.indexOf(repo)];
  const bytes = path === undefined ? await fetchRoot(gateway, repo) : await readRoot(path);
  const format = await formatOf(all, repo);
  const maxBytes = format.maxBytes.root;
  if (bytes.byteLength > maxBytes) {
    throw malformed(path ?? FIRST_ROOT[repo], `at most ${String(maxBytes / 1024)} KiB`);
  }
  const { version } = verifyFirstRoot(repo, bytes, format);
  return {
    beginning: path === undefined ? 'first-use' : 'pinned-roots',
    files: new Map([['root', bytes]]),
    facts: `${repo} root version ${String(version)}, SHA-256 ${sha256(bytes)}`,
  };
}

function formatOf({ settings }: Provisioning, repo: Repo): Promise<Format> {
  return loadFormat(repo === 'image' ? settings.uptane.dialect : 'uptane');
}

async function readRoot(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const remedy = 'check uptane.roots';
    const details = { path, what: 'root metadata', cause: causeOf(cause), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
}

async function fetchRoot(gateway: GatewayRequest, repo: Repo): Promise<Uint8Array> {
  const url = FIRST_ROOT[repo];
  const { status, body } = await gateway('GET', url);
  if (status === 200) return body;
  throw new OtaError('GATEWAY_ANSWER', { url, status, answer: 'no root metadata' });
}

function incomplete(path: string): OtaError<'FILE_UNREADABLE'> {
  const remedy = 'put the complete set there, as ota-agent verify --state leaves it';
  const what = 'uptane.initial_metadata';
  return new OtaError('FILE_UNREADABLE', { path, what, cause: 'no such file', remedy });
}

function sha256(bytes: Uint8Array = new Uint8Array()): string {
  return createHash('sha256').update(bytes).digest('hex');
}
