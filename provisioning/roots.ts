/** Step 4: the root metadata that trust starts from. Uptane Standard 2.1 §5.4.1. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { malformed } from '../agent/decode.ts';
import { causeOf, OtaError, type Repo } from '../agent/errors.ts';
import { loadFormat } from '../agent/uptane/load-format.ts';
import { verifyFirstRoot } from '../agent/uptane/store.ts';
import type { GatewayRequest, Provisioning } from './record.ts';

const REPOS = ['director', 'image'] as const;
const FIRST_ROOT: Readonly<Record<Repo, string>> = {
  director: '/director/1.root.json',
  image: '/repo/1.root.json',
};

/**
 * Refuses settings that leave no way to the first root, before anything is changed.
 *
 * @throws OtaError CONFIG_INVALID if roots are neither pinned nor to be trusted on first use
 */
export function demandRootSource({ settings }: Provisioning): void {
  const { roots, trust_on_first_use: onFirstUse } = settings.uptane;
  if (roots !== undefined || onFirstUse) return;
  throw new OtaError('CONFIG_INVALID', {
    file: 'settings',
    line: 0,
    key: 'uptane.roots',
    problem: 'is not set, so there is nothing to begin to trust',
    remedy: 'name the root metadata files of Director and Image repository',
  });
}

/**
 * Pins the root metadata of both repositories, each once.
 *
 * A root that is there is never replaced: from then on, only its own keys may do that.
 *
 * @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH, THRESHOLD_NOT_MET unless it signs itself
 * @throws OtaError FILE_UNREADABLE, GATEWAY_ANSWER
 */
export async function provisionRoots(all: Provisioning, gateway: GatewayRequest): Promise<void> {
  for (const [index, repo] of REPOS.entries()) {
    if (await all.record.hasRoot(repo)) {
      all.say('roots', 'found done', repo);
      continue;
    }
    const path = all.settings.uptane.roots?.[index];
    const bytes = path === undefined ? await fetchRoot(gateway, repo) : await readRoot(path);
    const { dialect } = all.settings.uptane;
    const format = await loadFormat(repo === 'image' ? dialect : 'uptane');
    const maxBytes = format.maxBytes.root;
    if (bytes.byteLength > maxBytes) {
      throw malformed(path ?? FIRST_ROOT[repo], `at most ${String(maxBytes / 1024)} KiB`);
    }
    const { version } = verifyFirstRoot(repo, bytes, format);
    await all.record.pinRoot(repo, bytes);
    const digest = createHash('sha256').update(bytes).digest('hex');
    const facts = `${repo} root version ${String(version)}, SHA-256 ${digest}`;
    all.say('roots', 'done now', path === undefined ? `${facts}. ${WARNING}` : facts);
  }
}

const WARNING =
  'TRUSTED ON FIRST USE: whoever answered as the gateway just now decides what this device installs; ' +
  'compare the digest, and pin uptane.roots in production';

async function readRoot(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const details = {
      path,
      what: 'root metadata',
      cause: causeOf(cause),
      remedy: 'check uptane.roots',
    };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
}

async function fetchRoot(gateway: GatewayRequest, repo: Repo): Promise<Uint8Array> {
  const url = FIRST_ROOT[repo];
  const { status, body } = await gateway('GET', url);
  if (status === 200) return body;
  throw new OtaError('GATEWAY_ANSWER', { url, status, answer: 'no root metadata' });
}
