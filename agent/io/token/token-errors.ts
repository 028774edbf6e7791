/** Cryptoki return values, translated once. PKCS#11 v2.40 §5.1. */
import { OtaError } from '../../errors.ts';

/** The return values that the agent tells apart (PKCS#11 v2.40, Appendix B). */
export const CKR = {
  GENERAL_ERROR: 0x05,
  FUNCTION_FAILED: 0x06,
  ARGUMENTS_BAD: 0x07,
  ATTRIBUTE_SENSITIVE: 0x11,
  ATTRIBUTE_TYPE_INVALID: 0x12,
  ATTRIBUTE_VALUE_INVALID: 0x13,
  DEVICE_ERROR: 0x30,
  DEVICE_MEMORY: 0x31,
  DEVICE_REMOVED: 0x32,
  KEY_SIZE_RANGE: 0x62,
  MECHANISM_INVALID: 0x70,
  MECHANISM_PARAM_INVALID: 0x71,
  OBJECT_HANDLE_INVALID: 0x82,
  PIN_INCORRECT: 0xa0,
  PIN_INVALID: 0xa1,
  PIN_LEN_RANGE: 0xa2,
  PIN_LOCKED: 0xa4,
  SESSION_CLOSED: 0xb0,
  SESSION_HANDLE_INVALID: 0xb3,
  TEMPLATE_INCONSISTENT: 0xd1,
  TOKEN_NOT_PRESENT: 0xe0,
  TOKEN_NOT_RECOGNIZED: 0xe1,
  USER_ALREADY_LOGGED_IN: 0x100,
  USER_NOT_LOGGED_IN: 0x101,
  USER_PIN_NOT_INITIALIZED: 0x102,
  DOMAIN_PARAMS_INVALID: 0x130,
  CURVE_NOT_SUPPORTED: 0x140,
} as const;

export type CkrName = keyof typeof CKR;

/** What was being done, and to which token. */
export interface Attempt {
  readonly operation: string;
  /** As configured; it holds no PIN. */
  readonly uri: string;
}

/** Whether `error` came from Cryptoki with one of these return values. */
export function isCkr(error: unknown, ...names: readonly CkrName[]): boolean {
  const code = ckrCode(error);
  return code !== undefined && names.some((name) => CKR[name] === code);
}

/** Session and login state that ended under us: libp11 or the token closed it. */
export function isSessionLost(error: unknown): boolean {
  return isCkr(error, 'SESSION_HANDLE_INVALID', 'SESSION_CLOSED', 'USER_NOT_LOGGED_IN');
}

/**
 * Turns a Cryptoki failure into an `OtaError` with the original as its cause.
 *
 * @returns errors that are not Cryptoki's as they are
 */
export function translated(error: unknown, { operation, uri }: Attempt): unknown {
  if (ckrCode(error) === undefined || !(error instanceof Error)) return error;
  const options = { cause: error };
  if (isCkr(error, 'PIN_LOCKED')) return locked(uri, options);
  if (isCkr(error, 'USER_PIN_NOT_INITIALIZED')) {
    const missing = `the user PIN of token ${uri}`;
    return new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION }, options);
  }
  if (isCkr(error, 'TOKEN_NOT_PRESENT', 'TOKEN_NOT_RECOGNIZED', 'DEVICE_REMOVED')) {
    const remedy = 'check that the token is connected and initialised';
    return new OtaError('TOKEN_ABSENT', { uri, found: error.message, remedy }, options);
  }
  if (isCkr(error, 'DEVICE_MEMORY')) {
    const problem = `${operation}: ${error.message}`;
    return new OtaError('TOKEN_FULL', { uri, problem, remedy: MORE_ROOM }, options);
  }
  const hint = isCkr(error, 'GENERAL_ERROR', 'DEVICE_ERROR')
    ? `${error.message}: ${NEW_PROCESS}`
    : '';
  return new OtaError('TOKEN_FAILED', { operation, cause: hint || error.message }, options);
}

/**
 * Initialising the library again would be no better: libp11 would go on with handles that by then mean
 * other objects, and sign with the wrong key.
 */
const NEW_PROCESS =
  'if it stays, restart the agent; a TEE that was restarted is found by a new process';

const MORE_ROOM =
  'remove objects that nobody needs (pkcs11-tool --list-objects), or give the token more memory';

/** The remedy for whatever provisioning makes. */
export const PROVISION = 'run "ota-agent provision"';

export function locked(uri: string, options?: ErrorOptions): OtaError<'TOKEN_LOCKED'> {
  const remedy =
    'the Security Officer sets a new user PIN: pkcs11-tool --login --login-type so --init-pin';
  return new OtaError('TOKEN_LOCKED', { uri, remedy }, options);
}

function ckrCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !error.message.startsWith('CKR_')) return undefined;
  if ('code' in error && typeof error.code === 'number') return error.code;
  // pkcs11js leaves some as its native half throws them: the number is in the text only.
  const digits = /^CKR_\w+:(\d+)$/u.exec(error.message)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
