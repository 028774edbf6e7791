/** Commands that make keys: PKCS#11 v2.40 §5.14. */
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../abi.ts';
import { words } from '../args.ts';
import { readAttributeList, type Attribute, type Attributes } from '../attributes.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { displace, generatedAttributes, place, requireMayCreate } from '../create.ts';
import { TaFailure } from '../failure.ts';
import { mechanismOf } from '../mechanisms/served.ts';
import type { Session } from '../session.ts';

export const KEY_COMMANDS: readonly Command[] = [
  { id: CMD.GENERATE_KEY_PAIR, shapes: [SHAPE.OUT], run: generateKeyPair },
];

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
  return mechanism === CKM.EC_EDWARDS_KEY_PAIR_GEN && keyType === CKK.EC_EDWARDS ? {} : { keyType };
}

/** Both or neither: half a pair is of no use to anyone. */
function placePair(
  session: Session,
  publicKey: Attributes,
  privateKey: Attributes,
): readonly [number, number] {
  const publicHandle = place(session, publicKey);
  try {
    return [publicHandle, place(session, privateKey)];
  } catch (failure) {
    const object = session.object(publicHandle);
    if (object !== undefined) displace(session, object);
    throw failure;
  }
}
