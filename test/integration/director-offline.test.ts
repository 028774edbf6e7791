/** Lockboxes and sticks as the operator's API makes them. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { ControlFailure } from '../director/control/client.ts';
import { startFixture, type Fixture } from './director-fixture.ts';

interface Envelope {
  readonly signatures: readonly { readonly keyid: string }[];
  readonly signed: {
    readonly version: number;
    readonly meta: Readonly<Record<string, { version: number; hashes: { sha256: string } }>>;
    readonly targets: Readonly<Record<string, { custom: object; hashes: { sha256: string } }>>;
    readonly roles: Readonly<Record<string, { keyids: readonly string[] }>>;
  };
}

let fixture: Fixture;
let at: string;
let images = 0;

before(async () => {
  fixture = await startFixture();
  at = join(fixture.director.stateDir, '..', 'stick');
});
after(async () => {
  await fixture.end();
});

async function publish(name: string, more: object = {}): Promise<void> {
  images += 1;
  const path = join(fixture.director.stateDir, '..', `image-${String(images)}`);
  writeFileSync(path, `content of ${name}`);
  await fixture.director.publish({ path, name, hardwareIds: ['hw'], version: '1', ...more });
}

const lockbox = (name: string, ...of: readonly string[]): Promise<unknown> =>
  fixture.director.control('POST', '/lockboxes', { name, images: of });
const stick = (...lockboxes: readonly string[]): Promise<unknown> =>
  fixture.director.control('POST', '/sticks', { directory: at, lockboxes });
const read = (path: string): Envelope =>
  JSON.parse(readFileSync(join(at, 'metadata', path), 'utf8')) as Envelope;
const refused = async (act: Promise<unknown>, status: number, code: string): Promise<void> => {
  await assert.rejects(act, (error) => {
    assert.ok(error instanceof ControlFailure);
    assert.deepEqual([error.status, error.code], [status, code]);
    return true;
  });
};

describe('a stick', () => {
  test('has what its lockboxes need, and a list of all that there are', async () => {
    await publish('a.img', { releaseCounter: 4 });
    await publish('b.img');
    await lockbox('spring', 'a.img');
    await lockbox('autumn', 'b.img');
    await lockbox('spring', 'a.img');
    await stick('spring');
    const list = read('director/offline-snapshot.json').signed;
    assert.deepEqual(Object.keys(list.meta), ['autumn.json', 'spring.json']);
    const bytes = readFileSync(join(at, 'metadata', 'director', 'spring.json'));
    const { sha256 } = list.meta['spring.json']?.hashes ?? {};
    assert.equal(createHash('sha256').update(bytes).digest('hex'), sha256);
    const { signed } = read('director/spring.json');
    assert.equal(signed.version, 2);
    assert.deepEqual(signed.targets['a.img']?.custom, {
      hardwareIds: ['hw'],
      releaseCounter: 4,
      targetFormat: 'BINARY',
    });
    assert.deepEqual(readdirSync(join(at, 'images')), [signed.targets['a.img'].hashes.sha256]);
    const { roles } = read('director/2.root.json').signed;
    const [signature] = read('director/spring.json').signatures;
    assert.deepEqual(roles['offline-updates']?.keyids, [signature?.keyid]);
  });

  test('that is written again has no lockbox of before', async () => {
    await stick('autumn');
    const files = readdirSync(join(at, 'metadata', 'director'));
    assert.deepEqual(files.includes('spring.json'), false);
    assert.deepEqual(files.includes('autumn.json'), true);
  });

  test('has everything signed anew by keys that were rotated', async () => {
    const before = read('director/offline-snapshot.json').signed;
    const rotation = { repo: 'director', role: 'offline-updates' };
    await fixture.director.control('POST', '/rotations', rotation);
    await stick();
    const now = read('director/offline-snapshot.json').signed;
    assert.equal(now.version, before.version + 1);
    assert.deepEqual(
      Object.values(now.meta).map(({ version }) => version),
      [2, 3],
    );
    const { roles } = read('director/3.root.json').signed;
    const [signature] = read('director/autumn.json').signatures;
    assert.deepEqual(roles['offline-updates']?.keyids, [signature?.keyid]);
  });

  test('of what there is not, or where nothing can be written, is refused', async () => {
    await refused(lockbox('x', 'nothing.img'), 404, 'image_not_found');
    await refused(lockbox('../x', 'a.img'), 400, 'lockbox_name');
    await refused(lockbox('offline-snapshot', 'a.img'), 400, 'lockbox_name');
    await refused(stick('winter'), 404, 'lockbox_not_found');
    await publish('secret.img', { encrypt: true });
    await refused(lockbox('x', 'secret.img'), 409, 'no_device');
    const file = join(at, 'images', 'file');
    mkdirSync(join(at, 'images'), { recursive: true });
    writeFileSync(file, '');
    const directory = { directory: file };
    await refused(fixture.director.control('POST', '/sticks', directory), 409, 'not_writable');
  });
});
