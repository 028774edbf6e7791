/**
 * What time it is, as far as this device can know (Uptane Standard 2.1 §5.4.2.2).
 *
 * Which source may do what, and what an attacker gains from each, is in `agent/TIME.md`.
 */
import { parseJson, Fields, type Json } from '../decode.ts';
import { OtaError } from '../errors.ts';
import { canonicalText } from '../json-text.ts';
import { view } from '../json-view.ts';
import { CanonicalForms, canonicalJson, signedText } from './canonical.ts';
import { countSigners, readAuthority, readKeys, readSignatures, type Authority } from './keys.ts';
import { formatInstant, parseInstant, type Instant } from './time.ts';

/** Everything that says what time it is. */
export interface TimeSources {
  /** The system's clock. */
  readonly rtc: Instant;
  /** The latest instant at which fresh metadata was accepted. */
  readonly latestKnown: Instant;
  /** Signed for us by a time server, and counted on since. */
  readonly attested?: Instant | undefined;
  /** The `Date` of a server that TLS vouches for, and counted on since. */
  readonly httpDate?: Instant | undefined;
}

/**
 * The instant to judge metadata by.
 *
 * A signed time overrules the system's clock in both directions: it frees a device whose clock
 * jumped to 2100. Without one the clock counts, and a `Date` can only move it on. Nothing goes
 * before what is known already.
 */
export function effectiveNow({ rtc, latestKnown, attested, httpDate }: TimeSources): Instant {
  return latest(latestKnown, attested ?? latest(rtc, httpDate ?? rtc));
}

/** What a signed time has to fit. */
export interface TimeExpected {
  /** Sent with the request and never before. */
  readonly nonce: string;
  readonly authority: Authority;
  readonly latestKnown: Instant;
}

/** What is sent to a time server. A list, because the Standard lets a Primary ask for Secondaries too. */
export function timeRequest(nonce: string): Uint8Array {
  return canonicalJson(new Map<string, Json>([['nonces', [nonce]]]));
}

/**
 * Reads a time server's answer and believes it only if it was signed for this request.
 *
 * Type, nonce and time are under one signature: a server in between that swaps any of them breaks
 * it, and a signature made for another purpose is no time.
 *
 * Source: Uptane Standard 2.1 §5.4.2.2.
 *
 * @throws OtaError THRESHOLD_NOT_MET, TIME_NOT_FRESH, TIME_ROLLBACK, ROLE_TYPE_MISMATCH,
 * METADATA_MALFORMED
 */
export function verifyTime(bytes: Uint8Array, expected: TimeExpected): Instant {
  const canonical = canonicalText(bytes, 'time');
  const envelope = new Fields(view(canonical), 'time');
  const signed = envelope.object('signed');
  demandType(signed.string('_type'));
  const nonces = signed.strings('nonces');
  const time = parseInstant(signed.string('time'), signed.at('time'));
  const covered = new CanonicalForms(signedText(canonical));
  const valid = countSigners(readSignatures(envelope), expected.authority, covered);
  const { threshold } = expected.authority;
  if (valid < threshold) throw new OtaError('THRESHOLD_NOT_MET', { ...SUBJECT, valid, threshold });
  if (!nonces.includes(expected.nonce)) {
    const offered = nonces.join(' ').slice(0, SHOWN_CHARACTERS);
    throw new OtaError('TIME_NOT_FRESH', { expected: expected.nonce, offered });
  }
  demandNotEarlier(time, expected.latestKnown);
  return time;
}

/**
 * Reads whose signature makes a time: `keys` as root metadata has them, and a `threshold`.
 *
 * @throws OtaError METADATA_MALFORMED, also when fewer keys than the threshold are of a known type
 */
export function readTimeKeys(bytes: Uint8Array): Authority {
  const file = new Fields(parseJson(bytes, 'time_keys'), 'time_keys');
  const keys = readKeys(file.object('keys'));
  const role = new Map<string, Json>([
    ['keyids', [...keys.keys()]],
    ['threshold', file.integer('threshold', 1)],
  ]);
  const authority = readAuthority(new Fields(role, file.path), keys);
  const different = new Set([...keys.values()].map(({ material }) => material)).size;
  if (different >= authority.threshold) return authority;
  const want = `at most ${String(different)}, the number of different keys that can count`;
  throw new OtaError('METADATA_MALFORMED', { path: file.at('threshold'), want });
}

const SUBJECT = { repo: 'director', role: 'time' } as const;
const SHOWN_CHARACTERS = 100;
const SECOND_MS = 1000;

function demandType(type: string): void {
  if (type.toLowerCase() === 'time') return;
  throw new OtaError('ROLE_TYPE_MISMATCH', { ...SUBJECT, type });
}

/** To the second, which is all that a signed time has. */
function demandNotEarlier(offered: Instant, latestKnown: Instant): void {
  if (offered >= latestKnown - (latestKnown % SECOND_MS)) return;
  throw new OtaError('TIME_ROLLBACK', {
    latestKnownAt: formatInstant(latestKnown),
    offeredAt: formatInstant(offered),
  });
}

function latest(a: Instant, b: Instant): Instant {
  return a > b ? a : b;
}
