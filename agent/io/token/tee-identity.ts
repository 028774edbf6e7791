/** Login without a PIN: OP-TEE knows the user or the group of the process, as Linux tells it. */
import { Pin } from './pin.ts';

export interface TeeLogin {
  readonly login: 'pin' | 'tee-user' | 'tee-group' | 'none';
  /** Group for `tee-group`; the process's own if absent. */
  readonly tee_group?: number | undefined;
}

/** No PIN at all: initialising a token with it makes the caller's identity its key. */
export const TEE_IDENTITY = new Pin(() => Buffer.alloc(0));

export function isTeeIdentity({ login }: TeeLogin): boolean {
  return login === 'tee-user' || login === 'tee-group';
}

/**
 * Tells libckteec which identity to show, before C_Initialize: it is one for the whole process.
 *
 * Source: libckteec, `CKTEEC_LOGIN_TYPE` and `CKTEEC_LOGIN_GID`.
 */
export function announceTeeIdentity({ login, tee_group: group }: TeeLogin): void {
  if (login === 'tee-user') process.env['CKTEEC_LOGIN_TYPE'] = 'user';
  if (login !== 'tee-group') return;
  process.env['CKTEEC_LOGIN_TYPE'] = 'group';
  process.env['CKTEEC_LOGIN_GID'] = String(group ?? process.getegid?.() ?? 0);
}
