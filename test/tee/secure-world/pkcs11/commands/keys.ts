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
import { requireSecretSize, secretBytes } from '../mechanisms/secret-keys.ts';
import { mechanismOf } from '../mechanisms/served.ts';
import type { Mode } from '../mode.ts';
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
  ignoreParameter(call);
  const template = readAttributeList(call.args);
  call.args.end();
  session.requireIdle();
  const mechanism = mechanismOf(mechanismId);
  const [keyType] = mechanism?.keyTypes ?? [];
  if (mechanism?.generate === undefined || keyType === undefined) {
    throw new TaFailure(CKR.MECHANISM_INVALID);
  }
  if (template.some(({ id }) => id === CKA.VALUE)) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  const kind = { objectClass: CKO.SECRET_KEY, keyType };
  const key = generatedAttributes(template, {
    mode: call.shared.mode,
    mechanism: mechanismId,
    kind,
  });
  requireMayCreate(session, key);
  giveSecret(key, mechanism.generate(secretBytes(key)));
  call.answer(words(place(session, key)));
}

function generateKeyPair(call: Call): void {
  call.requireRoom(8);
  const session = call.session();
  const mechanismId = call.args.u32();
  ignoreParameter(call);
  const publicTemplate = readAttributeList(call.args);
  const privateTemplate = readAttributeList(call.args);
  call.args.end();
  session.requireIdle();
  const mechanism = mechanismOf(mechanismId);
  const [keyType] = mechanism?.keyTypes ?? [];
  if (mechanism?.generatePair === undefined || keyType === undefined) {
    throw new TaFailure(CKR.MECHANISM_INVALID);
  }
  const { mode } = call.shared;
  const make = (template: readonly Attribute[], objectClass: number): Attributes => {
    const hints = { objectClass, ...impliedType(mechanismId, keyType, mode) };
    const kind = { objectClass, keyType };
    return generatedAttributes(template, { mode, mechanism: mechanismId, kind, hints });
  };
  const publicKey = make(publicTemplate, CKO.PUBLIC_KEY);
  const privateKey = make(privateTemplate, CKO.PRIVATE_KEY);
  requireUnchosen(publicKey, CHOSEN_BY_TA.public);
  requireUnchosen(privateKey, CHOSEN_BY_TA.private);
  for (const key of [publicKey, privateKey]) requireMayCreate(session, key);
  mechanism.generatePair(publicKey, privateKey, mode);
  call.answer(words(...placePair(session, publicKey, privateKey)));
}

/** What a template for a new pair may not say, of those attributes that OP-TEE looks at. */
const CHOSEN_BY_TA = {
  public: [CKA.EC_POINT],
  private: [
    CKA.MODULUS,
    CKA.PUBLIC_EXPONENT,
    CKA.PRIVATE_EXPONENT,
    CKA.PRIME_1,
    CKA.PRIME_2,
    CKA.EXPONENT_1,
    CKA.EXPONENT_2,
    CKA.COEFFICIENT,
    CKA.EC_PARAMS,
    CKA.EC_POINT,
    CKA.VALUE,
  ],
} as const;

function requireUnchosen(key: Attributes, ids: readonly number[]): void {
  const isChosen = ids.some((id) => (key.get(id)?.byteLength ?? 0) > 0);
  if (isChosen) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
}

/** None of the mechanisms that make keys has a parameter, and OP-TEE does not look at one. */
function ignoreParameter(call: Call): void {
  call.args.counted();
}

/** OP-TEE takes Ed25519 keys for another type unless the templates say CKK_EC_EDWARDS. */
function impliedType(
  mechanism: number,
  keyType: number,
  mode: Mode,
): { readonly keyType?: number } {
  const isSilent = mode === 'strict' && mechanism === CKM.EC_EDWARDS_KEY_PAIR_GEN;
  return isSilent ? {} : { keyType };
}

/** OP-TEE does not tell a key that may not derive from one that cannot. */
const DERIVING: ReadonlyMap<number, number> = new Map([
  [CKR.KEY_FUNCTION_NOT_PERMITTED, CKR.KEY_TYPE_INCONSISTENT],
]);

function deriveKey(call: Call): void {
  call.requireRoom(4);
  const { mode } = call.shared;
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
  mechanism.checkParent?.(parent);
  const whole = withInner(template, parent.attributes, CKA.DERIVE_TEMPLATE);
  const key = descendantAttributes(whole, mode, parent.attributes);
  requireSecretTemplate(key);
  requireMayCreate(session, key);
  // OP-TEE looks for the length of an agreed secret, and says so when there is none.
  const isSilent = key.word(CKA.VALUE_LEN) === undefined;
  const isAgreed = parent.attributes.keyType === CKK.EC;
  if (mode === 'strict' && isAgreed && isSilent) throw new TaFailure(CKR.NOT_FOUND);
  const secret = mechanism.derive({ mode, parameter, key: parent });
  const isEncrypted = parent.attributes.objectClass === CKO.SECRET_KEY;
  const tooShort = isEncrypted ? CKR.DATA_LEN_RANGE : CKR.KEY_SIZE_RANGE;
  giveSecret(key, firstBytes(secret, key, tooShort));
  call.answer(words(place(session, key)));
}

/** What OP-TEE says when it has no way to give the key its value. */
function requireSecretTemplate(key: Attributes): void {
  if (key.objectClass !== CKO.SECRET_KEY) {
    throw new TaFailure(key.keyType === CKK.RSA ? CKR.ARGUMENTS_BAD : CKR.GENERAL_ERROR);
  }
  if (key.get(CKA.VALUE)?.byteLength !== 0) throw new TaFailure(CKR.GENERAL_ERROR);
}

/** The first bytes of the secret, as many as the template says; all of them when it does not say. */
function firstBytes(secret: Uint8Array, key: Attributes, tooShort: number): Uint8Array {
  const wanted = key.word(CKA.VALUE_LEN) ?? 0;
  const bytes = wanted === 0 ? secret.byteLength : wanted;
  if (bytes > secret.byteLength) throw new TaFailure(tooShort);
  requireSecretSize(key.keyType, bytes);
  return secret.subarray(0, bytes);
}
