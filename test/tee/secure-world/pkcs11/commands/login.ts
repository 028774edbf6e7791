/** Commands that own a token, set PINs and log in and out: PKCS#11 v2.40 §5.5 and §5.6. */
import { CKR, CKU, CMD, LABEL_BYTES } from '../abi.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { panicOr, TaFailure } from '../failure.ts';
import type { Mode } from '../mode.ts';
import type { UserType } from '../pins.ts';
import type { Session } from '../session.ts';

export const LOGIN_COMMANDS: readonly Command[] = [
  { id: CMD.INIT_TOKEN, shapes: [SHAPE.PLAIN], run: initToken },
  { id: CMD.INIT_PIN, shapes: [SHAPE.PLAIN], run: initPin },
  { id: CMD.SET_PIN, shapes: [SHAPE.PLAIN], run: setPin },
  { id: CMD.LOGIN, shapes: [SHAPE.PLAIN], run: login },
  { id: CMD.LOGOUT, shapes: [SHAPE.PLAIN], run: logout },
];

function initToken(call: Call): void {
  const token = call.token();
  const pinBytes = call.args.u32();
  const label = call.args.bytes(LABEL_BYTES);
  const pin = call.args.bytes(pinBytes);
  call.args.end();
  token.requireUnlocked(CKU.SO);
  const clients = [...call.shared.clients.values()];
  const isInUse = clients.some((client) => client.sessionsWith(token).length > 0);
  if (isInUse) throw new TaFailure(CKR.SESSION_EXISTS);
  token.initialize(label, pin, call.client.identity);
}

function initPin(call: Call): void {
  const session = call.session();
  const pin = call.args.counted();
  call.args.end();
  if (session.user !== CKU.SO) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
  session.token.setPin(CKU.USER, pin, call.client.identity);
}

function setPin(call: Call): void {
  const session = call.session();
  const oldBytes = call.args.u32();
  const newBytes = call.args.u32();
  const oldPin = call.args.bytes(oldBytes);
  const newPin = call.args.bytes(newBytes);
  call.args.end();
  if (!session.isReadWrite) throw new TaFailure(CKR.SESSION_READ_ONLY);
  const user = session.user === CKU.SO ? CKU.SO : CKU.USER;
  // OP-TEE has a name for this when somebody logs in, but not here.
  if (user === CKU.USER && !session.token.hasUserPin) throw new TaFailure(CKR.GENERAL_ERROR);
  session.token.verify(user, oldPin, call.client.identity);
  session.token.setPin(user, newPin, call.client.identity);
}

function login(call: Call): void {
  const session = call.session();
  const user = call.args.u32();
  const pin = call.args.counted();
  call.args.end();
  switch (user) {
    case CKU.SO:
    case CKU.USER:
      requireMayLogin(session, user);
      requireOwner(session, call.shared.mode);
      session.token.verify(user, pin, call.client.identity);
      call.client.login(session.token, user);
      return;
    case CKU.CONTEXT_SPECIFIC:
      loginForOne(session, pin, call);
      return;
    default:
      throw new TaFailure(CKR.USER_TYPE_INVALID);
  }
}

/**
 * PKCS#11 v2.40 §4.9: a key with CKA_ALWAYS_AUTHENTICATE wants the PIN again for each use. OP-TEE does
 * not know this login, so such a key can never be used there.
 */
function loginForOne(session: Session, pin: Uint8Array, call: Call): void {
  const { operation, token } = session;
  if (call.shared.mode === 'strict' || operation?.needsLogin !== true) {
    throw new TaFailure(CKR.OPERATION_NOT_INITIALIZED);
  }
  token.verify(CKU.USER, pin, call.client.identity);
  operation.needsLogin = false;
}

function logout(call: Call): void {
  const session = call.session();
  call.args.end();
  if (session.user === undefined) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
  call.client.logout(session.token);
}

function requireMayLogin(session: Session, user: UserType): void {
  const { client, token } = session;
  const current = session.user;
  if (current === user) throw new TaFailure(CKR.USER_ALREADY_LOGGED_IN);
  if (current !== undefined) throw new TaFailure(CKR.USER_ANOTHER_ALREADY_LOGGED_IN);
  if (user === CKU.USER && !token.hasUserPin) throw new TaFailure(CKR.USER_PIN_NOT_INITIALIZED);
  const isReadOnlyToo = client.sessionsWith(token).some(({ isReadWrite }) => !isReadWrite);
  if (user === CKU.SO && isReadOnlyToo) throw new TaFailure(CKR.SESSION_READ_ONLY_EXISTS);
}

/** Without an owner there is no PIN to guess, and none to lock; OP-TEE does not survive the guess. */
function requireOwner({ token }: Session, mode: Mode): void {
  if (!token.isInitialized) panicOr(mode, CKR.PIN_INCORRECT, 'a login to a token without an owner');
}
