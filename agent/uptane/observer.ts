/** What verification lets others watch. An observer is told and never asked: it decides nothing. */
import type { Repo } from '../errors.ts';
import type { Instant } from './time.ts';

export interface Observer {
  /** A rule held. Rules that do not hold throw, so the last one told is the last one that held. */
  passed(check: Passed): void;
  /** Every rule about a file held: it is believed. */
  accepted(role: RoleSeen): void;
}

export interface Passed {
  readonly repo: Repo;
  /** `undefined` for what is not about one file. */
  readonly role: string | undefined;
  readonly check: Check;
  /** Where the rule is from, such as `§5.4.4.4 step 3`. */
  readonly clause: string;
  readonly facts: Facts;
}

export type Check =
  | 'threshold'
  | 'next-version'
  | 'not-older'
  | 'hashes'
  | 'length'
  | 'listed-version'
  | 'nothing-removed'
  | 'not-expired'
  | 'still-current'
  | 'assignments'
  | 'nothing-new'
  | 'found'
  | 'match';

export type Facts = Readonly<Record<string, string | number>>;

/** How a file's signatures were counted. */
export interface Signers {
  /** Different keys with a valid signature. */
  readonly valid: number;
  readonly threshold: number;
  /** Keys that could have signed. */
  readonly keys: number;
}

/** A role as believed in this run. */
export interface RoleSeen {
  readonly repo: Repo;
  readonly role: string;
  readonly version: number;
  readonly expiresAt: Instant;
  readonly signers: Signers;
}
