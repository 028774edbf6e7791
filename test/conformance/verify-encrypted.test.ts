/** `ota-agent verify` on repositories whose Director encrypts: what can be checked without the device. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { hashesOf, type Body } from '../support/build-metadata.ts';
import { encryptedImage } from '../support/encrypted-image.ts';
import { softwareKey } from '../support/secrets-key.ts';
import { ServedWorld } from '../support/served-world.ts';
import { directorTarget, imageTarget, PRIMARY } from '../support/uptane-world.ts';
import { VerifyFixture, type VerifyResult } from '../support/verify-fixture.ts';

const NAME = 'fw.bin';

describe('a target that is encrypted for one device', () => {
  let fixture: VerifyFixture;
  let cipher: Buffer;
  let encryption: Body;
  beforeEach(async () => {
    fixture = new VerifyFixture();
    const made = await encryptedImage(Buffer.from(NAME), softwareKey().registered);
    cipher = made.cipher;
    const { chunkBytes, key } = made.encrypted;
    const hashes = { sha256: createHash('sha256').update(cipher).digest('hex') };
    encryption = { format: 'A256GCM-CHUNKS-1', chunkBytes, key, length: cipher.length, hashes };
  });
  afterEach(() => {
    fixture.remove();
  });

  /** @param changes - of what the Director says of encryption */
  const publish = (changes: Body = {}): void => {
    const { world } = fixture;
    const target = directorTarget(NAME, [PRIMARY]);
    const custom = { ...(target['custom'] as Body), encryption: { ...encryption, ...changes } };
    world.director.targets = { [NAME]: { ...target, custom } };
    world.image.targets = { [NAME]: imageTarget(NAME, [PRIMARY]) };
    world.publish();
    fixture.serve();
  };
  const images = ({ json }: VerifyResult): unknown => json['images'];

  test('is printed with length and hashes of both, the image and its cipher text', async () => {
    publish();
    const { exit, json, lines } = await fixture.run();
    assert.equal(exit, 0);
    const { length, hashes } = encryption;
    const target = { ecu: PRIMARY.serial, filename: NAME, length: 6, hashes: hashesOf(NAME) };
    assert.deepEqual(json['targets'], [{ ...target, encryption: { length, hashes } }]);
    const { sha256 } = hashes as { readonly sha256: string };
    assert.match(lines[1] ?? '', new RegExp(`, encrypted: \\(22 bytes\\) sha256:${sha256}$`, 'u'));
  });

  test('is verified as the image that a repository has, and as the cipher text that a device gets', async () => {
    publish();
    for (const content of [NAME, cipher]) {
      fixture.write(`image/targets/${NAME}`, content);
      const result = await fixture.run(['--images']);
      assert.equal(result.exit, 0);
      assert.deepEqual(images(result), [{ filename: NAME, status: 'verified' }]);
    }
  });

  test('is refused where a file is neither of them', async () => {
    publish();
    const changed = Buffer.from(cipher);
    changed.writeUInt8(changed.readUInt8(3) ^ 1, 3);
    for (const [content, code] of [
      [changed, 'IMAGE_HASH_MISMATCH'],
      ['fw.biX', 'IMAGE_HASH_MISMATCH'],
      ['fw.bi', 'IMAGE_TRUNCATED'],
      [cipher.subarray(1), 'IMAGE_TOO_LARGE'],
    ] as const) {
      fixture.write(`image/targets/${NAME}`, content);
      const { exit, json } = await fixture.run();
      assert.deepEqual([exit, json['code']], [31, code]);
    }
  });

  test('is asked of a server as a device asks for it: the cipher text, and not the image', async (t) => {
    publish();
    const web = new ServedWorld(fixture.world);
    t.after(() => web.close());
    await web.open();
    const outcomes: unknown[] = [];
    for (const content of [cipher, Buffer.from(NAME)]) {
      web.faults.set(`image/targets/${NAME}`, (response) => response.writeHead(200).end(content));
      const { exit, json } = await fixture.run(['--image', web.url('image'), '--images']);
      outcomes.push([exit, json['code']]);
    }
    assert.deepEqual(outcomes, [
      [0, null],
      [31, 'IMAGE_TRUNCATED'],
    ]);
  });

  test('is refused at the place in the Director’s Targets that cannot be right', async () => {
    publish({ length: cipher.length + 16 });
    const { exit, json } = await fixture.run();
    assert.deepEqual(
      [exit, json['code'], json['file']],
      [20, 'METADATA_MALFORMED', 'director/targets.json'],
    );
    assert.deepEqual(json['details'], {
      path: `director/targets.signed.targets.${NAME}.custom.encryption.length`,
      want: '22: the image, and a tag for each chunk',
    });
  });
});
