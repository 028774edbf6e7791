/** What this device believes of its repositories, as it lies on disk. */
import { OtaError, type Repo } from '../../errors.ts';
import type { Format } from '../../uptane/format.ts';
import { UPTANE } from '../../uptane/format.ts';
import { loadFormat } from '../../uptane/load-format.ts';
import { formatInstant, isExpired, type Instant } from '../../uptane/time.ts';
import { FIRST_USE } from '../status.ts';
import { ok, warn, type Check, type Examination, type Finding } from './check.ts';

/** Signing a root takes people who have to come together. */
const SOON_MS = 7 * 24 * 3_600_000;
const PROVISION = 'run ota-agent provision';

export const TRUST_CHECKS: readonly Check[] = [
  { name: 'registration', needs: ['database'], code: 'STORAGE_FAILED', examine: examineEcus },
  { name: 'roots', needs: ['database'], code: 'STORAGE_FAILED', examine: examineRoots },
  {
    name: 'metadata',
    needs: ['roots', 'clock'],
    code: 'STORAGE_FAILED',
    examine: examineMetadata,
  },
];

async function examineEcus(examination: Examination): Promise<Finding> {
  const inventory = await examination.get('storage').store.inventory();
  if (inventory.length === 0) {
    throw new OtaError('NOT_PROVISIONED', { missing: 'ECU registration', remedy: PROVISION });
  }
  return ok(inventory.map(({ serial, hardwareId }) => `${serial} (${hardwareId})`).join(', '));
}

async function examineRoots(examination: Examination): Promise<Finding> {
  const { store } = examination.get('storage');
  const trusted = await store.loadTrusted();
  for (const repo of ['director', 'image'] as const) {
    if (!trusted.has(`${repo}/root`)) {
      const missing = `root metadata of ${repo}`;
      throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
    }
  }
  const ways = [await store.fact('director_trust'), await store.fact('image_trust')];
  if (!ways.includes('first-use')) return ok('pinned for both repositories');
  const [detail = '', remedy = ''] = FIRST_USE.split('; ');
  return warn(detail, remedy);
}

const ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const;

async function examineMetadata(examination: Examination): Promise<Finding> {
  const now = examination.get('clock').now();
  const trusted = await examination.get('storage').store.loadTrusted();
  const { dialect } = examination.get('loaded').settings.uptane;
  const formats = { director: UPTANE, image: await loadFormat(dialect) };
  const ends = (['director', 'image'] as const).flatMap((repo) =>
    ROLES.flatMap((role) => {
      const bytes = trusted.get(`${repo}/${role}`);
      if (bytes === undefined) return [];
      return [{ name: `${repo} ${role}`, role, at: expiryOf(formats[repo], repo, role, bytes) }];
    }),
  );
  const over = ends.filter(({ at }) => isExpired(at, now));
  const soon = ends.filter(
    ({ role, at }) => role === 'root' && isExpired(at, (now + SOON_MS) as Instant),
  );
  const list = (some: typeof ends): string =>
    some.map(({ name, at }) => `${name} ${formatInstant(at)}`).join(', ');
  if (over.length > 0) {
    const remedy =
      'ota-agent check fetches newer ones; if there are none, they have to be signed anew';
    return warn(`expired: ${list(over)}`, remedy, 'METADATA_EXPIRED');
  }
  if (soon.length > 0) {
    const remedy =
      'have a new root signed and published before that: devices stop at an expired one';
    return warn(`ends soon: ${list(soon)}`, remedy);
  }
  const first = ends.toSorted((a, b) => a.at - b.at).slice(0, 1);
  return ok(`${String(ends.length)} files, the first to end: ${list(first)}`);
}

function expiryOf(
  format: Format,
  repo: Repo,
  role: (typeof ROLES)[number],
  bytes: Uint8Array,
): Instant {
  switch (role) {
    case 'root':
      return format.parseRoot(bytes, repo).body.expiresAt;
    case 'timestamp':
      return format.parseTimestamp(bytes, repo).body.expiresAt;
    case 'snapshot':
      return format.parseSnapshot(bytes, repo).body.expiresAt;
    case 'targets':
      return format.parseTargets(bytes, repo, 'targets').body.expiresAt;
  }
}
