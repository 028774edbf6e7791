/** Commands that make keys, out of nothing or out of another: PKCS#11 v2.40 §5.14. */
import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../abi.ts';
import { words } from '../args.ts';
import { readAttributeList, type Attribute, type Attributes } from '../attributes.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import {
  descendantAttributes,
  generatedAttributes,
  giveSecret,
  requireMayCreate,
} from '../create.ts';
import { renaming, TaFailure } from '../failure.ts';
import { secretBytes } from '../mechanisms/secret-keys.ts';
import { mechanismOf } from '../mechanisms/served.ts';
import { place, placePair } from '../place.ts';
import { withInner } from '../template.ts';
import { requireUse } from '../use.ts';

export const KEY_COMMANDS: readonly Command[] = [
  { id: CMD.GENERATE_KEY, shapes: [SHAPE.OUT], run: generateKey },
  { id: CMD.GENERATE_KEY_PAIR, shapes: [SHAPE.OUT], run: generateKeyPair },
  { id: CMD.DERIVE_KEY, shapes: [SHAPE.OUT], run: deriveKey },
];

function generateKey(call: Call): void {
  call.requireRoom(4);
  const session = call.session();
  const mechanismId = call.args.u32();
  const parameter = call.args.counted();
  const template = readAttributeList(call.args);
  call.args.end();
  session.requireIdle();
  const mechanism = mechanismOf(mechanismId);
  const [keyType] = mechanism?.keyTypes ?? [];
  if (mechanism?.generate === undefined || keyType === undefined) {
    throw new TaFailure(CKR.MECHANISM_INVALID);
  }
  if (parameter.byteLength !== 0) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
  if (template.some(({ id }) => id === CKA.VALUE)) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  const kind = { objectClass: CKO.SECRET_KEY, keyType };
  const key = generatedAttributes(template, mechanismId, kind);
  requireMayCreate(session, key);
  giveSecret(key, mechanism.generate(secretBytes(key)));
  call.answer(words(place(session, key)));
}

function generateKeyPair(call: Call): void {
  call.requireRoom(8);
  const session = call.session();
  const mechanismId = call.args.u32();
  const parameter = call.args.counted();
  const publicTemplate = readAttributeList(call.args);
  const privateTemplate = readAttributeList(call.args);
  call.args.end();
  session.requireIdle();
  const mechanism = mechanismOf(mechanismId);
  const [keyType] = mechanism?.keyTypes ?? [];
  if (mechanism?.generatePair === undefined || keyType === undefined) {
    throw new TaFailure(CKR.MECHANISM_INVALID);
  }
  if (parameter.byteLength !== 0) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
  const make = (template: readonly Attribute[], objectClass: number): Attributes => {
    const hints = { objectClass, ...impliedType(mechanismId, keyType) };
    return generatedAttributes(template, mechanismId, { objectClass, keyType }, hints);
  };
  const publicKey = make(publicTemplate, CKO.PUBLIC_KEY);
  const privateKey = make(privateTemplate, CKO.PRIVATE_KEY);
  for (const key of [publicKey, privateKey]) requireMayCreate(session, key);
  mechanism.generatePair(publicKey, privateKey);
  call.answer(words(...placePair(session, publicKey, privateKey)));
}

/** OP-TEE takes Ed25519 keys for another type unless the templates say CKK_EC_EDWARDS. */
function impliedType(mechanism: number, keyType: number): { readonly keyType?: number } {
  return mechanism === CKM.EC_EDWARDS_KEY_PAIR_GEN ? {} : { keyType };
}

/** OP-TEE does not tell a key that may not derive from one that cannot. */
const DERIVING: ReadonlyMap<number, number> = new Map([
  [CKR.KEY_FUNCTION_NOT_PERMITTED, CKR.KEY_TYPE_INCONSISTENT],
]);

function deriveKey(call: Call): void {
  call.requireRoom(4);
  const session = call.session();
  const parentHandle = call.args.u32();
  const mechanismId = call.args.u32();
  const parameter = call.args.counted();
  const template = readAttributeList(call.args);
  call.args.end();
  session.requireIdle();
  const parent = session.object(parentHandle);
  if (parent === undefined) throw new TaFailure(CKR.KEY_HANDLE_INVALID);
  const mechanism = mechanismOf(mechanismId);
  if (mechanism?.derive === undefined) throw new TaFailure(CKR.MECHANISM_INVALID);
  if (!session.mayAccess(parent)) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
  renaming(DERIVING, () => {
    requireUse(parent, mechanism, 'derive');
  });
  const whole = withInner(template, parent.attributes, CKA.DERIVE_TEMPLATE);
  const key = descendantAttributes(whole, parent.attributes);
  if (key.objectClass !== CKO.SECRET_KEY) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  requireMayCreate(session, key);
  const secret = mechanism.derive({ parameter, key: parent });
  const isEncrypted = parent.attributes.objectClass === CKO.SECRET_KEY;
  const tooShort = isEncrypted ? CKR.DATA_LEN_RANGE : CKR.KEY_SIZE_RANGE;
  giveSecret(key, firstBytes(secret, key, tooShort));
  call.answer(words(place(session, key)));
}

/** The first bytes of the secret, as many as the template says; all of them when it may not say. */
function firstBytes(secret: Uint8Array, key: Attributes, tooShort: number): Uint8Array {
  const isSilent = key.get(CKA.VALUE_LEN)?.byteLength === 0;
  if (isSilent && key.keyType !== CKK.AES) return secret;
  const bytes = secretBytes(key);
  if (bytes > secret.byteLength) throw new TaFailure(tooShort);
  return secret.subarray(0, bytes);
}
