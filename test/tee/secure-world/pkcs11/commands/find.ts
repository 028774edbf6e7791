/** Searches: PKCS#11 v2.40 §5.7. */
import { CKR, CMD } from '../abi.ts';
import { words } from '../args.ts';
import { readAttributeList } from '../attributes.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { TaFailure } from '../failure.ts';
import { matches } from '../object.ts';
import type { Session } from '../session.ts';
import { sanitize } from '../template.ts';

export const FIND_COMMANDS: readonly Command[] = [
  { id: CMD.FIND_OBJECTS_INIT, shapes: [SHAPE.PLAIN], run: findObjectsInit },
  { id: CMD.FIND_OBJECTS, shapes: [SHAPE.OUT], run: findObjects },
  { id: CMD.FIND_OBJECTS_FINAL, shapes: [SHAPE.PLAIN], run: findObjectsFinal },
];

/** The client's session objects first, whatever their token, then this token's; newest first. */
function findObjectsInit(call: Call): void {
  const session = call.session();
  const template = readAttributeList(call.args);
  call.args.end();
  session.requireIdle();
  if (session.found !== undefined) throw new TaFailure(CKR.FUNCTION_FAILED);
  const wanted = sanitize(template, call.shared.mode);
  const inSessions = call.client.sessions().flatMap(({ objects }) => objects);
  session.found = [...inSessions, ...session.token.objects()]
    .filter((object) => session.mayAccess(object) && matches(object.attributes, wanted))
    .map((object) => call.client.publish(object));
}

function findObjects(call: Call): void {
  const session = call.session();
  call.args.end();
  const found = requireSearch(session);
  call.answer(words(...found.splice(0, Math.floor(call.roomBytes / 4))));
}

function findObjectsFinal(call: Call): void {
  const session = call.session();
  call.args.end();
  requireSearch(session);
  session.found = undefined;
}

function requireSearch(session: Session): number[] {
  if (session.found === undefined) throw new TaFailure(CKR.OPERATION_NOT_INITIALIZED);
  return session.found;
}
