/** Why an update has to wait, as rules: windows, inhibitors, consent, and the end of all patience. Pure. */
import { matchesPath } from '../uptane/glob.ts';
import type { Instant } from '../uptane/time.ts';
import type { Plan } from './machine.ts';
import { nextOpening, type Window } from './window.ts';

/** Before what an update waits. */
export type GateStep = 'download' | 'install';

/** From the settings. */
export interface GateRules {
  readonly windows: Readonly<Record<GateStep, readonly Window[]>>;
  readonly consent: 'never' | 'always' | 'listed';
  /** Patterns of the images that need it where it is `listed`. */
  readonly consentFor: readonly string[];
  /** After that a critical update goes through. */
  readonly criticalAfterMs: number;
}

/** What held an update back when it was asked. */
export interface Inhibition {
  readonly name: string;
  readonly said: string;
}

export interface Reason {
  readonly by: 'window' | 'inhibitor' | 'consent';
  /** In words. */
  readonly says: string;
  /** When it ends by itself; absent where nobody knows. */
  readonly until?: Instant;
}

/** What is known of an update that may have to wait. */
export interface Waiting {
  /** When it was first seen. */
  readonly since: Instant;
  readonly isApproved: boolean;
}

/** What the world says now. */
export interface Circumstances {
  readonly now: Instant;
  readonly inhibitions: readonly Inhibition[];
}

/** @returns none when it may go on */
export function reasons(
  rules: GateRules,
  { plan, step }: { readonly plan: Plan; readonly step: GateStep },
  { since, isApproved }: Waiting,
  { now, inhibitions }: Circumstances,
): readonly Reason[] {
  const deadline = deadlineOf(rules, plan, since);
  if (deadline !== undefined && now >= deadline) return [];
  const held: Reason[] = inhibitions.map(({ name, said }) => {
    return { by: 'inhibitor', says: said === '' ? name : `${name}: ${said}` };
  });
  const windows = rules.windows[step];
  const opens = windows.length === 0 ? now : nextOpening(windows, now);
  if (opens !== now) {
    const until = opens === undefined ? {} : { until: opens };
    held.unshift({ by: 'window', says: `outside of the windows to ${step}`, ...until });
  }
  if (step === 'install' && !isApproved && needsConsent(rules, plan)) {
    held.push({ by: 'consent', says: 'ota-agent approve has to come first' });
  }
  return held;
}

/** When a critical update goes through whatever holds it back. */
export function deadlineOf(
  { criticalAfterMs }: GateRules,
  { targets }: Plan,
  since: Instant,
): Instant | undefined {
  const isCritical = targets.some(({ critical }) => critical === true);
  return isCritical ? ((since + criticalAfterMs) as Instant) : undefined;
}

/** When all reasons end by themselves, or the deadline comes; `undefined` if neither is known. */
export function waitsUntil(
  held: readonly Reason[],
  deadline: Instant | undefined,
): Instant | undefined {
  const ends = held.map(({ until }) => until ?? Infinity);
  const first = Math.min(Math.max(...ends), deadline ?? Infinity);
  return Number.isFinite(first) ? (first as Instant) : undefined;
}

/**
 * When an update may go on by itself: not before, as long as nobody does anything.
 *
 * @returns milliseconds since the epoch; minus infinity where a program has to be asked to know
 */
export function mayGoOnAt(held: readonly Reason[], deadline: Instant | undefined): number {
  const ends = held.map(({ by, until }) => (by === 'inhibitor' ? -Infinity : (until ?? Infinity)));
  return Math.min(Math.max(...ends), deadline ?? Infinity);
}

function needsConsent({ consent, consentFor }: GateRules, { targets }: Plan): boolean {
  if (consent !== 'listed') return consent === 'always';
  return targets.some(({ filename }) =>
    consentFor.some((pattern) => matchesPath(pattern, filename)),
  );
}
