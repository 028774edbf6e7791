/** Storage that was put back: what an RPMB finds of it, and what nothing does. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { openRpmbAnchor } from '../tee/secure-world/storage/anchor.ts';
import {
  TEE_ERROR_SECURITY,
  type TrustedStorage,
} from '../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk } from '../unit/tee/storage/crash-disk.ts';
import {
  bytes,
  contentsOf,
  id,
  openOn,
  openRpmbOn,
  TA,
  throwsResult,
} from '../unit/tee/storage/fixture.ts';

describe('an older copy', () => {
  interface Stores {
    readonly ree: CrashDisk;
    readonly rpmb: CrashDisk;
  }

  function open({ ree, rpmb }: Stores): TrustedStorage {
    return openOn(ree, openRpmbAnchor(openRpmbOn(rpmb)));
  }

  /** Two moments of the same stores. */
  function aged(commits: number): { readonly before: Stores; readonly now: Stores } {
    const now = { ree: new CrashDisk(), rpmb: new CrashDisk() };
    const storage = open(now);
    storage.write(TA, id('a'), bytes(10, 1));
    const before = { ree: now.ree.copy(), rpmb: now.rpmb.copy() };
    for (let each = 0; each < commits; each += 1) storage.write(TA, id('a'), bytes(10, 2 + each));
    return { before, now };
  }

  test('of an anchored REE-FS is refused and left alone (TEE_ERROR_SECURITY), and the newest opens', () => {
    for (const commits of [1, 2, 3, 8]) {
      const { before, now } = aged(commits);
      const files = before.ree.files();
      throwsResult(() => open({ ree: before.ree, rpmb: now.rpmb.copy() }), TEE_ERROR_SECURITY);
      assert.deepEqual(before.ree.files(), files);
      assert.deepEqual(contentsOf(open(now)).get('a'), `0${String(1 + commits)}`.repeat(10));
    }
  });

  test('of the RPMB under a newer REE-FS is refused (TEE_ERROR_SECURITY)', () => {
    for (const commits of [2, 3, 8]) {
      const { before, now } = aged(commits);
      throwsResult(() => open({ ree: now.ree.copy(), rpmb: before.rpmb }), TEE_ERROR_SECURITY);
      assert.equal(contentsOf(open(now)).size, 1);
    }
  });

  test('of the RPMB one commit old brings back that commit, as a power cut would have', () => {
    const { before, now } = aged(1);
    const found = contentsOf(open({ ree: now.ree.copy(), rpmb: before.rpmb }));
    assert.deepEqual(found, new Map([['a', '01'.repeat(10)]]));
  });

  test('of both together is not detected: the file of an emulated RPMB is no chip', () => {
    const { before } = aged(8);
    assert.deepEqual(contentsOf(open(before)), new Map([['a', '01'.repeat(10)]]));
  });

  test('of a REE-FS alone is not detected, as OP-TEE documents it (CFG_REE_FS_INTEGRITY_RPMB)', () => {
    const disk = new CrashDisk();
    const storage = openOn(disk);
    storage.write(TA, id('pin counter'), bytes(1, 0));
    const before = disk.copy();
    storage.write(TA, id('pin counter'), bytes(1, 7));
    assert.deepEqual(contentsOf(openOn(before)), new Map([['pin counter', '00']]));
  });

  test('of nothing at all is refused when there is an anchor (TEE_ERROR_SECURITY)', () => {
    const { now } = aged(1);
    const empty = new CrashDisk();
    throwsResult(() => open({ ree: empty, rpmb: now.rpmb.copy() }), TEE_ERROR_SECURITY);
    assert.deepEqual(empty.names(), []);
    const headless = new Map([...now.ree.files()].filter(([name]) => name !== 'dirf.db'));
    const left = CrashDisk.holding(headless);
    throwsResult(() => open({ ree: left, rpmb: now.rpmb }), TEE_ERROR_SECURITY);
    assert.deepEqual(left.files(), headless);
  });
});
