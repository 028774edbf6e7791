/** Encrypting and decrypting, in one step or several: PKCS#11 v2.40 §5.8 and §5.9. */
import { CMD } from '../abi.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import type { Cipher } from '../processing.ts';
import { requireActive, requireFinal, requireMultiPart, step } from '../steps.ts';

type Doing = 'encrypt' | 'decrypt';

export const CIPHER_COMMANDS: readonly Command[] = [
  { id: CMD.ENCRYPT_UPDATE, shapes: [SHAPE.IN_OUT, SHAPE.OUT], run: updater('encrypt') },
  { id: CMD.ENCRYPT_FINAL, shapes: [SHAPE.OUT], run: last('encrypt', 'final') },
  {
    id: CMD.ENCRYPT_ONESHOT,
    shapes: [SHAPE.IN_OUT, SHAPE.OUT],
    run: last('encrypt', 'one-shot'),
  },
  { id: CMD.DECRYPT_UPDATE, shapes: [SHAPE.IN_OUT, SHAPE.OUT], run: updater('decrypt') },
  { id: CMD.DECRYPT_FINAL, shapes: [SHAPE.OUT], run: last('decrypt', 'final') },
  {
    id: CMD.DECRYPT_ONESHOT,
    shapes: [SHAPE.IN_OUT, SHAPE.OUT],
    run: last('decrypt', 'one-shot'),
  },
];

function updater(doing: Doing): (call: Call) => void {
  return (call) => {
    const session = call.session();
    call.args.end();
    const { machine } = requireActive(session, doing);
    step(session, 'update', () => {
      const update = requireMultiPart(machine);
      call.requireData(machine);
      requireRoom(call, machine.outputBytes, 'update');
      if (machine.withholds === true) session.hold(call.input.byteLength);
      call.answer(update(call.input));
    });
  };
}

function last(doing: Doing, kind: 'final' | 'one-shot'): (call: Call) => void {
  return (call) => {
    const session = call.session();
    call.args.end();
    const { machine } = requireActive(session, doing);
    step(session, kind, () => {
      if (kind === 'final') requireFinal(call, machine);
      else call.requireData(machine);
      requireRoom(call, machine.outputBytes, 'last');
      call.answer(machine.finish(call.input));
    });
  };
}

/** Asked before the data is taken: what a cipher has taken cannot be taken again. */
function requireRoom(
  call: Call,
  outputBytes: Cipher['outputBytes'],
  when: 'update' | 'last',
): void {
  const bytes = outputBytes(when, call.input.byteLength);
  if (bytes !== 'when finished') call.requireRoomFor(bytes);
}
