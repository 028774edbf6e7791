/** Whether the handles of a session's objects tell them apart. */
import type graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';

/**
 * To be asked before objects are destroyed, and after one was made.
 *
 * tpm2-pkcs11 1.9 gives a new object the handle of another one where the first of its list was destroyed
 * by the same process. Whoever destroys by such a handle destroys the other; a new process counts anew.
 *
 * @param operation - what is being done
 * @throws OtaError TOKEN_FAILED if two objects share a handle; nothing of theirs may be destroyed then
 */
export function demandOwnHandles(session: graphene.Session, operation: string): void {
  const found = session.find({});
  const handles = Array.from({ length: found.length }, (_, index) =>
    found.items(index).handle.toString('hex'),
  );
  if (new Set(handles).size === handles.length) return;
  const cause =
    'the library has one handle for several objects; a new process of the agent tells them apart';
  throw new OtaError('TOKEN_FAILED', { operation, cause });
}
