import assert from 'node:assert/strict';
import { test } from 'node:test';

import { UPTANE, withLimits } from '../../../agent/uptane/format.ts';
import { loadFormat } from '../../../agent/uptane/load-format.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';

const KIBIBYTE = 1024;

test('a format has the name it is configured by', async () => {
  for (const name of ['uptane', 'tuf'] as const) {
    assert.equal((await loadFormat(name)).name, name);
  }
});

test('configured limits replace those of large files and raise that of roots (R2, G1)', () => {
  const configured = { rootBytes: 128 * KIBIBYTE, imageTargetsBytes: 32 * 1024 * KIBIBYTE };
  const { maxBytes } = withLimits(UPTANE, configured);
  assert.deepEqual(maxBytes, {
    root: 128 * KIBIBYTE,
    timestamp: 64 * KIBIBYTE,
    snapshot: 64 * KIBIBYTE,
    targets: { director: 64 * KIBIBYTE, image: 32 * 1024 * KIBIBYTE },
  });
  assert.equal(withLimits(TUF, configured).maxBytes.root, 512 * KIBIBYTE);
});
