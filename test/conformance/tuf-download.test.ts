/** Target files as a plain TUF client downloads them (TUF specification §5.7; V7, V8), and its process. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';

import { rejectsCode } from '../support/expect-code.ts';
import { inDays, TufBench } from '../support/tuf-client-driver.ts';
import { ed25519Key } from '../support/tuf-keys.ts';
import { hashesOf, TufRepository } from '../support/tuf-repository.ts';

const CLIENT = join(import.meta.dirname, 'tuf-client', 'tuf-client');
const run = promisify(execFile);

async function serving(path: string, content: string, consistent = true): Promise<TufBench> {
  const repository = new TufRepository(ed25519Key, consistent);
  repository.addTarget(path, content);
  repository.publish();
  return TufBench.open(repository);
}

describe('a download', () => {
  for (const path of [
    'file',
    'a/b/file.bin',
    '?',
    '#',
    'a b',
    'ö/%2F',
    "it's (1)*!",
    '/leading',
    'a//b',
  ]) {
    test(`finds ${path}, and keeps it percent-encoded`, async () => {
      for (const consistent of [true, false]) {
        await using bench = await serving(path, 'content', consistent);
        await bench.download(path);
        const name = encodeURIComponent(path).replace(
          /[!'()*]/gu,
          (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`,
        );
        assert.deepEqual(bench.downloaded(), { [name]: 'content' });
        const slash = path.lastIndexOf('/') + 1;
        const prefix = consistent ? `${hashesOf('content').sha256}.` : '';
        const served = `targets/${path.slice(0, slash)}${prefix}${path.slice(slash)}`;
        assert.equal(bench.server.requests.at(-1), served);
      }
    });
  }

  test('of several targets gets them all; of an empty one, an empty file', async () => {
    await using bench = await serving('one', '');
    bench.repository.addTarget('two', '2');
    bench.repository.publish();
    await bench.download('one', 'two');
    assert.deepEqual(bench.downloaded(), { one: '', two: '2' });
  });

  test('is not done again, unless the file is not what it should be', async () => {
    await using bench = await serving('file', 'content');
    await bench.download('file');
    assert.deepEqual(await bench.download('file'), ['2.root.json', 'timestamp.json']);
    for (const wrong of ['tampered', 'contents', '']) {
      writeFileSync(join(bench.targets, 'file'), wrong);
      assert.equal((await bench.download('file')).length, 3);
      assert.deepEqual(bench.downloaded(), { file: 'content' });
    }
    bench.repository.addTarget('file', 'changed');
    bench.repository.publish();
    await bench.download('file');
    assert.deepEqual(bench.downloaded(), { file: 'changed' });
  });

  const wrong = [
    ['shorter', 'conten', 'IMAGE_TRUNCATED', { lengthBytes: 7, receivedBytes: 6 }],
    ['longer', 'content!', 'IMAGE_TOO_LARGE', { lengthBytes: 7 }],
  ] as const;
  for (const [what, served, code, details] of wrong) {
    test(`${what} than signed leaves nothing behind`, async () => {
      await using bench = await serving('file', 'content', false);
      bench.repository.files.set('file', Buffer.from(served));
      await rejectsCode(bench.download('file'), code, { filename: 'file', ...details });
      assert.deepEqual(bench.downloaded(), {});
    });
  }

  test('of other bytes leaves nothing behind, and what was there as it was', async () => {
    await using bench = await serving('file', 'content', false);
    bench.repository.files.set('file', Buffer.from('CONTENT'));
    const [signed, computed] = [hashesOf('content').sha256, hashesOf('CONTENT').sha256];
    const details = { filename: 'file', algorithm: 'sha256', signed, computed };
    await rejectsCode(bench.download('file'), 'IMAGE_HASH_MISMATCH', details);
    assert.deepEqual(bench.downloaded(), {});
    writeFileSync(join(bench.targets, 'file'), 'before');
    await rejectsCode(bench.download('file'), 'IMAGE_HASH_MISMATCH', details);
    assert.deepEqual(bench.downloaded(), { file: 'before' });
  });

  test('has to match every hash that is signed', async () => {
    await using bench = await serving('file', 'content', false);
    const { length, hashes } = bench.repository.targets['file'] as {
      length: number;
      hashes: object;
    };
    const sha512 = '0'.repeat(128);
    bench.repository.targets = { file: { length, hashes: { ...hashes, sha512 } } };
    bench.repository.publish();
    const computed = hashesOf('content').sha512;
    const details = { filename: 'file', algorithm: 'sha512', signed: sha512, computed };
    await rejectsCode(bench.download('file'), 'IMAGE_HASH_MISMATCH', details);
    assert.deepEqual(bench.downloaded(), {});
  });

  test('of what is unknown or not there fails', async () => {
    await using bench = await serving('file', 'content');
    const unknown = { filename: 'other', searched: 'targets' };
    await rejectsCode(bench.download('other'), 'TARGET_NOT_IN_IMAGE_REPO', unknown);
    bench.repository.files.clear();
    await assert.rejects(bench.download('file'), /is not there/u);
    assert.deepEqual(bench.downloaded(), {});
  });

  test('never leaves its directory', async () => {
    for (const path of ['..', '.', '../up', 'a/../b', 'a/..']) {
      await using bench = await serving(path, 'content');
      const details = { filename: path, problem: 'a relative segment' };
      await rejectsCode(bench.download(path), 'TARGET_NAME_UNSAFE', details);
      assert.deepEqual(bench.downloaded(), {});
    }
  });
});

describe('the process', () => {
  test('ends with 0 or 1, takes options in any order, and judges by a faked clock', async () => {
    const repository = new TufRepository();
    repository.expires.timestamp = inDays(30);
    repository.addTarget('file', 'content');
    repository.publish();
    await using bench = await TufBench.open(repository);
    const [metadata, root] = [join(bench.metadata, 'own'), join(bench.targets, 'root.json')];
    writeFileSync(root, repository.served.get('1.root.json') ?? '');
    const clock = ['faketime', '-f'] as const;
    const client = (at: string, ...args: readonly string[]): Promise<unknown> =>
      run(clock[0], [clock[1], at, CLIENT, '--metadata-dir', metadata, ...args]);
    const today = '2026-11-21 00:00:00';
    const url = ['--metadata-url', bench.server.metadataUrl];
    await client(today, 'init', root);
    await client(today, ...url, 'refresh');
    const targets = join(bench.targets, 'own');
    mkdirSync(targets);
    const from = ['--target-name', 'file', `--target-base-url=${bench.server.targetsUrl}`];
    await client(today, 'download', ...from, '--target-dir', targets, ...url);
    const expired = { code: 1, stdout: '', stderr: /METADATA_EXPIRED .*role=timestamp/u };
    await assert.rejects(client('2027-01-01 00:00:00', ...url, 'refresh'), expired);
    await assert.rejects(client(today, 'refresh'), { code: 1, stderr: /--metadata-url/u });
    await assert.rejects(client(today, ...url, 'unknown'), { code: 1 });
  });
});
