import assert from 'node:assert/strict';

import { Refusal } from '../../director/failure.ts';

/** Asserts on the stable parts of a refusal, never on its wording. */
export function refuses(act: () => unknown, status: number, code: string): void {
  assert.throws(act, (error: unknown) => {
    assert.ok(error instanceof Refusal, String(error));
    assert.deepEqual({ status: error.status, code: error.code }, { status, code });
    return true;
  });
}
