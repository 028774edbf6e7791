/** The checks of `checks.ts`, each of which tells an observer when it held. */
import {
  verifyFresh,
  verifyHashes,
  verifyLength,
  verifyListedVersion,
  verifyNotOlder,
  verifySnapshotGrows,
  verifyThreshold,
  type Subject,
} from './checks.ts';
import type { Check, Facts, Observer } from './observer.ts';
import { formatInstant } from './time.ts';

const UNWATCHED = {
  verifyFresh,
  verifyHashes,
  verifyLength,
  verifyListedVersion,
  verifyNotOlder,
  verifySnapshotGrows,
  verifyThreshold,
};

export type Checks = typeof UNWATCHED;

/** Sections of §5.4.4 of the Uptane Standard 2.1, and in them the step of each check. */
const SECTIONS = { root: 3, timestamp: 4, snapshot: 5, targets: 6 } as const;
type Section = keyof typeof SECTIONS;
type RoleCheck = Exclude<Check, 'assignments' | 'nothing-new' | 'found' | 'match'>;

const STEPS: Readonly<Record<RoleCheck, Partial<Record<Section, string>>>> = {
  threshold: { root: 'step 2.3', timestamp: 'step 2', snapshot: 'step 3', targets: 'step 3' },
  'next-version': { root: 'step 2.4' },
  'not-older': { timestamp: 'step 3', snapshot: 'step 4', targets: 'step 4' },
  hashes: { snapshot: 'step 2', targets: 'step 2' },
  length: { snapshot: 'step 1', targets: 'step 1' },
  'listed-version': { snapshot: 'step 2', targets: 'step 2' },
  'nothing-removed': { snapshot: 'steps 5 and 6' },
  'not-expired': { root: 'step 3', timestamp: 'step 4', snapshot: 'step 7', targets: 'step 5' },
  'still-current': { snapshot: 'step 2', targets: 'step 2' },
};

/** Tells that a check about one file held. */
export function tellPassed(
  observer: Observer | undefined,
  { repo, role }: Subject,
  check: RoleCheck,
  facts: Facts = {},
): void {
  const section: Section = role in SECTIONS ? (role as Section) : 'targets';
  const clause = `§5.4.4.${String(SECTIONS[section])} ${STEPS[check][section] ?? ''}`.trimEnd();
  observer?.passed({ repo, role, check, clause, facts });
}

/** The same checks for somebody who watches; without an observer, the checks themselves. */
export function watchChecks(observer: Observer | undefined): Checks {
  if (observer === undefined) return UNWATCHED;
  const tell = (subject: Subject, check: RoleCheck, facts?: Facts): void => {
    tellPassed(observer, subject, check, facts);
  };
  return {
    verifyThreshold: (subject, file, authority) => {
      const signers = verifyThreshold(subject, file, authority);
      tell(subject, 'threshold', { ...signers });
      return signers;
    },
    verifyFresh: (subject, common, now) => {
      verifyFresh(subject, common, now);
      const { expiresAt } = common;
      tell(subject, 'not-expired', { expiresAt: formatInstant(expiresAt), at: formatInstant(now) });
    },
    verifyNotOlder: (subject, trusted, offered) => {
      verifyNotOlder(subject, trusted, offered);
      tell(subject, 'not-older', { trusted: trusted?.version ?? 'none', offered });
    },
    verifyHashes: (subject, file, listed, listedIn) => {
      verifyHashes(subject, file, listed, listedIn);
      // None listed is nothing held.
      const hashes = [...listed.hashes.keys()].join(',');
      if (hashes !== '') tell(subject, 'hashes', { listedIn, hashes });
    },
    verifyLength: (subject, file, listed, listedIn) => {
      verifyLength(subject, file, listed, listedIn);
      if (listed.lengthBytes === undefined) return;
      tell(subject, 'length', { listedIn, lengthBytes: listed.lengthBytes });
    },
    verifyListedVersion: (subject, file, listed) => {
      verifyListedVersion(subject, file, listed);
      tell(subject, 'listed-version', { version: listed.version });
    },
    verifySnapshotGrows: (repo, trusted, offered) => {
      verifySnapshotGrows(repo, trusted, offered);
      tell({ repo, role: 'snapshot' }, 'nothing-removed', { roles: trusted.files.size });
    },
  };
}
