import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { FAULTS, rowOf, type ActiveFault, type FaultName } from '../director/faults.ts';
import type { SimulatedDevice } from '../director/simulated/device.ts';
import { SqlStore } from '../director/state/sql-store.ts';
import { examine, payload, version } from '../unit/director/examine.ts';
import {
  answered,
  controlRefuses,
  publishImage,
  servedTo,
  startFixture,
  type Fixture,
} from './director-fixture.ts';

const NAMES = Object.keys(FAULTS) as FaultName[];
const IMAGE = '/repo/targets/fw-2.bin';

let fixture: Fixture;
let device: SimulatedDevice;
let other: SimulatedDevice;
let content: Buffer;

before(async () => {
  fixture = await startFixture({ keyType: 'rsa-2048' });
  device = await fixture.newDevice('victim');
  other = await fixture.newDevice('bystander');
  for (const one of [device, other]) await one.register();
  content = randomBytes(4096);
  for (const filename of ['fw-1.bin', 'fw-2.bin']) {
    await publishImage(fixture, filename, filename === 'fw-2.bin' ? content : randomBytes(10));
    for (const one of [device, other]) {
      await fixture.director.assign(one.id, filename);
      await one.get('/director/targets.json');
    }
  }
});
after(async () => {
  await fixture.end();
});

async function active(): Promise<readonly ActiveFault[]> {
  const { active: on } = (await fixture.director.control('GET', '/faults')) as {
    active: ActiveFault[];
  };
  return on;
}

/** The files that say what is honestly true, and what was signed for devices. */
async function honestState(): Promise<unknown> {
  const { stateDir } = fixture.director;
  const files = ['image/repository.json', 'director/repository.json'];
  const store = await SqlStore.open(join(stateDir, 'store.sqlite'));
  try {
    return [
      ...files.map((file) => readFileSync(join(stateDir, file), 'utf8')),
      await store.find('victim'),
      await store.issued('victim'),
      await store.issued('bystander'),
    ];
  } finally {
    await store.close();
  }
}

async function during<T>(
  name: FaultName,
  parameters: Record<string, number | string>,
  act: () => Promise<T>,
): Promise<T> {
  await fixture.director.fault(name, 'on', { device: device.id, parameters });
  try {
    return await act();
  } finally {
    await fixture.director.fault(name, 'off', { device: device.id });
  }
}

describe('the switchboard of the faults', () => {
  for (const name of NAMES) {
    test(`${name} goes on with its defaults, for all or for one, and off again`, async () => {
      const { director } = fixture;
      const { parameters } = rowOf(name);
      await director.fault(name, 'on');
      await director.fault(name, 'on', { device: 'victim' });
      assert.deepEqual(await active(), [
        { name, parameters },
        { name, parameters, device: 'victim' },
      ]);
      await director.fault(name, 'off', { device: 'victim' });
      assert.deepEqual(await active(), [{ name, parameters }]);
      await director.fault(name, 'off');
      assert.deepEqual(await active(), []);
    });
  }

  test('refuses names, parameters and values that do not exist', async () => {
    const { director } = fixture;
    await controlRefuses(director.control('PUT', '/faults/nothing'), 404, 'fault_not_found');
    await controlRefuses(director.control('DELETE', '/faults/__proto__'), 404, 'fault_not_found');
    const wrong = { parameters: { speed: 1 } };
    await controlRefuses(
      director.control('PUT', '/faults/image-slow', wrong),
      400,
      'parameter_unknown',
    );
    const text = { parameters: { bytesPerSecond: 'fast' } };
    await controlRefuses(
      director.control('PUT', '/faults/image-slow', text),
      400,
      'json_malformed',
    );
    assert.deepEqual(await active(), []);
  });

  test('refuses a rollback when there is nothing older to go back to', async () => {
    const fresh = await startFixture();
    try {
      await (await fresh.newDevice('new')).get('/director/targets.json');
      for (const name of NAMES.filter((one) => one.includes('rollback'))) {
        await controlRefuses(fresh.director.fault(name, 'on'), 409, 'nothing_to_roll_back');
      }
    } finally {
      await fresh.end();
    }
  });
});

