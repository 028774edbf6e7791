import { handlingOf, type FailureCode } from '../errors.ts';
import type { Store } from '../ports.ts';

/**
 * Remembers a failure for the next manifest, if it is an attack.
 *
 * Source: Uptane Standard 2.1 §5.4.2.1 (attack indicator), §5.4 (slow retrieval is to be reported).
 */
export async function noteAttack(code: FailureCode, store: Store): Promise<void> {
  if (handlingOf(code).attack !== undefined) await store.noteAttack(code);
}
