/** Keys that leave and come back under another key: PKCS#11 v2.40 §5.14. */
import { CKA } from '../abi-attributes.ts';
import { CKK, CKO, CKR, CMD } from '../abi.ts';
import { ArgReader, words } from '../args.ts';
import { Attributes, readAttributeList } from '../attributes.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { descendantAttributes, giveSecret, requireMayCreate } from '../create.ts';
import { renaming, TaFailure } from '../failure.ts';
import { privateKeyOf, required } from '../keys.ts';
import { requireSecretSize } from '../mechanisms/secret-keys.ts';
import { mechanismOf } from '../mechanisms/served.ts';
import { matches, type P11Object } from '../object.ts';
import { place } from '../place.ts';
import type { Mechanism } from '../processing.ts';
import { giveRsaNumbers } from '../rsa-key.ts';
import type { Session } from '../session.ts';
import { withInner } from '../template.ts';
import { requireUse } from '../use.ts';

export const WRAP_COMMANDS: readonly Command[] = [
  { id: CMD.WRAP_KEY, shapes: [SHAPE.OUT], run: wrapKey },
  { id: CMD.UNWRAP_KEY, shapes: [SHAPE.IN_OUT], run: unwrapKey },
];

/** What is wrong with a key is said of the wrapping key, and what is wrong with data of the key. */
const WRAPPING: ReadonlyMap<number, number> = new Map([
  [CKR.KEY_FUNCTION_NOT_PERMITTED, CKR.WRAPPING_KEY_TYPE_INCONSISTENT],
]);
const UNWRAPPING: ReadonlyMap<number, number> = new Map([
  [CKR.KEY_FUNCTION_NOT_PERMITTED, CKR.UNWRAPPING_KEY_TYPE_INCONSISTENT],
  [CKR.ENCRYPTED_DATA_INVALID, CKR.WRAPPED_KEY_INVALID],
  [CKR.SIGNATURE_INVALID, CKR.WRAPPED_KEY_INVALID],
  [CKR.ENCRYPTED_DATA_LEN_RANGE, CKR.WRAPPED_KEY_LEN_RANGE],
]);

function wrapKey(call: Call): void {
  const { mode } = call.shared;
  const session = call.session();
  const wrappingHandle = call.args.u32();
  const keyHandle = call.args.u32();
  const mechanismId = call.args.u32();
  const parameter = call.args.counted();
  call.args.end();
  session.requireIdle();
  const wrapping = session.object(wrappingHandle);
  if (wrapping === undefined) throw new TaFailure(CKR.WRAPPING_KEY_HANDLE_INVALID);
  const key = session.object(keyHandle);
  if (key === undefined) throw new TaFailure(CKR.KEY_HANDLE_INVALID);
  // Under itself a key would be as good as gone.
  if (key === wrapping) throw new TaFailure(CKR.WRAPPING_KEY_HANDLE_INVALID);
  const mechanism = requireMechanism(mechanismOf(mechanismId), 'wrap');
  renaming(WRAPPING, () => {
    requireAccess(session, wrapping);
    requireUse(wrapping, mechanism, 'wrap');
  });
  requireAccess(session, key);
  requireWrappable(key, wrapping);
  const wrapped = renaming(WRAPPING, () =>
    mechanism.wrap?.({ mode, parameter, key: wrapping }, wrappableBytes(key)),
  );
  call.answer(wrapped ?? new Uint8Array());
}

