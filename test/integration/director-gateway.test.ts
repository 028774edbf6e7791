import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import type { JsonMap } from '../director/json/canonical-json.ts';
import { examine, payload } from '../unit/director/examine.ts';
import {
  answered,
  publishImage,
  servedTo,
  startFixture,
  type Fixture,
} from './director-fixture.ts';

let fixture: Fixture;
const newDevice: Fixture['newDevice'] = (id, ecus) => fixture.newDevice(id, ecus);

before(async () => {
  fixture = await startFixture();
});
after(async () => {
  await fixture.end();
});

describe('the gateway: metadata', () => {
  test('an idle device is served the same bytes, which verify', async () => {
    const device = await newDevice('idle-1');
    await device.register();
    for (const repo of ['director', 'repo'] as const) {
      const first = await servedTo(device, repo, 1);
      assert.deepEqual(examine(first, Date.now()), []);
      assert.deepEqual(await servedTo(device, repo, 1), first);
      const latest = await device.get(`/${repo}/root.json`);
      assert.equal(latest.body.toString(), first.roots[0]);
    }
  });

  test('the end of a root chain is 424 root_role_not_found', async () => {
    const device = await newDevice('roots-1');
    for (const repo of ['director', 'repo']) {
      for (const name of ['99.root.json', '123456789.root.json']) {
        answered(await device.get(`/${repo}/${name}`), 424, 'root_role_not_found');
      }
      answered(await device.get(`/${repo}/0.root.json`), 424, 'root_role_not_found');
      answered(await device.get(`/${repo}/1.targets.json`), 404, 'missing_entity');
      answered(await device.get(`/${repo}/mirrors.json`), 404, 'missing_entity');
    }
    answered(await device.get('/repo/delegations/nobody.json'), 404, 'missing_entity');
    answered(await device.get('/repo/delegations/__proto__.json'), 404, 'missing_entity');
  });

  test('Director targets without images name the vehicle (§5.3.2.2)', async () => {
    const device = await newDevice('empty-1');
    const { targets, custom } = payload(
      (await device.get('/director/targets.json')).body.toString(),
    );
    assert.deepEqual({ targets, custom }, { targets: {}, custom: { vehicleId: 'empty-1' } });
  });

  test('an assignment raises the versions of this device only', async () => {
    const [device, other] = [await newDevice('assign-1'), await newDevice('assign-2')];
    await device.register();
    await other.register();
    const image = await publishImage(fixture, 'assign.bin', randomBytes(10));
    const [mine, theirs] = [
      await servedTo(device, 'director', 1),
      await servedTo(other, 'director', 1),
    ];
    const { correlationId } = await fixture.director.assign('assign-1', 'assign.bin');
    const served = await servedTo(device, 'director', 1);
    assert.deepEqual(examine(served, Date.now()), []);
    assert.equal(payload(served.set.targets)['version'], 2);
    assert.equal(payload(mine.set.targets)['version'], 1);
    assert.deepEqual(payload(served.set.targets)['custom'], {
      correlationId,
      vehicleId: 'assign-1',
    });
    assert.deepEqual(payload(served.set.targets)['targets'], {
      'assign.bin': {
        custom: {
          ecuIdentifiers: { 'primary-1': { hardwareId: 'primary-hw' } },
          targetFormat: 'BINARY',
        },
        hashes: {
          sha256: image.sha256,
          sha512: createHash('sha512').update(image.content).digest('hex'),
        },
        length: 10,
      },
    });
    assert.deepEqual(await servedTo(other, 'director', 1), theirs);
  });

  test('cancelling an assignment empties the targets, with a higher version', async () => {
    const device = await newDevice('cancel-1');
    await device.register();
    await publishImage(fixture, 'cancel.bin', randomBytes(10));
    await fixture.director.assign('cancel-1', 'cancel.bin');
    await device.get('/director/targets.json');
    await fixture.director.control('DELETE', '/devices/cancel-1/assignment');
    const { version, targets } = payload(
      (await device.get('/director/targets.json')).body.toString(),
    );
    assert.deepEqual({ version, targets }, { version: 2, targets: {} });
  });

  test('a delegated role signs for what is put in it', async () => {
    const device = await newDevice('delegated-1');
    await fixture.director.control('POST', '/delegations', { name: 'supplier', paths: ['abc/*'] });
    await fixture.director.publish({
      path: import.meta.filename,
      name: 'abc/x.bin',
      hardwareIds: ['hw'],
      version: '1',
      role: 'supplier',
      releaseCounter: 7,
    });
    const served = await servedTo(device, 'repo', 1);
    const delegated = (await device.get('/repo/delegations/supplier.json')).body.toString();
    const set = { ...served.set, delegations: { supplier: delegated } };
    assert.deepEqual(examine({ ...served, set }, Date.now()), []);
    const { targets } = payload(delegated) as { targets: Record<string, { custom: JsonMap }> };
    assert.deepEqual(Object.keys(targets), ['abc/x.bin']);
    assert.equal(targets['abc/x.bin']?.custom['releaseCounter'], 7);
    const top = payload(served.set.targets) as {
      targets: JsonMap;
      delegations: { roles: JsonMap[] };
    };
    assert.equal(Object.hasOwn(top.targets, 'abc/x.bin'), false);
    const [role] = top.delegations.roles;
    assert.deepEqual(
      { name: role?.['name'], paths: role?.['paths'], terminating: role?.['terminating'] },
      { name: 'supplier', paths: ['abc/*'], terminating: false },
    );
  });
});

