/** Making a blank token ours: label, Security Officer PIN, user PIN. Never touches one in use. */
import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import { findBlankToken, findToken, hasToken } from './find-token.ts';
import { logIn, pinOwner } from './login.ts';
import { openModule } from './module.ts';
import { readPin, type Pin, type PinKind } from './pin.ts';
import { parseTokenUri } from './pkcs11-uri.ts';
import { forgetRefusals } from './refused-pins.ts';
import { isTeeIdentity, TEE_IDENTITY } from './tee-identity.ts';
import { isCkr, translated } from './token-errors.ts';
import type { TokenSettings } from './token.ts';

const { SessionFlag, TokenFlag } = graphene;
/** CK_TOKEN_INFO.label: 32 bytes, padded with blanks, no terminator (PKCS#11 v2.40 §3.2). */
const LABEL_BYTES = 32;

export type Step = 'done now' | 'found done';

/**
 * Initialises the first blank token that `token.uri` allows, under the label that it names.
 *
 * @throws OtaError TOKEN_ABSENT if no token has that label and none is blank
 * @throws OtaError TOKEN_PIN_MISSING without an SO PIN; CONFIG_INVALID without a usable label
 */
export function initialiseToken(settings: TokenSettings, env: NodeJS.ProcessEnv): Step {
  const module = openModule(settings);
  const uri = parseTokenUri(settings.uri);
  if (hasToken(module, uri)) return 'found done';
  // Without a blank one, findToken refuses with what is there.
  const blank = findBlankToken(module, uri) ?? findToken(module, uri, settings.uri);
  const label = paddedLabel(uri.token);
  const pin = secretOf('so', settings, env);
  attempt('C_InitToken', settings.uri, () => {
    // graphene's own initToken fails after the call: it wants a label back, and there is none.
    blank.slot.lib.C_InitToken(blank.slot.handle, pin.reveal(), label);
  });
  return 'done now';
}

/**
 * Gives the token its user PIN if it has none: power may have failed right after initialisation.
 *
 * @throws OtaError TOKEN_PIN_MISSING, TOKEN_PIN_INCORRECT for the SO PIN
 */
export function initialiseUserPin(settings: TokenSettings, env: NodeJS.ProcessEnv): Step {
  if (settings.login === 'none') return 'found done';
  const module = openModule(settings);
  const { slot, info } = findToken(module, parseTokenUri(settings.uri), settings.uri);
  const user = secretOf('user', settings, env);
  const saysSo = (info.flags & TokenFlag.USER_PIN_INITIALIZED) !== 0;
  if (saysSo && isUserPinSet(slot, user, settings)) return 'found done';
  const officer = secretOf('so', settings, env);
  attempt('C_InitPIN', settings.uri, () => {
    setUserPin(slot, officer, user, settings.uri);
  });
  return 'done now';
}

function setUserPin(slot: graphene.Slot, officer: Pin, user: Pin, uri: string): void {
  const session = slot.open(SessionFlag.SERIAL_SESSION | SessionFlag.RW_SESSION);
  try {
    logIn(session, officer, uri, 'so');
    session.initPin(user.reveal());
    forgetRefusals(pinOwner(slot, 'user'));
    session.logout();
  } finally {
    session.close();
  }
}

/**
 * Whether there is a user PIN: tpm2-pkcs11 says so of every token, and only a login tells.
 *
 * The login is that of the next step anyway, so a wrong PIN costs no try more.
 */
function isUserPinSet(slot: graphene.Slot, user: Pin, settings: TokenSettings): boolean {
  const session = slot.open();
  try {
    logIn(session, user, settings.uri);
    return true;
  } catch (error) {
    if (isCkr(error, 'USER_PIN_NOT_INITIALIZED')) return false;
    throw translated(error, { operation: 'log in', uri: settings.uri });
  } finally {
    session.close();
  }
}

function secretOf(kind: PinKind, settings: TokenSettings, env: NodeJS.ProcessEnv): Pin {
  return isTeeIdentity(settings) ? TEE_IDENTITY : readPin(kind, settings, env);
}

function paddedLabel(label: string | undefined): string {
  const lengthBytes = Buffer.byteLength(label ?? '');
  if (label === undefined || lengthBytes === 0 || lengthBytes > LABEL_BYTES) {
    throw new OtaError('CONFIG_INVALID', {
      file: 'settings',
      line: 0,
      key: 'token.uri',
      problem: 'a blank token needs a label of 1 to 32 bytes',
      remedy: 'write it as pkcs11:token=LABEL',
    });
  }
  return label + ' '.repeat(LABEL_BYTES - lengthBytes);
}

function attempt(operation: string, uri: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    throw translated(error, { operation, uri });
  }
}
