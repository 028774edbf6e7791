/** Who hashes and writes images: the event loop, or a thread beside it. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

import { DirectSink } from '../../agent/io/image-sink.ts';
import { readBackInThread, ThreadSink } from '../../agent/io/image-thread.ts';
import { imageSinkContract } from '../contract/image-sink.contract.ts';
import { temporaryDirectory } from '../support/temporary.ts';

imageSinkContract('the event loop', (handle, image) => new DirectSink(handle, image));
imageSinkContract('a thread', (handle, image) => new ThreadSink(handle, image));

describe('a thread', () => {
  const directory = temporaryDirectory('image-thread');
  const path = join(directory.path, 'image');
  const content = randomBytes(9 * 1024 * 1024 + 1);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const image = {
    filename: 'image',
    lengthBytes: content.byteLength,
    hashes: new Map([['sha256', sha256]]),
  };
  after(() => {
    directory.remove();
  });

  test('reads back no more than the image, and says how far it is', async () => {
    writeFileSync(path, Buffer.concat([content, Buffer.from('beyond')]));
    const progress: number[] = [];
    const digests = await readBackInThread(path, image, (readBytes) => progress.push(readBytes));
    assert.deepEqual(digests, { lengthBytes: image.lengthBytes, hashes: image.hashes });
    assert.ok(progress.length >= 2, String(progress));
    assert.deepEqual(
      progress,
      progress.toSorted((a, b) => a - b),
    );
    assert.equal(progress.at(-1), image.lengthBytes);
  });

  test('finds what was changed on the medium, and what is missing', async () => {
    const changed = Buffer.from(content);
    changed[7_000_000] = (changed[7_000_000] ?? 0) ^ 1;
    writeFileSync(path, changed);
    const { hashes } = await readBackInThread(path, image, () => undefined);
    assert.notEqual(hashes.get('sha256'), sha256);
    writeFileSync(path, content.subarray(0, 5_000_001));
    const { lengthBytes } = await readBackInThread(path, image, () => undefined);
    assert.equal(lengthBytes, 5_000_001);
  });

  test('that cannot open what it should read back says why', async () => {
    rmSync(path, { force: true });
    await assert.rejects(
      readBackInThread(path, image, () => undefined),
      {
        code: 'ENOENT',
        message: /no such file or directory, open '.*image'/u,
      },
    );
  });

  test('that ended takes no more', async () => {
    writeFileSync(path, '');
    await using handle = await open(path, 'r+');
    const sink = new ThreadSink(handle, image);
    await sink.close();
    await assert.rejects(sink.mark(), /^Error: the thread that hashes the image has ended$/u);
  });
});
