/** Logging in without ever locking the token. */
import { createHash } from 'node:crypto';

import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import type { Pin, PinKind } from './pin.ts';
import { isCkr, locked } from './token-errors.ts';

const { TokenFlag, UserType } = graphene;

/** CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS and CKS_RW_SO_FUNCTIONS (PKCS#11 v2.40 §5.6.7). */
const LOGGED_IN: Readonly<Record<PinKind, readonly number[]>> = { user: [1, 3], so: [4] };
const USERS = { user: UserType.USER, so: UserType.SO } as const;
const FLAGS = {
  user: {
    low: TokenFlag.USER_PIN_COUNT_LOW,
    last: TokenFlag.USER_PIN_FINAL_TRY,
    locked: TokenFlag.USER_PIN_LOCKED,
  },
  so: {
    low: TokenFlag.SO_PIN_COUNT_LOW,
    last: TokenFlag.SO_PIN_FINAL_TRY,
    locked: TokenFlag.SO_PIN_LOCKED,
  },
} as const;

export type TriesLeft =
  'none' | '1' | 'at least 1, fewer than the full number' | 'the token does not say';

const LEAVE_LAST_TRY =
  'check the PIN, then log in once by hand (pkcs11-tool --login); the agent leaves the last try to you';
const CORRECT_PIN = {
  user: 'correct the PIN in token.pin_file or the credential "pin"',
  so: 'correct the PIN in token.so_pin_file or the credential "so-pin"',
} as const;

/** Digests of PINs that a token has refused, and what it said then. */
const refused = new Map<string, TriesLeft>();

/**
 * Logs in, unless this process already is: login is shared with libp11.
 *
 * A wrong PIN is tried once per process, until the token's counter has moved, and the last try is left
 * to a person: a service that restarts must not be what locks the token.
 *
 * @throws OtaError TOKEN_PIN_INCORRECT if the PIN is wrong, or was, or one try is left
 * @throws OtaError TOKEN_LOCKED if no try is left
 */
export function logIn(
  session: graphene.Session,
  pin: Pin,
  uri: string,
  kind: PinKind = 'user',
): void {
  if (isLoggedIn(session, kind)) return;
  const before = triesLeft(session.slot, kind);
  if (before === 'none') throw locked(uri);
  if (before === '1') throw incorrect(uri, before, LEAVE_LAST_TRY);
  const attempt = digest(session.slot, pin, kind);
  if (refused.get(attempt) === before) throw incorrect(uri, before, CORRECT_PIN[kind]);
  try {
    session.login(pin.reveal(), USERS[kind]);
  } catch (error) {
    if (isCkr(error, 'USER_ALREADY_LOGGED_IN')) return;
    if (!isCkr(error, 'PIN_INCORRECT', 'PIN_INVALID', 'PIN_LEN_RANGE', 'PIN_LOCKED')) throw error;
    const left = isCkr(error, 'PIN_LOCKED') ? 'none' : triesLeft(session.slot, kind);
    refused.set(attempt, left);
    if (left === 'none') throw locked(uri, { cause: error });
    throw incorrect(uri, left, left === '1' ? LEAVE_LAST_TRY : CORRECT_PIN[kind], error);
  }
}

function isLoggedIn(session: graphene.Session, kind: PinKind): boolean {
  const { state } = session.lib.C_GetSessionInfo(session.handle);
  return LOGGED_IN[kind].includes(state);
}

export function triesLeft(slot: graphene.Slot, kind: PinKind): TriesLeft {
  const { flags } = slot.getToken();
  const meaning = FLAGS[kind];
  if ((flags & meaning.locked) !== 0) return 'none';
  if ((flags & meaning.last) !== 0) return '1';
  if ((flags & meaning.low) !== 0) return 'at least 1, fewer than the full number';
  return 'the token does not say';
}

function digest(slot: graphene.Slot, pin: Pin, kind: PinKind): string {
  const { label, serialNumber } = slot.getToken();
  return createHash('sha256')
    .update([kind, label, serialNumber, pin.reveal()].join('\0'))
    .digest('hex');
}

function incorrect(
  uri: string,
  left: TriesLeft,
  remedy: string,
  cause?: unknown,
): OtaError<'TOKEN_PIN_INCORRECT'> {
  const options = cause === undefined ? undefined : { cause };
  return new OtaError('TOKEN_PIN_INCORRECT', { uri, triesLeft: left, remedy }, options);
}
