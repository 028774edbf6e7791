import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import {
  openTree,
  readContent,
  type HashTree,
} from '../../../tee/secure-world/storage/ree-fs/htree.ts';
import {
  blocksIn,
  imageOf,
  newTree,
  stageTree,
} from '../../../tee/secure-world/storage/ree-fs/htree-stage.ts';

const TA_KEY = new Uint8Array(32).fill(7);

/** One commit: how many blocks the file has after it, and which of the old ones change. */
const commit = fc.record({
  blocks: fc.nat({ max: 40 }),
  changed: fc.array(fc.nat({ max: 40 }), { maxLength: 4 }),
  fill: fc.nat({ max: 255 }),
});

test('a commit of some blocks, longer or shorter, reads back and leaves the version before whole', () => {
  fc.assert(
    fc.property(fc.array(commit, { minLength: 1, maxLength: 6 }), (commits) => {
      let image = new Uint8Array(0);
      let content = new Uint8Array(0);
      let tree = newTree(TA_KEY);
      for (const { blocks, changed, fill } of commits) {
        const next = new Uint8Array(blocks * 4096).map((_, at) => content[at] ?? fill);
        for (const block of changed) next.subarray(block * 4096, (block + 1) * 4096).fill(fill);
        const staged = stageTree(tree, next.length, blocksThatDiffer(content, next));
        const written = new Uint8Array(Math.max(image.length, imageOf(staged).length));
        written.set(image);
        for (const { offsetBytes, bytes } of [...staged.body, staged.head]) {
          written.set(bytes, offsetBytes);
        }
        assert.deepEqual(reread(written, staged.tree), next);
        if (tree.counter > 0) assert.deepEqual(reread(written, tree), content);
        image = written;
        content = next;
        ({ tree } = staged);
      }
    }),
    { numRuns: 25 },
  );
});

function reread(bytes: Uint8Array, { counter }: HashTree): Uint8Array {
  const image = { name: 'test', bytes };
  const tree = openTree(image, TA_KEY, counter % 2 === 0 ? 0 : 1);
  return new Uint8Array(readContent(image, tree));
}

function blocksThatDiffer(before: Uint8Array, after: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const old = blocksIn(before);
  return new Map(
    [...blocksIn(after)].filter(([block, bytes]) => {
      const was = old.get(block);
      return was === undefined || Buffer.compare(was, bytes) !== 0;
    }),
  );
}
