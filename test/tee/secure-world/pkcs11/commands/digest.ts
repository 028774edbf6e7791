/** Digests, in one step or several: PKCS#11 v2.40 §5.10. */
import { CKA } from '../abi-attributes.ts';
import { CKK, CKO, CKR, CMD } from '../abi.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { TaFailure } from '../failure.ts';
import { required } from '../keys.ts';
import { mechanismOf } from '../mechanisms/served.ts';
import type { P11Object } from '../object.ts';
import type { Session } from '../session.ts';
import { requireActive, step } from '../steps.ts';

export const DIGEST_COMMANDS: readonly Command[] = [
  { id: CMD.DIGEST_INIT, shapes: [SHAPE.PLAIN], run: digestInit },
  { id: CMD.DIGEST_KEY, shapes: [SHAPE.PLAIN], run: digestKey },
  { id: CMD.DIGEST_UPDATE, shapes: [SHAPE.IN, SHAPE.PLAIN], run: digestUpdate },
  { id: CMD.DIGEST_FINAL, shapes: [SHAPE.OUT], run: digestLast('final') },
  { id: CMD.DIGEST_ONESHOT, shapes: [SHAPE.IN_OUT, SHAPE.OUT], run: digestLast('one-shot') },
];

function digestInit(call: Call): void {
  const session = call.session();
  const mechanismId = call.args.u32();
  const parameter = call.args.counted();
  call.args.end();
  session.requireIdle();
  const digest = mechanismOf(mechanismId)?.digest;
  if (digest === undefined) throw new TaFailure(CKR.MECHANISM_INVALID);
  if (parameter.byteLength !== 0) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
  session.begin({ machine: digest(), needsLogin: false, hasData: false }, 0);
}

function digestUpdate(call: Call): void {
  const session = call.session();
  call.args.end();
  const { machine } = requireActive(session, 'digest');
  step(session, 'update', () => {
    machine.update(call.input);
  });
}

/** Adds the value of a secret key, sensitive or not: only its digest gets out. */
function digestKey(call: Call): void {
  const session = call.session();
  const handle = call.args.u32();
  call.args.end();
  const { machine } = requireActive(session, 'digest');
  step(session, 'update', () => {
    machine.update(digestibleValue(session, session.object(handle)));
  });
}

function digestibleValue(session: Session, key: P11Object | undefined): Uint8Array {
  if (key === undefined || !session.mayAccess(key)) throw new TaFailure(CKR.KEY_HANDLE_INVALID);
  const { attributes } = key;
  const isSecret = attributes.objectClass === CKO.SECRET_KEY;
  const isDigestible = attributes.keyType === CKK.GENERIC_SECRET || attributes.keyType === CKK.AES;
  if (!isSecret || !isDigestible) throw new TaFailure(CKR.KEY_INDIGESTIBLE);
  return required(attributes, CKA.VALUE);
}

function digestLast(kind: 'final' | 'one-shot'): (call: Call) => void {
  return (call) => {
    const session = call.session();
    call.args.end();
    const { machine } = requireActive(session, 'digest');
    step(session, kind, () => {
      call.requireRoomFor(machine.digestBytes);
      if (kind === 'one-shot') machine.update(call.input);
      call.answer(machine.digest());
    });
  };
}