describe('the gateway: images', () => {
  const content = randomBytes(1_000_003);
  const path = `/repo/targets/${encodeURIComponent('dir a/größe 100%.bin')}`;

  before(async () => {
    await publishImage(fixture, 'dir a/größe 100%.bin', content);
  });

  test('come whole, by percent-encoded name, with their length', async () => {
    const device = await newDevice('images-1');
    for (const url of [path, '/repo/targets/dir%20a/gr%C3%B6%C3%9Fe%20100%25.bin']) {
      const answer = await device.get(url);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['content-length'], '1000003');
      assert.equal(answer.headers['accept-ranges'], 'bytes');
      assert.ok(answer.body.equals(content));
    }
  });

  for (const [range, start, end] of [
    ['bytes=0-0', 0, 0],
    ['bytes=500000-', 500_000, 1_000_002],
    ['bytes=10-19', 10, 19],
    ['bytes=-3', 1_000_000, 1_000_002],
    ['bytes=1000002-9999999', 1_000_002, 1_000_002],
    ['bytes=-9999999', 0, 1_000_002],
  ] as const) {
    test(`come in part for ${range} (RFC 9110 §14)`, async () => {
      const device = await newDevice('images-1');
      const answer = await device.get(path, { range });
      assert.equal(answer.status, 206);
      const told = `bytes ${String(start)}-${String(end)}/1000003`;
      assert.equal(answer.headers['content-range'], told);
      assert.ok(answer.body.equals(content.subarray(start, end + 1)));
    });
  }

  for (const range of ['bytes=5-2', 'bytes=0-1,5-6', 'bytes=-', 'lines=1-2', 'bytes=a-b']) {
    test(`come whole for ${range}, which is malformed or not supported`, async () => {
      const device = await newDevice('images-1');
      const answer = await device.get(path, { range });
      assert.equal(answer.status, 200);
      assert.ok(answer.body.equals(content));
    });
  }

  test('are 416 beyond their end, and 404 under names that were not published', async () => {
    const device = await newDevice('images-1');
    const beyond = await device.get(path, { range: 'bytes=1000003-' });
    answered(beyond, 416, 'range_not_satisfiable');
    assert.equal(beyond.headers['content-range'], 'bytes */1000003');
    answered(await device.get('/repo/targets/nothing'), 404, 'missing_entity');
    answered(await device.get('/repo/targets/..%2f..%2fserver-key.pem'), 404, 'missing_entity');
    assert.equal((await device.get('/repo/targets/%zz')).status, 400);
  });
});
