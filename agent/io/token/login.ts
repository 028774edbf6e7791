/** Logging in without ever locking the token. */
import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import type { Pin, PinKind } from './pin.ts';
import {
  expectRefusal,
  forgetRefusals,
  refusalOf,
  refusedPinsFile,
  type PinOwner,
  type TriesLeft,
} from './refused-pins.ts';
import { TEE_IDENTITY } from './tee-identity.ts';
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

const LEAVE_LAST_TRY =
  'check the PIN, then log in once by hand (pkcs11-tool --login); the agent leaves the last try to you';
const CORRECT_PIN = {
  user: 'correct the PIN in token.pin_file or the credential "pin"',
  so: 'correct the PIN in token.so_pin_file or the credential "so-pin"',
} as const;

const FOREIGN_IDENTITY =
  'the token belongs to another user or group than this process has, or has a PIN: run as the one that ' +
  'provisioned it, or set token.login';

/**
 * Logs in, unless this process already is: login is shared with libp11.
 *
 * A wrong PIN is tried once, until the token's counter has moved, and the last try is left to a person:
 * a service that restarts must not be what locks the token.
 *
 * @throws OtaError TOKEN_PIN_INCORRECT if the PIN is wrong, or was, or one try is left
 * @throws OtaError TOKEN_LOCKED if no try is left
 * @throws OtaError STORAGE_FAILED if a refusal could not be remembered; then nothing is tried
 */
export function logIn(
  session: graphene.Session,
  pin: Pin,
  uri: string,
  kind: PinKind = 'user',
): void {
  if (isLoggedIn(session, kind)) return;
  if (pin === TEE_IDENTITY) logInAsIdentity(session, uri, kind);
  else logInWithPin(session, pin, uri, kind);
}

function logInWithPin(session: graphene.Session, pin: Pin, uri: string, kind: PinKind): void {
  const before = triesLeft(session.slot, kind);
  if (before === 'none') throw locked(uri);
  if (before === '1') throw incorrect(uri, before, LEAVE_LAST_TRY);
  const owner = pinOwner(session.slot, kind);
  if (refusalOf(owner, pin) === before) throw incorrect(uri, before, triedBefore(kind));
  const refusal = expectRefusal(owner);
  try {
    session.login(pin.reveal(), USERS[kind]);
  } catch (error) {
    if (!isCkr(error, 'PIN_INCORRECT', 'PIN_INVALID', 'PIN_LEN_RANGE', 'PIN_LOCKED')) {
      refusal.spared();
      if (isCkr(error, 'USER_ALREADY_LOGGED_IN')) return;
      throw error;
    }
    const left = isCkr(error, 'PIN_LOCKED') ? 'none' : triesLeft(session.slot, kind);
    refusal.happened(pin, left);
    if (left === 'none') throw locked(uri, { cause: error });
    throw incorrect(uri, left, left === '1' ? LEAVE_LAST_TRY : CORRECT_PIN[kind], error);
  }
  refusal.spared();
  forgetRefusals(owner);
}

/**
 * Nothing counts the tries of an identity, and the next process may run as somebody else, so nothing is
 * remembered. A token that has a PIN would count this as a wrong one: it is not asked.
 *
 * Source: OP-TEE's PKCS#11 TA, which marks tokens that know identities by this flag.
 */
function logInAsIdentity(session: graphene.Session, uri: string, kind: PinKind): void {
  const { flags } = session.slot.getToken();
  if ((flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH) === 0) throw foreignIdentity(uri);
  try {
    session.login(TEE_IDENTITY.reveal(), USERS[kind]);
  } catch (error) {
    if (isCkr(error, 'USER_ALREADY_LOGGED_IN')) return;
    throw isCkr(error, 'PIN_INCORRECT') ? foreignIdentity(uri, error) : error;
  }
}

/** Who a PIN of this token belongs to. */
export function pinOwner(slot: graphene.Slot, kind: PinKind): PinOwner {
  const { label, serialNumber } = slot.getToken();
  return { kind, label, serial: serialNumber };
}

/** The token may have been given, since, the very PIN that it refused. */
function triedBefore(kind: PinKind): string {
  const file = refusedPinsFile();
  const again = file === undefined ? '' : `; if it is right by now, remove ${file}`;
  return `the token refused this PIN before, so it was not tried: ${CORRECT_PIN[kind]}${again}`;
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

function foreignIdentity(uri: string, cause?: unknown): OtaError<'TOKEN_PIN_INCORRECT'> {
  return incorrect(uri, 'the token does not say', FOREIGN_IDENTITY, cause);
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
