/**
 * When an operation ends.
 *
 * FINAL and one-shot end it, whatever comes of it, and so does an UPDATE that fails. Only a buffer
 * that is too small leaves it as it was: the caller will come back with a larger one.
 *
 * Source: OP-TEE ta/pkcs11/src/processing.c, `entry_processing_step`.
 */
import { CKR } from './abi.ts';
import type { Call } from './call.ts';
import { TaFailure } from './failure.ts';
import type { ActiveOperation, Doing, Machine } from './processing.ts';
import type { Session } from './session.ts';

export type Step = 'update' | 'final' | 'one-shot';

/** @throws TaFailure OPERATION_NOT_INITIALIZED if the session is not doing that */
export function requireActive<D extends Doing>(
  session: Session,
  doing: D,
): ActiveOperation & { readonly machine: Extract<Machine, { does: D }> } {
  const operation = session.operation;
  if (operation === undefined || !isDoing(operation, doing)) {
    throw new TaFailure(CKR.OPERATION_NOT_INITIALIZED);
  }
  return operation;
}

/** @throws TaFailure MECHANISM_INVALID if the mechanism takes its data at once */
export function requireMultiPart<U>(machine: { readonly update?: U }): U {
  if (machine.update === undefined) throw new TaFailure(CKR.MECHANISM_INVALID);
  return machine.update;
}

/**
 * OP-TEE takes the end of an operation that has no parts for all of it, without data.
 *
 * @throws TaFailure MECHANISM_INVALID if the mechanism takes its data at once
 */
export function requireFinal(call: Call, machine: { readonly update?: unknown }): void {
  if (call.shared.mode === 'default') requireMultiPart(machine);
}

/** Runs one step of the session's operation, and ends the operation if that is due. */
export function step(session: Session, kind: Step, run: () => void): void {
  const operation = session.operation;
  try {
    if (operation?.needsLogin === true) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
    if (kind === 'one-shot' && operation?.hasData === true) {
      throw new TaFailure(CKR.OPERATION_ACTIVE);
    }
    run();
    if (operation !== undefined) operation.hasData = true;
  } catch (failure) {
    const isTooSmall = failure instanceof TaFailure && failure.rv === CKR.BUFFER_TOO_SMALL;
    if (!isTooSmall) session.end();
    throw failure;
  }
  if (kind !== 'update') session.end();
}

function isDoing<D extends Doing>(
  operation: ActiveOperation,
  doing: D,
): operation is ActiveOperation & { readonly machine: Extract<Machine, { does: D }> } {
  return operation.machine.does === doing;
}
