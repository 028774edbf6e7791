/**
 * Full verification (Uptane Standard 2.1 §5.4.4.2) as a conversation.
 *
 * These generators never touch the network or the disk. They say what they need next and are
 * answered; the test suite answers from a map, the daemon from a repository.
 */
import type { Repo } from '../errors.ts';
import type { Ecu, EcuInventory } from './inventory.ts';
import type { TrustedTarget } from './plan.ts';
import type { Instant } from './time.ts';

export type Need = Fetch | Keep;

/** Answered with the file's bytes, or `undefined` if the repository does not have it. */
export interface Fetch {
  readonly need: 'fetch';
  readonly repo: Repo;
  /** `2.root.json`, `timestamp.json`, `delegations/NAME.json` … */
  readonly file: string;
  readonly maxBytes: number;
}

/** To be persisted before the next question; `bytes` absent means: forget it. Answered with nothing. */
export interface Keep {
  readonly need: 'keep';
  readonly repo: Repo;
  /** `root`, `timestamp`, `snapshot`, `targets` or `delegated/NAME`. */
  readonly role: string;
  readonly bytes: Uint8Array | undefined;
}

export type Answer = Uint8Array | undefined;

export interface VerifyInput {
  /** Trusted metadata as kept before, by `REPO/ROLE`. `director/root` and `image/root` must be there. */
  readonly trusted: ReadonlyMap<string, Uint8Array>;
  readonly inventory: readonly EcuInventory[];
  readonly now: Instant;
}

export interface Verdict {
  /** `up-to-date`: every ECU named runs what both repositories want, or nothing is wanted. */
  readonly outcome: 'up-to-date' | 'update';
  /** What has to be installed; empty when up to date. */
  readonly targets: readonly TrustedTarget[];
  readonly correlationId?: string;
}

export type Conversation<T> = Generator<Need, T, Answer>;
export type { Ecu };
