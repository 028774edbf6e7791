/** What whoever hashes and writes an image has to do. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';

import type { Digests } from '../../agent/io/image-file.ts';
import type { ImageSink } from '../../agent/io/image-sink.ts';
import type { ImageIdentity } from '../../agent/uptane/inventory.ts';
import { temporaryDirectory } from '../support/temporary.ts';

type Open = (handle: FileHandle, image: ImageIdentity) => ImageSink;

/** More than all buffers together, and no multiple of one. */
const IMAGE = randomBytes(5 * 1024 * 1024 + 4097);
/** As TLS hands them out, and one that is larger than a buffer. */
const CHUNKS = [16_384, 1, 16_383, 1_200_000, 65_536];

export function imageSinkContract(name: string, openSink: Open): void {
  describe(`${name} of an image`, () => {
    const directory = temporaryDirectory('image-sink');
    const path = join(directory.path, 'image');
    const opened: { close(): Promise<void> }[] = [];
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close();
    });
    after(() => {
      directory.remove();
    });

    const sinkAt = async (file: string, flags: string): Promise<ImageSink> => {
      const handle = await open(file, flags);
      const sink = openSink(handle, identityOf(IMAGE));
      opened.push(sink, handle);
      return sink;
    };
    const emptySink = (): Promise<ImageSink> => {
      writeFileSync(path, '');
      return sinkAt(path, 'r+');
    };

    test('writes what it takes, in chunks of any size that are used again at once', async () => {
      const sink = await emptySink();
      await feed(sink, IMAGE);
      assert.deepEqual(await sink.flush(), digestsOf(IMAGE));
      assert.equal(sink.lengthBytes, IMAGE.byteLength);
      assert.ok(readFileSync(path).equals(IMAGE));
    });

    test('a mark is what the file has by then, and more may follow', async () => {
      const sink = await emptySink();
      const marks: Digests[] = [];
      for (let at = 0; at < IMAGE.byteLength; at += 700_000) {
        await feed(sink, IMAGE.subarray(at, at + 700_000));
        const { lengthBytes } = sink;
        const mark = await sink.mark();
        assert.equal(mark.lengthBytes, lengthBytes);
        const there = readFileSync(path).subarray(0, lengthBytes);
        assert.ok(there.equals(IMAGE.subarray(0, lengthBytes)));
        marks.push(mark);
      }
      assert.ok(marks.some(({ lengthBytes }) => lengthBytes > 0));
      for (const mark of marks) {
        assert.deepEqual(mark, digestsOf(IMAGE.subarray(0, mark.lengthBytes)));
      }
      assert.deepEqual(await sink.flush(), digestsOf(IMAGE));
    });

    test('goes on after what was reread', async () => {
      writeFileSync(path, IMAGE.subarray(0, 3_000_000));
      const sink = await sinkAt(path, 'r+');
      assert.deepEqual(await sink.reread(2_000_000), digestsOf(IMAGE.subarray(0, 2_000_000)));
      assert.equal(sink.lengthBytes, 2_000_000);
      await feed(sink, IMAGE.subarray(2_000_000));
      assert.deepEqual(await sink.flush(), digestsOf(IMAGE));
      assert.ok(readFileSync(path).equals(IMAGE));
    });

    test('rereads no more than there is, and forgets it when it begins anew', async () => {
      writeFileSync(path, 'something else');
      const sink = await sinkAt(path, 'r+');
      assert.deepEqual(await sink.reread(1_000_000), digestsOf(Buffer.from('something else')));
      await sink.restart();
      assert.equal(sink.lengthBytes, 0);
      await feed(sink, IMAGE);
      assert.deepEqual(await sink.flush(), digestsOf(IMAGE));
      assert.ok(readFileSync(path).equals(IMAGE));
    });

    test('what cannot be written fails with its code, now and from then on', async () => {
      const sink = await sinkAt('/dev/full', 'r+');
      const full = { code: 'ENOSPC' };
      await assert.rejects(async () => {
        await feed(sink, IMAGE);
        await sink.flush();
      }, full);
      await assert.rejects(sink.mark(), full);
      await assert.rejects(sink.flush(), full);
    });

    test('what cannot be reread fails with its code', async () => {
      writeFileSync(path, IMAGE);
      const sink = await sinkAt(path, 'a');
      await assert.rejects(sink.reread(10), { code: 'EBADF' });
    });

    test('when it is closed, what was under way is written, and nothing after it', async () => {
      const sink = await emptySink();
      await feed(sink, IMAGE);
      const { lengthBytes } = sink;
      await sink.close();
      const there = readFileSync(path);
      assert.equal(there.byteLength, lengthBytes);
      assert.ok(there.equals(IMAGE.subarray(0, lengthBytes)));
      await sink.close();
    });
  });
}

async function feed(sink: ImageSink, content: Buffer): Promise<void> {
  for (let at = 0, turn = 0; at < content.byteLength; turn += 1) {
    const chunk = Buffer.from(content.subarray(at, at + (CHUNKS[turn % CHUNKS.length] ?? 1)));
    at += chunk.byteLength;
    await sink.write(chunk);
    chunk.fill(0);
  }
}

function digestsOf(content: Buffer): Digests {
  const { lengthBytes, hashes } = identityOf(content);
  return { lengthBytes, hashes };
}

function identityOf(content: Buffer): ImageIdentity {
  const hashes = ['sha256', 'sha512'].map(
    (name) => [name, createHash(name).update(content).digest('hex')] as const,
  );
  return { filename: 'image', lengthBytes: content.byteLength, hashes: new Map(hashes) };
}
