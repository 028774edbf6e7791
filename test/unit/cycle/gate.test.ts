/** When a held update may go on by itself: until then nobody has to look. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { mayGoOnAt, type Reason } from '../../../agent/cycle/gate.ts';
import type { Instant } from '../../../agent/uptane/time.ts';

const OPENS = 2000 as Instant;
const window: Reason = { by: 'window', says: 'outside', until: OPENS };
const never: Reason = { by: 'window', says: 'outside' };
const inhibitor: Reason = { by: 'inhibitor', says: 'busy' };
const consent: Reason = { by: 'consent', says: 'approve' };
const deadline = 1500 as Instant;

for (const [what, reasons, end, at] of [
  ['a window: when it opens', [window], undefined, OPENS],
  ['a window that never opens: not', [never], undefined, Infinity],
  ['a program: it has to be asked', [inhibitor], undefined, -Infinity],
  ['a program outside of a window: nobody asks it before', [window, inhibitor], undefined, OPENS],
  ['a person: not', [consent, window], undefined, Infinity],
  ['anything, for a critical update: at its deadline', [consent, window], deadline, deadline],
  ['a program, for a critical update: it has to be asked', [inhibitor], deadline, -Infinity],
] as const) {
  test(`what waits for ${what}`, () => {
    assert.equal(mayGoOnAt(reasons, end), at);
  });
}
