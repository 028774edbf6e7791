import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readTranscript, replay, type Difference } from './transcript.ts';

const VECTORS = new URL('../../vectors/optee/', import.meta.url);

test('answers as a real TA did on every odd case that was recorded (quirks)', () => {
  const { invocations, differences } = replay(readTranscript(new URL('quirks.jsonl.gz', VECTORS)));

  assert.equal(invocations, 129);
  assert.deepEqual(differences.map(summary), []);
});

function summary({ n, command, recorded, ours }: Difference): unknown {
  return { n, command, recorded, ours };
}
