import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readTranscript, replay, type Difference } from './transcript.ts';

const VECTORS = new URL('../../vectors/optee/', import.meta.url);
/** Calls that are answered otherwise on purpose, and how: `recorded → ours`. */
const ON_PURPOSE: Readonly<Record<string, readonly string[]>> = {
  'quirks.jsonl.gz': [],
  'p11.jsonl.gz': [
    // The recorded TA has 32 KiB of memory, which a dozen RSA keys fill. Ours has more.
    '965: 00000000 31000000 0000000000000000 → 00000000 00000000 190000001a000000',
  ],
};

for (const [file, invocations, panics] of [
  ['quirks.jsonl.gz', 129, 0],
  // A point in DER killed the recorded TA.
  ['p11.jsonl.gz', 1787, 1],
] as const) {
  test(`answers ${String(invocations)} recorded calls as a real TA did (${file})`, () => {
    const replayed = replay(readTranscript(new URL(file, VECTORS)));

    assert.equal(replayed.invocations, invocations);
    assert.deepEqual(replayed.differences.map(summary), ON_PURPOSE[file]);
    assert.equal(replayed.panics, panics);
  });
}

function summary({ n, recorded, ours }: Difference): string {
  const [was, is] = [recorded, ours].map(({ result, rv, output }) => `${result} ${rv} ${output}`);
  const isPanic = recorded.result === 'ffff3024';
  return `${String(n)}: ${isPanic ? 'panic' : String(was)} → ${String(is)}`;
}
