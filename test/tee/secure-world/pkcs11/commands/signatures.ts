/** Signing and verifying, in one step or several: PKCS#11 v2.40 §5.11 and §5.12. */
import { CKR, CMD } from '../abi.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { TaFailure } from '../failure.ts';
import type { Signer, Verifier } from '../processing.ts';
import { requireActive, requireFinal, requireMultiPart, step } from '../steps.ts';

export const SIGNATURE_COMMANDS: readonly Command[] = [
  { id: CMD.SIGN_UPDATE, shapes: [SHAPE.IN, SHAPE.PLAIN], run: updater('sign') },
  { id: CMD.SIGN_FINAL, shapes: [SHAPE.OUT], run: sign('final') },
  { id: CMD.SIGN_ONESHOT, shapes: [SHAPE.IN_OUT, SHAPE.OUT], run: sign('one-shot') },
  { id: CMD.VERIFY_UPDATE, shapes: [SHAPE.IN, SHAPE.PLAIN], run: updater('verify') },
  { id: CMD.VERIFY_FINAL, shapes: [SHAPE.SIGNATURE], run: verify('final') },
  {
    id: CMD.VERIFY_ONESHOT,
    shapes: [SHAPE.IN_SIGNATURE, SHAPE.SIGNATURE],
    run: verify('one-shot'),
  },
];

function updater(doing: 'sign' | 'verify'): (call: Call) => void {
  return (call) => {
    const session = call.session();
    call.args.end();
    const { machine } = requireActive(session, doing);
    step(session, 'update', () => {
      const update = requireMultiPart(machine);
      call.requireData(machine);
      update(call.input);
    });
  };
}

function sign(kind: 'final' | 'one-shot'): (call: Call) => void {
  return (call) => {
    const session = call.session();
    call.args.end();
    const { machine } = requireActive(session, 'sign');
    step(session, kind, () => {
      if (kind === 'final') requireFinal(call, machine);
      machine.checkData?.(call.input.byteLength);
      if (machine.signatureBytes > call.roomBytes) forget(call, machine);
      call.requireRoomFor(machine.signatureBytes);
      call.answer(machine.sign(call.input));
    });
  };
}

/**
 * OP-TEE ends its hash before it finds that there is no room for the signature. Whoever asks C_SignFinal
 * for the size and then for the signature gets that of an empty message.
 */
function forget(call: Call, { restart }: Signer): void {
  if (call.shared.mode === 'strict') restart?.();
}

function verify(kind: 'final' | 'one-shot'): (call: Call) => void {
  return (call) => {
    const session = call.session();
    call.args.end();
    const { machine } = requireActive(session, 'verify');
    step(session, kind, () => {
      if (kind === 'final') requireFinal(call, machine);
      requireLength(machine, call.signature.byteLength);
      if (!machine.verify(call.input, call.signature)) throw new TaFailure(CKR.SIGNATURE_INVALID);
    });
  };
}

function requireLength({ signatureBytes, takesLength }: Verifier, lengthBytes: number): void {
  const isTaken = takesLength?.(lengthBytes) ?? lengthBytes === signatureBytes;
  if (!isTaken) throw new TaFailure(CKR.SIGNATURE_LEN_RANGE);
}
