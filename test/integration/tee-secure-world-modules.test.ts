import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { temporaryDirectory } from '../support/temporary.ts';
import { runToEnd, SecureWorld } from './tee-secure-world-process.ts';

const STORAGE_TA = fileURLToPath(new URL('../conformance/optee/storage-ta.ts', import.meta.url));
const STORAGE2_TA = fileURLToPath(new URL('../conformance/optee/storage2-ta.ts', import.meta.url));

describe('the secure world with modules of trusted applications', () => {
  let temporary: ReturnType<typeof temporaryDirectory>;
  let place: readonly string[];

  beforeEach(() => {
    temporary = temporaryDirectory('tee-modules');
    const at = (name: string): string => join(temporary.path, name);
    place = ['--storage', at('storage'), '--socket', at('socket')];
  });
  afterEach(() => {
    temporary.remove();
  });

  test('serves them beside its own', async () => {
    const world = await SecureWorld.start(...place, '--ta', STORAGE_TA, '--ta', STORAGE2_TA);
    const { code, stderr } = await world.end();
    assert.deepEqual([code, stderr], [0, '']);
  });

  test('says which one it cannot load, and why, and exits 2', async () => {
    const empty = join(temporary.path, 'empty.ts');
    writeFileSync(empty, 'export const other = 1;\n');
    for (const [module, why] of [
      [empty, /empty\.ts exports no app: a --ta module exports app\(backends\): TrustedApp/u],
      [join(temporary.path, 'missing.ts'), /cannot load .*missing\.ts: .*Cannot find module/u],
    ] as const) {
      const { code, stderr } = await runToEnd(...place, '--ta', module);
      assert.equal(code, 2);
      assert.match(stderr, why);
    }
  });

  test('refuses two of one UUID', async () => {
    const { code, stderr } = await runToEnd(...place, '--ta', STORAGE_TA, '--ta', STORAGE_TA);
    assert.equal(code, 1);
    assert.match(stderr, /two TAs have the same UUID/u);
  });
});
