/** What `ota-agent verify` carries from one run to the next, and what it says to images. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import { hashesOf } from '../support/build-metadata.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { PRIMARY, World } from '../support/uptane-world.ts';
import { VerifyFixture } from '../support/verify-fixture.ts';

let fixture: VerifyFixture;
beforeEach(() => {
  fixture = new VerifyFixture();
  fixture.world.release('fw-1.bin');
});
afterEach(() => {
  fixture.remove();
});

describe('state', () => {
  test('carries trust and what was installed from one run to the next', async () => {
    fixture.serve();
    assert.equal((await fixture.run(fixture.withState)).json['outcome'], 'update');
    assert.equal((await fixture.run(fixture.withState)).json['outcome'], 'up-to-date');
    assert.equal(
      readFileSync(fixture.at('state/image/targets.json'), 'utf8'),
      Buffer.from(fixture.world.image.file('targets.json')).toString(),
    );
  });

  test('without one, every run starts anew', async () => {
    fixture.serve();
    assert.equal((await fixture.run()).json['outcome'], 'update');
    assert.equal((await fixture.run()).json['outcome'], 'update');
  });

  test('remembers versions: a rollback is refused in the next run (S4, T3)', async () => {
    fixture.world.publish();
    fixture.serve();
    await fixture.run(fixture.withState);
    Object.assign(fixture.world.director.version, { timestamp: 0, snapshot: 0, targets: 0 });
    fixture.world.director.publish();
    fixture.serve();
    const { exit, json } = await fixture.run(fixture.withState);
    assert.equal(exit, 20);
    assert.equal(json['code'], 'VERSION_ROLLBACK');
  });

  test('starts at 1.root.json and walks on; later runs start at what was kept (R1)', async () => {
    fixture.world.director.publishRoot();
    fixture.serve();
    await fixture.run(fixture.withState);
    assert.equal(
      readFileSync(fixture.at('state/director/root.json'), 'utf8'),
      Buffer.from(fixture.world.director.file('2.root.json')).toString(),
    );
    rmSync(fixture.at('director', '1.root.json'));
    assert.equal((await fixture.run(fixture.withState)).json['outcome'], 'up-to-date');
  });

  test('is left as it was by a root that cannot start a chain (R8)', async () => {
    fixture.serve();
    fixture.write('image/1.root.json', '{}');
    const { exit, json } = await fixture.run(fixture.withState);
    assert.equal(exit, 20);
    assert.equal(json['code'], 'METADATA_MALFORMED');
    assert.equal(existsSync(fixture.at('state/director/root.json')), false);
  });

  test('keeps delegated roles, and forgets a Snapshot whose key was rotated (R7)', async () => {
    const keys = fixture.world.image.keys.targets;
    fixture.world.image.addDelegated('supplier', {
      keys,
      targets: { 'abc/x.bin': fixture.world.image.targets['fw-1.bin'] ?? {} },
    });
    fixture.world.image.delegations = [{ name: 'supplier', keys, paths: ['abc/*'] }];
    fixture.world.assign('abc/x.bin', [PRIMARY], 'fw-1.bin');
    fixture.world.publish();
    fixture.serve();
    assert.equal((await fixture.run(fixture.withState)).json['outcome'], 'update');
    assert.ok(existsSync(fixture.at('state/image/delegated/supplier.json')));
    fixture.world.director.keys.snapshot = new World().director.keys.snapshot;
    fixture.world.director.publishRoot();
    fixture.serve();
    const { json } = await fixture.run(fixture.withState);
    assert.equal(json['code'], 'THRESHOLD_NOT_MET');
    assert.equal(existsSync(fixture.at('state/director/snapshot.json')), false);
  });

  test('that is damaged is named, and nothing is verified against it (P9)', async () => {
    fixture.serve();
    await fixture.run(fixture.withState);
    fixture.write('state/installed.json', '{"images":[{}]}');
    await rejectsCode(fixture.run(fixture.withState), 'STORAGE_CORRUPT', {
      path: fixture.at('state/installed.json'),
      cause: 'METADATA_MALFORMED path=installed.json.images[0].hashes want="an object"',
      remedy: 'remove it: every image counts as not installed then',
    });
  });

  test('carries release counters (M4, V5)', async () => {
    fixture.world.release('fw-2.bin', [PRIMARY], { releaseCounter: 2 });
    fixture.serve();
    await fixture.run(fixture.withState);
    fixture.world.release('fw-3.bin', [PRIMARY], { releaseCounter: 1 });
    fixture.serve();
    const { exit, json } = await fixture.run(fixture.withState);
    assert.equal(exit, 20);
    assert.deepEqual(json['details'], {
      ecu: 'primary-1',
      filename: 'fw-3.bin',
      trusted: 2,
      offered: 1,
    });
  });
});

describe('images under targets/', () => {
  test('that are good change nothing; others need not be there (V7, V8)', async () => {
    fixture.serve();
    assert.equal((await fixture.run()).json['outcome'], 'update');
    fixture.write('image/targets/fw-1.bin', 'fw-1.bin');
    assert.equal((await fixture.run()).json['outcome'], 'update');
  });

  const bad = [
    { content: 'fw-1.biX', code: 'IMAGE_HASH_MISMATCH', attack: 'arbitrary-software' },
    { content: 'fw-1.bi', code: 'IMAGE_TRUNCATED', attack: null },
    { content: 'fw-1.bin+', code: 'IMAGE_TOO_LARGE', attack: 'endless-data' },
  ] as const;
  for (const { content, code, attack } of bad) {
    test(`are refused with exit 31 and not recorded: ${code} (V7, V8)`, async () => {
      fixture.serve();
      fixture.write('image/targets/fw-1.bin', content);
      const { exit, json } = await fixture.run(fixture.withState);
      assert.deepEqual(
        [exit, json['outcome'], json['code'], json['attack']],
        [31, 'refused', code, attack],
      );
      assert.equal(existsSync(fixture.at('state/installed.json')), false);
      assert.ok(existsSync(fixture.at('state/image/targets.json')));
      assert.equal(
        (await fixture.run([...fixture.withState, '--no-images'])).json['outcome'],
        'update',
      );
    });
  }

  test('have every listed hash checked, not just one (V7)', async () => {
    const target = { ...fixture.world.image.targets['fw-1.bin'] };
    const hashes = { ...hashesOf('fw-1.bin'), sha512: hashesOf('other').sha512 };
    fixture.world.image.targets['fw-1.bin'] = { ...target, hashes };
    fixture.world.director.targets['fw-1.bin'] = {
      ...fixture.world.director.targets['fw-1.bin'],
      hashes,
    };
    fixture.world.publish();
    fixture.serve();
    fixture.write('image/targets/fw-1.bin', 'fw-1.bin');
    const { exit, json } = await fixture.run();
    assert.equal(exit, 31);
    assert.deepEqual(json['details'], {
      filename: 'fw-1.bin',
      algorithm: 'sha512',
      signed: hashes.sha512,
      computed: hashesOf('fw-1.bin').sha512,
    });
  });

  test('may have spaces, plus, percent and letters beyond ASCII in their names (V4)', async () => {
    const filename = 'dir a/b+c/fü%20 1.0.bin';
    fixture.world.release(filename);
    fixture.serve();
    fixture.write(`image/targets/${filename}`, 'other');
    assert.equal((await fixture.run()).exit, 31);
    fixture.write(`image/targets/${filename}`, filename);
    assert.equal((await fixture.run()).exit, 0);
  });

  test('that are no regular files are not read', async () => {
    fixture.serve();
    mkdirSync(fixture.at('image/targets/fw-1.bin'), { recursive: true });
    await assert.rejects(
      fixture.run(),
      (error) => isOtaError(error) && error.code === 'FILE_UNREADABLE',
    );
  });
});
