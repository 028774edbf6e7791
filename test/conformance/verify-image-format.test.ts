import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { rejectsCode } from '../support/expect-code.ts';
import { TufRepository } from '../support/tuf-repository.ts';
import { PRIMARY } from '../support/uptane-world.ts';
import { VerifyFixture } from '../support/verify-fixture.ts';

const FORMAT = ['--image-format', 'tuf'];
const NAME = 'fw.bin';

let fixture: VerifyFixture;
let image: TufRepository;

beforeEach(() => {
  fixture = new VerifyFixture();
  image = new TufRepository();
  fixture.world.assign(NAME, [PRIMARY], 'firmware');
  fixture.world.publish();
  image.addTarget(NAME, 'firmware', 'targets', { hardwareIds: [PRIMARY.hardwareId] });
  image.publish();
  serve();
});
afterEach(() => {
  fixture.remove();
});

function serve(): void {
  fixture.serve();
  rmSync(fixture.at('image'), { recursive: true });
  mkdirSync(fixture.at('image'));
  for (const [name, bytes] of image.served) fixture.write(join('image', name), bytes);
  for (const [name, bytes] of image.files) fixture.write(join('image', 'targets', name), bytes);
}

describe('ota-agent verify --image-format tuf', () => {
  test('judges an Image repository in TUF 1.0, and its images under their hash', async () => {
    const { exit, json } = await fixture.run(FORMAT);
    assert.deepEqual([exit, json['outcome']], [0, 'update']);
    for (const name of image.files.keys())
      fixture.write(join('image', 'targets', name), 'firmwarf');
    const refused = await fixture.run(FORMAT);
    assert.deepEqual([refused.exit, refused.json['code']], [31, 'IMAGE_HASH_MISMATCH']);
  });

  test('carries trust from run to run', async () => {
    const { withState } = fixture;
    await fixture.run([...FORMAT, ...withState]);
    image.version.timestamp = 0;
    image.publishTimestamp((body) => ({ ...body, version: 1 }));
    fixture.world.assign('fw-2.bin', [PRIMARY], 'firmware');
    fixture.world.publish();
    serve();
    const { exit, json } = await fixture.run([...FORMAT, ...withState]);
    assert.deepEqual([exit, json['code'], json['attack']], [20, 'VERSION_ROLLBACK', 'rollback']);
  });

  test('is needed for one, and refuses the other', async () => {
    assert.equal((await fixture.run()).json['code'], 'METADATA_MALFORMED');
    fixture.serve();
    assert.equal((await fixture.run(FORMAT)).json['code'], 'ROLE_TYPE_MISMATCH');
  });

  test('knows two formats', async () => {
    const what = '--image-format is uptane or tuf, not notary';
    const remedy = 'ota-agent verify --help';
    await rejectsCode(fixture.run(['--image-format', 'notary']), 'USAGE', { what, remedy });
  });
});