describe('metadata faults on the wire', () => {
  const metadata = NAMES.filter((name) =>
    rowOf(name).stages.some((stage) => stage === 'image-metadata' || stage === 'director-metadata'),
  );
  for (const name of metadata) {
    test(`${name} strikes one device, keeps the state honest, and ends with better versions`, async () => {
      const repo = rowOf(name).stages.includes('director-metadata') ? 'director' : 'repo';
      const before = await servedTo(device, repo, 1);
      const bystander = await servedTo(other, repo, 1);
      const state = await honestState();
      const forged = await during(name, {}, async () => {
        const first = await servedTo(device, repo, 1);
        assert.deepEqual(await servedTo(device, repo, 1), first, 'the same lie every time');
        assert.deepEqual(await servedTo(other, repo, 1), bystander);
        assert.deepEqual(await honestState(), state);
        return first;
      });
      const restored = await servedTo(device, repo, 1);
      assert.deepEqual(examine(restored, Date.now()), []);
      if (name === 'root-not-signed-by-old') return;
      assert.notDeepEqual(forged, before);
      if (rowOf(name).raisesVersions !== true) {
        assert.deepEqual(restored, before);
        return;
      }
      for (const level of ['targets', 'snapshot', 'timestamp'] as const) {
        assert.ok(version(restored.set[level]) > version(forged.set[level]), level);
      }
      assert.deepEqual(
        payload(restored.set.targets)['targets'],
        payload(before.set.targets)['targets'],
      );
    });
  }

  test('root-not-signed-by-old offers one more root, which is gone afterwards (§5.4.4.3)', async () => {
    await during('root-not-signed-by-old', { repo: 'director' }, async () => {
      const served = await servedTo(device, 'director', 2);
      assert.deepEqual(examine(served, Date.now()), ['root 2 signature']);
      answered(await device.get('/director/3.root.json'), 424, 'root_role_not_found');
      answered(await device.get('/repo/2.root.json'), 424, 'root_role_not_found');
    });
    answered(await device.get('/director/2.root.json'), 424, 'root_role_not_found');
  });

  test('metadata-oversized: the file, and then blanks without end', async () => {
    const honest = await device.get('/repo/timestamp.json');
    await during('metadata-oversized', { bytes: 100_000, file: 'timestamp.json' }, async () => {
      const { body } = await device.get('/repo/timestamp.json');
      assert.equal(body.length, 100_000);
      assert.equal(body.toString().trim(), honest.body.toString());
      assert.ok((await device.get('/repo/snapshot.json')).body.length < 10_000);
    });
    await during('metadata-oversized', {}, async () => {
      const limitBytes = 8 * 1024 * 1024;
      assert.ok((await device.get('/repo/targets.json')).body.length > limitBytes);
    });
  });

  test('metadata-garbage: HTML with status 200', async () => {
    await during('metadata-garbage', {}, async () => {
      const answer = await device.get('/director/targets.json');
      assert.equal(answer.status, 200);
      assert.match(answer.body.toString(), /^<!DOCTYPE html>/u);
    });
  });
});

describe('image faults on the wire', () => {
  test('image-bit-flip: one bit, at the byte that was asked for, also within a range', async () => {
    await during('image-bit-flip', { at: 1000 }, async () => {
      const wrong = Buffer.from(content);
      wrong.writeUInt8(wrong.readUInt8(1000) ^ 1, 1000);
      assert.ok((await device.get(IMAGE)).body.equals(wrong));
      const part = await device.get(IMAGE, { range: 'bytes=990-1010' });
      assert.ok(part.body.equals(wrong.subarray(990, 1011)));
      assert.ok((await other.get(IMAGE)).body.equals(content));
    });
    assert.ok((await device.get(IMAGE)).body.equals(content));
  });

  test('image-truncated: shorter, but a complete answer', async () => {
    await during('image-truncated', { missingBytes: 96 }, async () => {
      const { status, headers, body } = await device.get(IMAGE);
      assert.deepEqual([status, headers['content-length']], [200, '4000']);
      assert.ok(body.equals(content.subarray(0, 4000)));
    });
  });

  test('image-endless: goes on after the image', async () => {
    await during('image-endless', { maxBytes: 1_000_000 }, async () => {
      const { headers, body } = await device.get(IMAGE);
      assert.equal(headers['content-length'], undefined);
      assert.ok(body.length >= 1_000_000);
      assert.ok(body.subarray(0, content.length).equals(content));
    });
  });

  test('image-slow: takes its time', async () => {
    await during('image-slow', { bytesPerSecond: 10_000 }, async () => {
      const started = performance.now();
      const { body } = await device.get(IMAGE);
      assert.ok(body.equals(content));
      // 4096 bytes at this speed; timers may be a little early, never much.
      assert.ok(performance.now() - started > 350);
    });
  });

  test('image-reset: the connection dies in the middle, and a range goes on', async () => {
    await during('image-reset', { afterBytes: 1000, times: 1 }, async () => {
      await assert.rejects(device.get(IMAGE), { code: 'ECONNRESET' });
      assert.deepEqual(await active(), []);
      const rest = await device.get(IMAGE, { range: 'bytes=1000-' });
      assert.ok(rest.body.equals(content.subarray(1000)));
    });
  });

  test('image-missing: 404', async () => {
    await during('image-missing', {}, async () => {
      answered(await device.get(IMAGE), 404, 'missing_entity');
    });
  });
});

describe('answer faults on the wire', () => {
  test('http-500 and http-503 for a path, as often as asked, 503 with Retry-After', async () => {
    await during('http-500', { path: '/repo/', times: 2 }, async () => {
      assert.equal((await device.get('/director/targets.json')).status, 200);
      answered(await device.get('/repo/timestamp.json'), 500, 'internal_server_error');
      answered(await device.get(IMAGE), 500, 'internal_server_error');
      assert.equal((await device.get('/repo/timestamp.json')).status, 200);
    });
    await during('http-503', { retryAfterSeconds: 7 }, async () => {
      const answer = await device.sendManifest({ counter: 1 });
      answered(answer, 503, 'service_unavailable');
      assert.equal(answer.headers['retry-after'], '7');
    });
    assert.equal((await device.sendManifest({ counter: 1 })).status, 200);
  });

  test('events-301 redirects POST /events to /events/', async () => {
    await during('events-301', {}, async () => {
      const answer = await device.call('POST', '/events', { body: '[]' });
      assert.deepEqual([answer.status, answer.headers.location], [301, '/events/']);
      assert.equal((await device.call('POST', '/events/', { body: '[]' })).status, 204);
    });
    assert.equal((await device.call('POST', '/events', { body: '[]' })).status, 204);
  });
});
