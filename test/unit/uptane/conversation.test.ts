/** The limit that holds whoever answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fetchFile, fetchRequired } from '../../../agent/uptane/conversation.ts';
import { throwsCode } from '../../support/expect-code.ts';

const NEED = { need: 'fetch', repo: 'image', file: 'targets.json', maxBytes: 3 } as const;

for (const fetch of [fetchFile, fetchRequired]) {
  test(`${fetch.name} asks once, takes a file of the limit and none beyond it (T1, S1, G1)`, () => {
    const talk = fetch('image', 'targets.json', 3);
    assert.deepEqual(talk.next().value, NEED);
    const bytes = Buffer.from('123');
    assert.deepEqual(talk.next(bytes), { done: true, value: bytes });
    const again = fetch('image', 'targets.json', 3);
    again.next();
    const details = { repo: 'image', file: 'targets.json', maxBytes: 3 } as const;
    throwsCode(() => again.next(Buffer.from('1234')), 'METADATA_TOO_LARGE', details);
  });
}

test('a file that is not there is told, and refused where it has to be (R2, T1)', () => {
  const optional = fetchFile('image', 'targets.json', 3);
  optional.next();
  assert.deepEqual(optional.next(undefined), { done: true, value: undefined });
  const required = fetchRequired('image', 'targets.json', 3);
  required.next();
  throwsCode(() => required.next(undefined), 'METADATA_MISSING', {
    repo: 'image',
    file: 'targets.json',
  });
});
