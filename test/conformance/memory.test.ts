/** Hostile metadata costs little more than its own length, and is refused or signed by nobody. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { SHAPES, type Cost } from '../support/hostile-metadata-driver.ts';
import { inChild } from '../support/in-child.ts';

const DRIVER = join(import.meta.dirname, '../support/hostile-metadata-driver.ts');
const MEGABYTE = 1_000_000;
const NOBODY = 'listed false, signers 0';

const malformed = (path: string, want: string): RegExp =>
  new RegExp(`^METADATA_MALFORMED path=image/${path} want="${want}`, 'u');
const byteOf = (want: string): RegExp => malformed('\\w+@\\d+', want);

/** What is refused before anybody looks for a signature; all others nobody has signed. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  'arrays without end': byteOf('nesting of at most 64 levels'),
  'objects without end': byteOf('nesting of at most 64 levels'),
  'millions of short members': byteOf('at most 1024 members as short as these'),
  'one name for ever': byteOf('each name once'),
  'targets that are none': malformed('targets.signed.targets.a0000000cdefgh', 'an object'),
  'a delegation with millions of paths': malformed(
    'targets.signed.delegations.roles',
    'at most 8192 paths',
  ),
  'many delegations with many paths': malformed(
    'targets.signed.delegations.roles',
    'at most 8192 paths',
  ),
  'millions of delegations': malformed('targets.signed.delegations.roles', 'at most 16384'),
  'keys without end': malformed('root.signed.keys', 'at most 4096 keys'),
  'key ids without end': malformed('root.signed.roles.root.keyids', 'at most 1024 key ids'),
};

for (const format of ['uptane', 'tuf'] as const) {
  describe(
    `15 MB of hostile metadata cost less than 150 MB (G1, ${format})`,
    { concurrency: 2 },
    () => {
      for (const shape of Object.keys(SHAPES)) {
        test(shape, async () => {
          const args = { shape, bytes: 15 * MEGABYTE, format };
          const outcome = await inChild(DRIVER, 'cost', args, {});
          const { found, peakBytes } = outcome.value as Cost;
          assert.ok(peakBytes < 150 * MEGABYTE, `${String(Math.round(peakBytes / MEGABYTE))} MB`);
          assert.match(found, REFUSED[shape] ?? new RegExp(`^${NOBODY}$`, 'u'));
        });
      }
    },
  );
}
