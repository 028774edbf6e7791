/** Commands on objects: PKCS#11 v2.40 §5.7. */
import { CKA, INDIRECT } from '../abi-attributes.ts';
import { CKR, CKU, CMD, UNAVAILABLE } from '../abi.ts';
import { words } from '../args.ts';
import { Attributes, readAttributeList, type Attribute } from '../attributes.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { checkCheckValue } from '../check-value.ts';
import { importedAttributes, requireMayCreate } from '../create.ts';
import { TaFailure } from '../failure.ts';
import { requireModifiable } from '../modify.ts';
import { isReadable, type P11Object } from '../object.ts';
import { displace, place } from '../place.ts';
import type { Session } from '../session.ts';
import { sanitize } from '../template.ts';

/** Size and count before a list. */
const LIST_HEAD_BYTES = 8;

export const OBJECT_COMMANDS: readonly Command[] = [
  { id: CMD.CREATE_OBJECT, shapes: [SHAPE.OUT], run: createObject },
  { id: CMD.DESTROY_OBJECT, shapes: [SHAPE.PLAIN], run: destroyObject },
  { id: CMD.COPY_OBJECT, shapes: [SHAPE.OUT], run: copyObject },
  { id: CMD.GET_OBJECT_SIZE, shapes: [SHAPE.OUT], run: getObjectSize },
  { id: CMD.GET_ATTRIBUTE_VALUE, shapes: [SHAPE.OUT], run: getAttributeValue },
  { id: CMD.SET_ATTRIBUTE_VALUE, shapes: [SHAPE.PLAIN], run: setAttributeValue },
];

function createObject(call: Call): void {
  call.requireRoom(4);
  const session = call.session();
  const template = readAttributeList(call.args);
  call.args.end();
  const attributes = importedAttributes(template, call.shared.mode);
  requireMayCreate(session, attributes);
  call.answer(words(place(session, attributes)));
}

function destroyObject(call: Call): void {
  const session = call.session();
  const handle = call.args.u32();
  call.args.end();
  const object = requireObject(session, handle);
  requireMayWrite(session, object);
  requireAllowed(object, CKA.DESTROYABLE);
  displace(session, object);
}

function copyObject(call: Call): void {
  call.requireRoom(4);
  const session = call.session();
  const handle = call.args.u32();
  const template = readAttributeList(call.args);
  call.args.end();
  const object = requireObject(session, handle);
  if (!session.mayAccess(object)) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
  requireAllowed(object, CKA.COPYABLE);
  const changes = sanitize(template, call.shared.mode);
  requireModifiable(object.attributes, changes, 'copy', session.user === CKU.SO);
  const attributes = changed(object, changes);
  requireMayCreate(session, attributes);
  call.answer(words(place(session, attributes)));
}

function getObjectSize(call: Call): void {
  call.requireRoom(4);
  const session = call.session();
  const handle = call.args.u32();
  call.args.end();
  const { attributes } = requireVisible(session, handle);
  call.answer(words(LIST_HEAD_BYTES + attributes.sizeBytes));
}

function setAttributeValue(call: Call): void {
  const session = call.session();
  const handle = call.args.u32();
  const template = readAttributeList(call.args);
  call.args.end();
  const object = requireObject(session, handle);
  requireMayWrite(session, object);
  requireAllowed(object, CKA.MODIFIABLE);
  const changes = sanitize(template, call.shared.mode);
  requireModifiable(object.attributes, changes, 'set', session.user === CKU.SO);
  const attributes = changed(object, changes);
  if (object.home === undefined) session.client.updateSessionObject(object, attributes);
  else session.token.update(object, object.home, attributes);
}

function changed(object: P11Object, changes: Attributes): Attributes {
  const attributes = new Attributes([...object.attributes, ...changes]);
  if (changes.has(CKA.CHECK_VALUE)) checkCheckValue(attributes);
  return attributes;
}

/**
 * Fills a template in place: each entry keeps its room, and its length becomes that of the value or
 * says that there is none.
 */
function getAttributeValue(call: Call): void {
  const session = call.session();
  const handle = call.args.u32();
  const template = readAttributeList(call.args);
  call.args.end();
  const { attributes } = requireVisible(session, handle);
  const entries = template.map((entry) => readEntry(attributes, entry));
  const bytes = Buffer.concat(entries.map(({ id, size, room }) => [words(id, size), room]).flat());
  call.requireRoom(LIST_HEAD_BYTES + bytes.byteLength);
  call.answer(Buffer.concat([words(bytes.byteLength, template.length), bytes]));
  // The last of these that applies: PKCS#11 v2.40 §5.7 leaves the choice open, OP-TEE chose so.
  const rvs = [CKR.ATTRIBUTE_SENSITIVE, CKR.ATTRIBUTE_TYPE_INVALID, CKR.BUFFER_TOO_SMALL];
  const rv = rvs.findLast((candidate) => entries.some((entry) => entry.rv === candidate));
  if (rv !== undefined) throw new TaFailure(rv);
}

interface Entry {
  readonly id: number;
  readonly size: number;
  readonly room: Uint8Array;
  readonly rv: number;
}

function readEntry(attributes: Attributes, { id, value: room }: Attribute): Entry {
  // OP-TEE leaves the length of such an entry as it was, unlike every other it cannot give.
  if (INDIRECT.has(id)) {
    return { id, size: room.byteLength, room, rv: CKR.ATTRIBUTE_TYPE_INVALID };
  }
  const missing = { id, size: UNAVAILABLE, room };
  const value = id === CKA.HIDDEN_EC_POINT ? undefined : attributes.get(id);
  if (!isReadable(attributes, id)) return { ...missing, rv: CKR.ATTRIBUTE_SENSITIVE };
  if (value === undefined) return { ...missing, rv: CKR.ATTRIBUTE_TYPE_INVALID };
  const isQuery = room.byteLength === 0;
  if (isQuery) return { id, size: value.byteLength, room, rv: CKR.OK };
  if (value.byteLength > room.byteLength) return { ...missing, rv: CKR.BUFFER_TOO_SMALL };
  const filled = Uint8Array.from(room);
  filled.set(value);
  return { id, size: value.byteLength, room: filled, rv: CKR.OK };
}

function requireObject(session: Session, handle: number): P11Object {
  const object = session.object(handle);
  if (object === undefined) throw new TaFailure(CKR.OBJECT_HANDLE_INVALID);
  return object;
}

/** A private object that the caller may not see looks as if it were not there. */
function requireVisible(session: Session, handle: number): P11Object {
  const object = requireObject(session, handle);
  if (!session.mayAccess(object)) throw new TaFailure(CKR.OBJECT_HANDLE_INVALID);
  return object;
}

function requireMayWrite(session: Session, object: P11Object): void {
  if (object.home !== undefined && !session.isReadWrite) throw new TaFailure(CKR.SESSION_READ_ONLY);
  if (!session.mayAccess(object)) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
}

function requireAllowed(object: P11Object, permission: number): void {
  if (!object.attributes.boolean(permission)) throw new TaFailure(CKR.ACTION_PROHIBITED);
}