function unwrapKey(call: Call): void {
  call.requireRoom(4);
  const { mode } = call.shared;
  const session = call.session();
  const unwrappingHandle = call.args.u32();
  const mechanismId = call.args.u32();
  const parameter = call.args.counted();
  const template = readAttributeList(call.args);
  call.args.end();
  session.requireIdle();
  const unwrapping = session.object(unwrappingHandle);
  if (unwrapping === undefined) throw new TaFailure(CKR.UNWRAPPING_KEY_HANDLE_INVALID);
  const mechanism = requireMechanism(mechanismOf(mechanismId), 'unwrap');
  renaming(UNWRAPPING, () => {
    requireAccess(session, unwrapping);
    requireUse(unwrapping, mechanism, 'unwrap');
  });
  const whole = withInner(template, unwrapping.attributes, CKA.UNWRAP_TEMPLATE);
  // Whoever unwraps it has seen it wrapped: such a key may leave again unless the template forbids it.
  const isSilent = !whole.some(({ id }) => id === CKA.EXTRACTABLE);
  const extractable = { id: CKA.EXTRACTABLE, value: Uint8Array.of(1) };
  const key = descendantAttributes(isSilent ? [...whole, extractable] : whole, mode);
  requireMayCreate(session, key);
  const bytes = renaming(UNWRAPPING, () =>
    mechanism.unwrap?.({ mode, parameter, key: unwrapping }, call.input),
  );
  fill(key, bytes ?? new Uint8Array());
  call.answer(words(place(session, key)));
}

function requireMechanism(mechanism: Mechanism | undefined, use: 'wrap' | 'unwrap'): Mechanism {
  if (mechanism?.[use] === undefined) throw new TaFailure(CKR.MECHANISM_INVALID);
  return mechanism;
}

function requireAccess(session: Session, key: P11Object): void {
  if (!session.mayAccess(key)) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
}

function requireWrappable({ attributes }: P11Object, wrapping: P11Object): void {
  const isSecret =
    attributes.objectClass === CKO.SECRET_KEY || attributes.objectClass === CKO.PRIVATE_KEY;
  if (!isSecret) throw new TaFailure(CKR.KEY_NOT_WRAPPABLE);
  if (!attributes.boolean(CKA.EXTRACTABLE)) throw new TaFailure(CKR.KEY_UNEXTRACTABLE);
  const needsTrust = attributes.boolean(CKA.WRAP_WITH_TRUSTED);
  if (needsTrust && !wrapping.attributes.boolean(CKA.TRUSTED)) {
    throw new TaFailure(CKR.KEY_NOT_WRAPPABLE);
  }
  const template = wrapping.attributes.get(CKA.WRAP_TEMPLATE);
  if (template === undefined || template.byteLength === 0) return;
  const wanted = new Attributes(readAttributeList(new ArgReader(template)));
  if (!matches(attributes, wanted)) throw new TaFailure(CKR.KEY_HANDLE_INVALID);
}

/** Secret keys and RSA private keys; OP-TEE wraps no others. */
function wrappableBytes(key: P11Object): Uint8Array {
  const { objectClass, keyType } = key.attributes;
  if (objectClass === CKO.SECRET_KEY) return required(key.attributes, CKA.VALUE);
  const isRsa = objectClass === CKO.PRIVATE_KEY && keyType === CKK.RSA;
  if (!isRsa) throw new TaFailure(CKR.GENERAL_ERROR);
  return privateKeyOf(key).export({ type: 'pkcs1', format: 'der' });
}

function fill(key: Attributes, bytes: Uint8Array): void {
  if (key.objectClass === CKO.PRIVATE_KEY) {
    if (key.keyType !== CKK.RSA) throw new TaFailure(CKR.GENERAL_ERROR);
    giveRsaNumbers(key, bytes);
    return;
  }
  const isEmpty = bytes.byteLength === 0 || key.get(CKA.VALUE)?.byteLength !== 0;
  if (isEmpty) throw new TaFailure(CKR.GENERAL_ERROR);
  const wanted = key.word(CKA.VALUE_LEN) ?? 0;
  const length = wanted === 0 ? bytes.byteLength : wanted;
  if (length > bytes.byteLength) throw new TaFailure(CKR.DATA_LEN_RANGE);
  requireSecretSize(key.keyType, length);
  giveSecret(key, bytes.subarray(0, length));
}
