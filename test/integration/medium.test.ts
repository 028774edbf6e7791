/** What may be on a stick, and how one is noticed. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { PickUp } from '../../agent/cycle/pick-up.ts';
import { openMedia } from '../../agent/io/medium.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { imageAt, withStick } from '../support/stick-bench.ts';

describe('a stick', () => {
  test('that is none says what was looked for', async () => {
    await withStick(async ({ device }) => {
      const path = join(device.directory.path, 'metadata', 'director');
      await rejectsCode(device.insert(device.directory.path), 'FILE_UNREADABLE', {
        path,
        what: 'an offline update',
        cause: `ENOENT: no such file or directory, opendir '${path}'`,
        remedy: 'name the directory that has metadata/ and images/, as it is mounted',
      });
    });
  });

  test('with links, pipes and directories for files is not followed, and does not hang', async () => {
    await withStick(async ({ device, at }) => {
      const path = imageAt(at, 'fw-2');
      rmSync(path);
      execFileSync('mkfifo', [path]);
      const cause = 'not a regular file';
      await rejectsCode(device.insert(at), 'MEDIUM_FAILED', { path, cause });
      rmSync(path);
      mkdirSync(path);
      await rejectsCode(device.insert(at), 'MEDIUM_FAILED', { path, cause });
      const box = join(at, 'metadata', 'director', 'box.json');
      rmSync(box);
      symlinkSync('/etc/passwd', box);
      await rejectsCode(device.insert(at), 'MEDIUM_FAILED', {
        path: box,
        cause: `ELOOP: too many symbolic links encountered, open '${box}'`,
      });
    });
  });

  test('with files of other systems beside its own is one; with a lockbox that nobody listed it is not', async () => {
    await withStick(async ({ device, at }) => {
      const director = join(at, 'metadata', 'director');
      for (const name of ['._box.json', 'Thumbs.db', '.DS_Store', 'read me.txt']) {
        writeFileSync(join(director, name), 'x');
      }
      assert.deepEqual(await openMedia().lockboxes(at), ['box']);
      writeFileSync(join(director, 'stray.json'), '{}');
      await rejectsCode(device.insert(at), 'SNAPSHOT_ROLE_MISSING', {
        repo: 'director',
        role: 'offline-updates/stray',
      });
      assert.equal(await (await device.ports()).store.refusal(), 'SNAPSHOT_ROLE_MISSING');
      for (let more = 0; more < 64; more += 1) {
        writeFileSync(join(director, `more-${String(more)}.json`), '{}');
      }
      const cause = '66 updates, of which 64 are looked at';
      await rejectsCode(device.insert(at), 'MEDIUM_FAILED', { path: director, cause });
    });
  });

  test('with more names than anybody reads is noticed once, and refused before they are all read', async () => {
    await withStick(async ({ device, at }) => {
      const director = join(at, 'metadata', 'director');
      for (let more = 0; more < 4096; more += 1) writeFileSync(join(director, String(more)), '');
      const cause = 'more than 4096 files, and no more are looked at';
      await rejectsCode(device.insert(at), 'MEDIUM_FAILED', { path: director, cause });
      const pickUp = new PickUp(openMedia(), [at]);
      assert.deepEqual([await pickUp.next(), await pickUp.next()], [at, undefined]);
    });
  });

  test('is noticed once, and again when it was taken out or another is there', async () => {
    await withStick(async ({ at, release }) => {
      const pickUp = new PickUp(openMedia(), ['/nowhere', at]);
      assert.equal(await pickUp.next(), at);
      assert.equal(await pickUp.next(), undefined);
      release('fw-3');
      assert.equal(await pickUp.next(), at);
      rmSync(at, { recursive: true });
      assert.equal(await pickUp.next(), undefined);
      release('fw-4');
      assert.equal(await pickUp.next(), at);
    });
  });
});
