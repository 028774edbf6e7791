/** A verdict per role: what was believed, what was refused, what nobody got to. */
import type { Repo } from '../../errors.ts';
import type { RoleSeen, Signers } from '../../uptane/observer.ts';
import { formatInstant, type Instant } from '../../uptane/time.ts';
import type { Run } from './run.ts';

export interface RoleVerdict {
  readonly repo: Repo;
  readonly role: string;
  readonly version: number | null;
  readonly expires: string | null;
  /** Different keys with a valid signature, how many are needed, and how many keys could sign. */
  readonly signatures: Signers | null;
  /** `not-checked`: not asked for, not served, or something before it was refused. */
  readonly status: 'accepted' | 'refused' | 'not-checked';
}

export interface Expiring {
  readonly repo: Repo;
  readonly role: string;
  readonly version: number;
  readonly expires: string;
  /** Whole days left. */
  readonly days: number;
}

const DAY_MS = 86_400_000;
const REPOS: readonly Repo[] = ['director', 'image'];
const TOP_LEVEL = ['root', 'timestamp', 'snapshot', 'targets'];

/** The top-level roles of both repositories, each followed by the delegated ones that were read. */
export function roleVerdicts({ transcript, failure }: Run): readonly RoleVerdict[] {
  const blame = failure?.blame?.isRefused === true ? failure.blame : undefined;
  const seen = new Map(transcript.roles.map((role) => [`${role.repo}/${role.role}`, role]));
  return REPOS.flatMap((repo) => {
    const known = transcript.roles.filter((role) => role.repo === repo).map(({ role }) => role);
    const refused = blame?.repo === repo ? [blame.role] : [];
    return [...new Set([...TOP_LEVEL, ...known, ...refused])].map((role) => {
      if (refused.includes(role)) return unseen(repo, role, 'refused');
      const accepted = seen.get(`${repo}/${role}`);
      return accepted === undefined ? unseen(repo, role, 'not-checked') : verdict(accepted);
    });
  });
}

/** Accepted roles that end within so many days; soonest first. */
export function expiringRoles(
  { transcript }: Run,
  now: Instant,
  days: number,
): readonly Expiring[] {
  return transcript.roles
    .filter(({ expiresAt }) => expiresAt - now < days * DAY_MS)
    .sort((a, b) => a.expiresAt - b.expiresAt)
    .map(({ repo, role, version, expiresAt }) => ({
      repo,
      role,
      version,
      expires: formatInstant(expiresAt),
      days: Math.floor((expiresAt - now) / DAY_MS),
    }));
}

function verdict({ repo, role, version, expiresAt, signers }: RoleSeen): RoleVerdict {
  const expires = formatInstant(expiresAt);
  return { repo, role, version, expires, signatures: signers, status: 'accepted' };
}

function unseen(repo: Repo, role: string, status: RoleVerdict['status']): RoleVerdict {
  return { repo, role, version: null, expires: null, signatures: null, status };
}
