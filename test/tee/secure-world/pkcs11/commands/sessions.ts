/** Commands that open, describe and close sessions: PKCS#11 v2.40 §5.6. */
import { CKF_SESSION, CKR, CKU, CMD, SESSION_INFO_BYTES } from '../abi.ts';
import { words } from '../args.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { TaFailure } from '../failure.ts';

export const SESSION_COMMANDS: readonly Command[] = [
  { id: CMD.OPEN_SESSION, shapes: [SHAPE.OUT], run: openSession },
  { id: CMD.CLOSE_SESSION, shapes: [SHAPE.PLAIN], run: closeSession },
  { id: CMD.CLOSE_ALL_SESSIONS, shapes: [SHAPE.PLAIN], run: closeAllSessions },
  { id: CMD.SESSION_INFO, shapes: [SHAPE.OUT], run: sessionInfo },
];

function openSession(call: Call): void {
  call.requireRoom(4);
  const token = call.token();
  const flags = call.args.u32();
  call.args.end();
  if ((flags & CKF_SESSION.SERIAL) === 0) throw new TaFailure(CKR.SESSION_PARALLEL_NOT_SUPPORTED);
  if ((flags & ~(CKF_SESSION.SERIAL | CKF_SESSION.RW)) !== 0)
    throw new TaFailure(CKR.ARGUMENTS_BAD);
  const isReadWrite = (flags & CKF_SESSION.RW) !== 0;
  // On any token: OP-TEE looks at all sessions of the client, PKCS#11 only at this token's.
  const isSoSomewhere = call.client.sessions().some(({ user }) => user === CKU.SO);
  if (!isReadWrite && isSoSomewhere) throw new TaFailure(CKR.SESSION_READ_WRITE_SO_EXISTS);
  call.answer(words(call.client.openSession(token, isReadWrite)));
}

function closeSession(call: Call): void {
  const session = call.session();
  call.args.end();
  call.client.closeSession(session);
}

function closeAllSessions(call: Call): void {
  const token = call.token();
  call.args.end();
  for (const session of call.client.sessionsWith(token)) call.client.closeSession(session);
}

function sessionInfo(call: Call): void {
  call.requireRoom(SESSION_INFO_BYTES);
  const { token, state, isReadWrite } = call.session();
  call.args.end();
  const flags = CKF_SESSION.SERIAL | (isReadWrite ? CKF_SESSION.RW : 0);
  const deviceError = 0;
  call.answer(words(token.slot, state, flags, deviceError));
}
