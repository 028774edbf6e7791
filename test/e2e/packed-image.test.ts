/** Images that the Image repository publishes packed, from there into a slot that runs. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { PublishOptions } from '../director/start.ts';
import { DEVICE, describe as said, HARDWARE, openWorld, type World } from '../support/world.ts';

describe('images that are published packed', () => {
  let world: World;
  before(async () => {
    world = await openWorld('provisioned');
  });
  after(() => world.close());

  const publish = async (
    name: string,
    content: Buffer,
    how: Partial<PublishOptions>,
  ): Promise<void> => {
    const path = join(world.directory, name);
    writeFileSync(path, content);
    const image = { path, name, hardwareIds: [HARDWARE], version: '1' };
    await world.director.publish({ ...image, ...how });
    await world.director.assign(DEVICE, name);
  };

  for (const compression of ['gzip', 'xz', 'zstd'] as const) {
    test(`${compression}: what runs is the image, unpacked`, async () => {
      const { device } = world;
      const content = Buffer.concat([Buffer.alloc(1_000_000, compression), randomBytes(200_000)]);
      await publish(`${compression}.img`, content, { compression });
      const written = await device.agent(['once']);
      assert.equal(written.exit, 11, said(written));
      device.boot();
      const confirmed = await device.agent(['once']);
      assert.equal(confirmed.exit, 0, said(confirmed));
      assert.ok(device.running(content.byteLength).equals(content));
    });
  }

  test('one that is not what it is declared to be is exit 31, and nothing of it runs', async () => {
    const { device } = world;
    const before = device.running(100);
    const uncompressed = { length: 5, hashes: { sha256: '00'.repeat(32) } };
    await publish('plain.img', Buffer.alloc(100_000, 'plain'), {
      custom: { compression: 'gzip', uncompressed },
    });
    const result = await device.agent(['once']);
    assert.equal(result.exit, 31, said(result));
    assert.equal(result.json['code'], 'IMAGE_MALFORMED');
    const { filename, format, problem } = result.json['details'] as Record<string, string>;
    assert.deepEqual([filename, format], ['plain.img', 'gzip']);
    assert.match(problem ?? '', /incorrect header check/u);
    device.boot();
    assert.ok(device.running(100).equals(before));
  });
});
