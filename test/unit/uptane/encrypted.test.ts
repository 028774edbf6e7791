/** What the Director says of encryption, held against the image that both repositories signed. */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { formatState, parseState } from '../../../agent/cycle/state.ts';
import { decryptedOf, downloadOf } from '../../../agent/uptane/plan.ts';
import { hashesOf, type Body } from '../../support/build-metadata.ts';
import { directorTarget, imageTarget, PRIMARY, World } from '../../support/uptane-world.ts';

const CIPHER_BYTES = 'fw.bin'.length + 16;
const ENCRYPTION = {
  format: 'A256GCM-CHUNKS-1',
  chunkBytes: 4096,
  key: 'a..b.c.d',
  length: CIPHER_BYTES,
  hashes: hashesOf('cipher'),
};
const KEPT = ['director/timestamp', 'director/snapshot'];
const PATH = 'director/targets.signed.targets.fw.bin.custom.encryption';

describe('an image that the Director says is encrypted (§5.3.2, §5.4.4.2 step 10)', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  const publish = (change: Body, image: Body = imageTarget('fw.bin', [PRIMARY])): void => {
    const target = directorTarget('fw.bin', [PRIMARY]);
    const custom = { ...(target['custom'] as Body), encryption: { ...ENCRYPTION, ...change } };
    world.director.targets = { 'fw.bin': { ...target, custom } };
    world.image.targets = { 'fw.bin': image };
    world.publish();
  };

  test('keeps length and hashes of the plain image, on which both agree, beside those of the cipher text', () => {
    publish({ uri: 'https://cdn.example/cipher' });
    const [target] = world.update().targets;
    assert.ok(target !== undefined);
    assert.equal(target.lengthBytes, 6);
    assert.deepEqual(Object.fromEntries(target.hashes), hashesOf('fw.bin'));
    const download = downloadOf(target);
    assert.equal(download.lengthBytes, CIPHER_BYTES);
    assert.deepEqual(Object.fromEntries(download.hashes), hashesOf('cipher'));
    assert.equal(download.uri, 'https://cdn.example/cipher');
    assert.equal(download.encrypted, undefined);
    assert.equal(decryptedOf(target).encrypted, undefined);
    assert.equal(decryptedOf(target).lengthBytes, 6);
  });

  test('is not looked for where the plain image is', () => {
    const image = imageTarget('fw.bin', [PRIMARY]);
    const custom = { ...(image['custom'] as Body), uri: 'https://cdn.example/plain' };
    publish({}, { ...image, custom });
    const [target] = world.update().targets;
    assert.ok(target !== undefined);
    assert.equal(downloadOf(target).uri, undefined);
  });

  test('still has to be the image that the Image repository signed', () => {
    publish({}, { ...imageTarget('fw.bin', [PRIMARY]), hashes: hashesOf('evil') });
    const { sha256: director } = hashesOf('fw.bin');
    const { sha256: image } = hashesOf('evil');
    const details = { filename: 'fw.bin', field: 'sha256', director, image };
    const all = ['timestamp', 'snapshot', 'targets'];
    const kept = ['director', 'image'].flatMap((repo) => all.map((role) => `${repo}/${role}`));
    world.refuses('TARGET_MISMATCH', details, kept);
  });

  test('comes out of the stored state as it went in', () => {
    publish({});
    const { targets } = world.update();
    const state = { at: 'writing', plan: { correlationId: 'c', targets }, attempt: 1 } as const;
    const read = parseState(formatState(state));
    assert.ok(read.at === 'writing');
    const [stored] = read.plan.targets;
    assert.deepEqual(stored?.encrypted, targets[0]?.encrypted);
  });

  test('is of the Director alone: an Image repository cannot ask for it', () => {
    const image = imageTarget('fw.bin', [PRIMARY]);
    const custom = { ...(image['custom'] as Body), encryption: ENCRYPTION };
    world.director.targets = { 'fw.bin': directorTarget('fw.bin', [PRIMARY]) };
    world.image.targets = { 'fw.bin': { ...image, custom } };
    world.publish();
    assert.equal(world.update().targets[0]?.encrypted, undefined);
  });

  const length = `${String(CIPHER_BYTES)}: the image, and a tag for each chunk`;
  for (const [what, change, path, want] of [
    ['another format', { format: 'A256GCM-CHUNKS-2' }, 'format', 'A256GCM-CHUNKS-1'],
    ['tiny chunks', { chunkBytes: 4095 }, 'chunkBytes', 'an integer of at least 4096'],
    ['huge chunks', { chunkBytes: 1_048_577 }, 'chunkBytes', 'at most 1048576'],
    ['cipher text as long as the image', { length: 6 }, 'length', 'an integer of at least 16'],
    ['cipher text that is too long', { length: CIPHER_BYTES + 16 }, 'length', length],
    ['no key', { key: 7 }, 'key', 'a string'],
    ['a key without end', { key: 'a'.repeat(4097) }, 'key', 'at most 4096 characters'],
    ['no hashes', { hashes: 7 }, 'hashes', 'an object'],
  ] as const) {
    test(`is refused with ${what}`, () => {
      publish(change);
      world.refuses('METADATA_MALFORMED', { path: `${PATH}.${path}`, want }, KEPT);
    });
  }
});
