/** Where the Director keeps images: on disk, and in a store that speaks S3. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { DirectorFailure, Refusal } from '../director/failure.ts';
import { startDirector } from '../director/start.ts';
import { ImageFiles } from '../director/state/image-files.ts';
import { ObjectStore, type ObjectStoreSettings } from '../director/state/object-store.ts';
import { startSwift, type Swift } from '../support/swift.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { answered, publishImage, startFixture } from './director-fixture.ts';

const temporary = temporaryDirectory('image-store');
const CONTENT = randomBytes(1_500_000);
const SHA256 = createHash('sha256').update(CONTENT).digest('hex');
const source = join(temporary.path, 'source');

let swift: Swift;
before(async () => {
  writeFileSync(source, CONTENT);
  swift = await startSwift(temporary.path);
});
after(async () => {
  await swift.stop();
  temporary.remove();
});

async function bytesOf(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

async function refuses(
  act: Promise<unknown>,
  status: number,
  code: string,
  what: RegExp,
): Promise<void> {
  await assert.rejects(act, (error: unknown) => {
    assert.ok(error instanceof Refusal, String(error));
    assert.deepEqual([error.status, error.code], [status, code]);
    assert.match(error.message, what);
    return true;
  });
}

for (const kind of ['a directory', 'an object store'] as const) {
  describe(`images in ${kind}`, () => {
    const directory = join(temporary.path, kind.replaceAll(' ', '-'));
    let files: ImageFiles;
    before(() => {
      const store = kind === 'a directory' ? undefined : new ObjectStore(swift.settings);
      files = new ImageFiles(directory, 'write', store);
    });

    test('are what was put there, as a whole and in part, under the name of their content', async () => {
      assert.equal(await files.has(SHA256), false);
      const { sha256, lengthBytes } = await files.add(source);
      assert.deepEqual([sha256, lengthBytes], [SHA256, CONTENT.length]);
      assert.equal(await files.has(SHA256), true);
      assert.ok((await bytesOf(files.read(SHA256))).equals(CONTENT));
      for (const [start, end] of [
        [0, 1],
        [700_000, 700_100],
        [CONTENT.length - 5, CONTENT.length],
        [3, 3],
      ] as const) {
        const part = await bytesOf(files.read(SHA256, { start, end }));
        assert.ok(part.equals(CONTENT.subarray(start, end)), `${String(start)}-${String(end)}`);
      }
      assert.deepEqual(readdirSync(directory), kind === 'a directory' ? [SHA256] : []);
    });

    test('may be read by somebody who stops in the middle, and by many at once', async () => {
      for await (const chunk of files.read(SHA256)) {
        assert.ok(chunk.length > 0);
        break;
      }
      const all = await Promise.all(
        Array.from({ length: 5 }, async () => bytesOf(files.read(SHA256))),
      );
      assert.ok(all.every((one) => one.equals(CONTENT)));
    });

    test('are made into others for one device, which lie on disk until they are removed', async () => {
      const made = await files.addFrom(SHA256, async function* (bytes) {
        for await (const chunk of bytes) yield Buffer.from(chunk.map((byte) => byte ^ 1));
      });
      assert.ok(readdirSync(directory).includes(made.sha256));
      assert.ok(files.readMade(made.sha256)?.equals(CONTENT.map((byte) => byte ^ 1)));
      assert.equal((await bytesOf(files.read(made.sha256))).length, CONTENT.length);
      files.removeMade(made.sha256);
      assert.equal(await files.has(made.sha256), false);
    });

    test('that cannot be read leave nothing behind, and those that are removed are gone', async () => {
      const missing = files.add(join(directory, 'nothing'));
      await refuses(missing, 400, 'image_unreadable', /nothing/u);
      await files.remove(SHA256);
      assert.equal(await files.has(SHA256), false);
      assert.deepEqual(readdirSync(directory), []);
    });
  });
}

describe('a store that speaks S3', () => {
  const withKeys = (changes: Partial<ObjectStoreSettings>): ObjectStore =>
    new ObjectStore({ ...swift.settings, ...changes });

  test('refuses what was signed with another key, and what is not what was signed', async () => {
    const stranger = withKeys({ secretAccessKey: 'wrong' });
    const put = stranger.put(SHA256, source, CONTENT.length);
    await refuses(put, 503, 'image_store_unavailable', /403 SignatureDoesNotMatch/u);
    const other = withKeys({}).put('0'.repeat(64), source, CONTENT.length);
    await refuses(other, 503, 'image_store_unavailable', /400/u);
    assert.deepEqual(await swift.list(), []);
  });

  test('is asked at the start: a bucket that is not there is said, and what to do', async () => {
    const stateDir = join(temporary.path, 'no-bucket');
    const env = { ...swift.env, IMAGES_S3_URL: `${swift.settings.url}-not` };
    await assert.rejects(
      startDirector({ stateDir, env }),
      /404 NoSuchBucket[^]*remedy: make the bucket/u,
    );
    const nowhere = withKeys({ url: 'http://127.0.0.1:1/images' });
    await assert.rejects(nowhere.verify(), (error) => error instanceof DirectorFailure);
  });

  test('has what a Director publishes, whose devices get it through the gateway, a part too', async () => {
    const fixture = await startFixture({ env: swift.env });
    try {
      const device = await fixture.newDevice('device-1');
      const { sha256 } = await publishImage(fixture, 'fw.bin', CONTENT);
      assert.deepEqual(await swift.list(), [sha256]);
      assert.deepEqual(readdirSync(join(fixture.director.stateDir, 'images')), []);
      const whole = await device.get('/repo/targets/fw.bin');
      assert.equal(whole.status, 200);
      assert.ok(whole.body.equals(CONTENT));
      const part = await device.get('/repo/targets/fw.bin', { range: 'bytes=1000000-' });
      assert.equal(part.status, 206);
      assert.ok(part.body.equals(CONTENT.subarray(1_000_000)));
      await swift.stop();
      answered(await device.get('/repo/targets/fw.bin'), 503, 'image_store_unavailable');
    } finally {
      await fixture.end();
    }
  });
});
