/** Signing and verifying, in one step or several: PKCS#11 v2.40 §5.11 and §5.12. */
import { CKA } from '../abi-attributes.ts';
import { CKO, CKR, CMD } from '../abi.ts';
import { ArgReader } from '../args.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { TaFailure } from '../failure.ts';
import { mechanismOf } from '../mechanisms/served.ts';
import type { P11Object } from '../object.ts';
import type { Doing, Mechanism } from '../processing.ts';
import { requireActive, step } from '../steps.ts';

export const PROCESSING_COMMANDS: readonly Command[] = [
  { id: CMD.SIGN_INIT, shapes: [SHAPE.PLAIN], run: starter('sign') },
  { id: CMD.SIGN_UPDATE, shapes: [SHAPE.IN], run: updater('sign') },
  { id: CMD.SIGN_FINAL, shapes: [SHAPE.OUT], run: sign('final') },
  { id: CMD.SIGN_ONESHOT, shapes: [SHAPE.IN_OUT, SHAPE.OUT], run: sign('one-shot') },
  { id: CMD.VERIFY_INIT, shapes: [SHAPE.PLAIN], run: starter('verify') },
  { id: CMD.VERIFY_UPDATE, shapes: [SHAPE.IN], run: updater('verify') },
  { id: CMD.VERIFY_FINAL, shapes: [SHAPE.SIGNATURE], run: verify('final') },
  {
    id: CMD.VERIFY_ONESHOT,
    shapes: [SHAPE.IN_SIGNATURE, SHAPE.SIGNATURE],
    run: verify('one-shot'),
  },
  { id: CMD.RELEASE_ACTIVE_PROCESSING, shapes: [SHAPE.PLAIN], run: release },
];

type Keyed = 'sign' | 'verify' | 'encrypt' | 'decrypt';

/** What a key must allow, and which half of a pair it must be. */
const USE: Readonly<Record<Keyed, { readonly permission: number; readonly half: number }>> = {
  sign: { permission: CKA.SIGN, half: CKO.PRIVATE_KEY },
  verify: { permission: CKA.VERIFY, half: CKO.PUBLIC_KEY },
  encrypt: { permission: CKA.ENCRYPT, half: CKO.PUBLIC_KEY },
  decrypt: { permission: CKA.DECRYPT, half: CKO.PRIVATE_KEY },
};

/** Which operation a command belongs to. */
const DOING_OF_COMMAND: ReadonlyMap<number, Doing> = new Map<number, Doing>([
  ...[CMD.SIGN_INIT, CMD.SIGN_UPDATE, CMD.SIGN_FINAL, CMD.SIGN_ONESHOT].map(of('sign')),
  ...[CMD.VERIFY_INIT, CMD.VERIFY_UPDATE, CMD.VERIFY_FINAL, CMD.VERIFY_ONESHOT].map(of('verify')),
  ...[CMD.ENCRYPT_INIT, CMD.ENCRYPT_UPDATE, CMD.ENCRYPT_FINAL, CMD.ENCRYPT_ONESHOT].map(
    of('encrypt'),
  ),
  ...[CMD.DECRYPT_INIT, CMD.DECRYPT_UPDATE, CMD.DECRYPT_FINAL, CMD.DECRYPT_ONESHOT].map(
    of('decrypt'),
  ),
  ...[CMD.DIGEST_INIT, CMD.DIGEST_KEY, CMD.DIGEST_UPDATE, CMD.DIGEST_FINAL].map(of('digest')),
  ...[CMD.DIGEST_ONESHOT].map(of('digest')),
]);

function of(doing: Doing): (command: number) => readonly [number, Doing] {
  return (command) => [command, doing];
}

function starter(doing: Keyed): (call: Call) => void {
  return (call) => {
    const session = call.session();
    const keyHandle = call.args.u32();
    const mechanismId = call.args.u32();
    const parameter = call.args.counted();
    call.args.end();
    session.requireIdle();
    const key = session.object(keyHandle);
    if (key === undefined) throw new TaFailure(CKR.KEY_HANDLE_INVALID);
    const mechanism = mechanismOf(mechanismId);
    const start = mechanism?.[doing];
    if (mechanism === undefined || start === undefined) throw new TaFailure(CKR.MECHANISM_INVALID);
    if (!session.mayAccess(key)) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
    requireUse(key, mechanism, doing);
    session.operation = {
      machine: start({ parameter, key }),
      needsLogin: key.attributes.boolean(CKA.ALWAYS_AUTHENTICATE),
      hasData: false,
    };
  };
}

function requireUse({ attributes }: P11Object, mechanism: Mechanism, doing: Keyed): void {
  const { permission, half } = USE[doing];
  if (!attributes.boolean(permission)) throw new TaFailure(CKR.KEY_FUNCTION_NOT_PERMITTED);
  const isType = mechanism.keyTypes.includes(attributes.keyType ?? -1);
  if (!isType) throw new TaFailure(CKR.KEY_TYPE_INCONSISTENT);
  const objectClass = attributes.objectClass;
  if (objectClass !== CKO.SECRET_KEY && objectClass !== half) {
    throw new TaFailure(CKR.KEY_FUNCTION_NOT_PERMITTED);
  }
  const allowed = attributes.get(CKA.ALLOWED_MECHANISMS);
  if (allowed !== undefined && !listsWord(allowed, mechanism.id)) {
    throw new TaFailure(CKR.KEY_FUNCTION_NOT_PERMITTED);
  }
}

function listsWord(list: Uint8Array, word: number): boolean {
  const reader = new ArgReader(list);
  while (reader.leftBytes > 0) if (reader.u32() === word) return true;
  return false;
}

function updater(doing: 'sign' | 'verify'): (call: Call) => void {
  return (call) => {
    const session = call.session();
    call.args.end();
    const { machine } = requireActive(session, doing);
    step(session, 'update', () => {
      if (machine.update === undefined) throw new TaFailure(CKR.MECHANISM_INVALID);
      machine.update(call.input);
    });
  };
}

function sign(kind: 'final' | 'one-shot'): (call: Call) => void {
  return (call) => {
    const session = call.session();
    call.args.end();
    const { machine } = requireActive(session, 'sign');
    step(session, kind, () => {
      if (kind === 'final' && machine.update === undefined) {
        throw new TaFailure(CKR.MECHANISM_INVALID);
      }
      call.requireRoomFor(machine.signatureBytes);
      call.answer(machine.sign(call.input));
    });
  };
}

function verify(kind: 'final' | 'one-shot'): (call: Call) => void {
  return (call) => {
    const session = call.session();
    call.args.end();
    const { machine } = requireActive(session, 'verify');
    step(session, kind, () => {
      if (kind === 'final' && machine.update === undefined) {
        throw new TaFailure(CKR.MECHANISM_INVALID);
      }
      if (call.signature.byteLength !== machine.signatureBytes) {
        throw new TaFailure(CKR.SIGNATURE_LEN_RANGE);
      }
      if (!machine.verify(call.input, call.signature)) throw new TaFailure(CKR.SIGNATURE_INVALID);
    });
  };
}

/** libckteec gives up an operation this way when its caller's arguments were bad. */
function release(call: Call): void {
  const session = call.session();
  const command = call.args.u32();
  call.args.end();
  const doing = DOING_OF_COMMAND.get(command);
  if (doing === undefined) throw new TaFailure(CKR.ARGUMENTS_BAD);
  requireActive(session, doing);
  session.operation = undefined;
}
