import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { FAULTS, rowOf, type ActiveFault, type FaultName } from '../director/faults.ts';
import { SqlStore } from '../director/state/sql-store.ts';
import { examine, payload, version } from '../unit/director/examine.ts';
import { startFaultFixture, type FaultFixture } from './director-fault-fixture.ts';
import { answered, controlRefuses, servedTo, startFixture } from './director-fixture.ts';

const NAMES = Object.keys(FAULTS) as FaultName[];

let fixture: FaultFixture;
before(async () => {
  fixture = await startFaultFixture();
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

describe('the switchboard of the faults', () => {
  for (const name of NAMES.filter((one) => rowOf(one).forAll !== true)) {
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

  for (const name of NAMES.filter((one) => rowOf(one).forAll === true)) {
    test(`${name} goes on and off for all, and is refused for one`, async () => {
      const { director } = fixture;
      const one = director.fault(name, 'on', { device: 'victim' });
      await controlRefuses(one, 400, 'fault_for_all');
      assert.deepEqual(await active(), []);
      await director.fault(name, 'on');
      assert.deepEqual(await active(), [{ name, parameters: {} }]);
      assert.deepEqual(await director.control('DELETE', '/faults'), { switchedOff: 1 });
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
      const before = await servedTo(fixture.device, repo, 1);
      const bystander = await servedTo(fixture.other, repo, 1);
      const state = await honestState();
      const forged = await fixture.during(name, {}, async () => {
        const first = await servedTo(fixture.device, repo, 1);
        assert.deepEqual(await servedTo(fixture.device, repo, 1), first, 'the same lie every time');
        assert.deepEqual(await servedTo(fixture.other, repo, 1), bystander);
        assert.deepEqual(await honestState(), state);
        return first;
      });
      const restored = await servedTo(fixture.device, repo, 1);
      assert.deepEqual(examine(restored, Date.now()), []);
      if (name.startsWith('root-')) return;
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
    await fixture.during('root-not-signed-by-old', { repo: 'director' }, async () => {
      const served = await servedTo(fixture.device, 'director', 2);
      assert.deepEqual(examine(served, Date.now()), ['root 2 signature']);
      answered(await fixture.device.get('/director/3.root.json'), 424, 'root_role_not_found');
      answered(await fixture.device.get('/repo/2.root.json'), 424, 'root_role_not_found');
    });
    answered(await fixture.device.get('/director/2.root.json'), 424, 'root_role_not_found');
  });

  test('metadata-oversized: the file, and then blanks without end', async () => {
    const honest = await fixture.device.get('/repo/timestamp.json');
    await fixture.during(
      'metadata-oversized',
      { bytes: 100_000, file: 'timestamp.json' },
      async () => {
        const { body } = await fixture.device.get('/repo/timestamp.json');
        assert.equal(body.length, 100_000);
        assert.equal(body.toString().trim(), honest.body.toString());
        assert.ok((await fixture.device.get('/repo/snapshot.json')).body.length < 10_000);
      },
    );
    await fixture.during('metadata-oversized', {}, async () => {
      const limitBytes = 8 * 1024 * 1024;
      assert.ok((await fixture.device.get('/repo/targets.json')).body.length > limitBytes);
    });
  });

  test('metadata-truncated: shorter, but a complete answer', async () => {
    const honest = await fixture.device.get('/repo/targets.json');
    await fixture.during('metadata-truncated', { missingBytes: 10, repo: 'image' }, async () => {
      const { status, body } = await fixture.device.get('/repo/targets.json');
      assert.equal(status, 200);
      assert.ok(body.equals(honest.body.subarray(0, -10)));
      assert.equal(
        (await fixture.device.get('/director/targets.json')).body.at(-1),
        '}'.charCodeAt(0),
      );
    });
  });

  test('metadata-reset: the connection dies in the middle of the file', async () => {
    await fixture.during('metadata-reset', { file: 'snapshot.json' }, async () => {
      assert.equal((await fixture.device.get('/repo/timestamp.json')).status, 200);
      await assert.rejects(fixture.device.get('/repo/snapshot.json'), { code: 'ECONNRESET' });
    });
  });

  test('metadata-reordered: timestamp and snapshot in answer to each other', async () => {
    const files = ['/director/timestamp.json', '/director/snapshot.json', '/director/targets.json'];
    const read = async (): Promise<readonly Buffer[]> =>
      Promise.all(files.map(async (path) => (await fixture.device.get(path)).body));
    const [timestamp, snapshot, targets] = await read();
    await fixture.during('metadata-reordered', { repo: 'director' }, async () => {
      assert.deepEqual(await read(), [snapshot, timestamp, targets]);
    });
  });

  test('metadata-missing: 404, and 424 at the end of a root chain', async () => {
    await fixture.during('metadata-missing', { file: 'snapshot.json' }, async () => {
      answered(await fixture.device.get('/repo/snapshot.json'), 404, 'missing_entity');
      assert.equal((await fixture.device.get('/repo/targets.json')).status, 200);
    });
    await fixture.during('metadata-missing', {}, async () => {
      answered(await fixture.device.get('/director/1.root.json'), 424, 'root_role_not_found');
    });
  });

  test('root-repeated offers the newest root as the next one', async () => {
    await fixture.during('root-repeated', { repo: 'image' }, async () => {
      const [first, second] = [
        await fixture.device.get('/repo/1.root.json'),
        await fixture.device.get('/repo/2.root.json'),
      ];
      assert.ok(second.body.equals(first.body));
      answered(await fixture.device.get('/director/2.root.json'), 424, 'root_role_not_found');
    });
  });

  test('metadata-garbage: HTML with status 200', async () => {
    await fixture.during('metadata-garbage', {}, async () => {
      const answer = await fixture.device.get('/director/targets.json');
      assert.equal(answer.status, 200);
      assert.match(answer.body.toString(), /^<!DOCTYPE html>/u);
    });
  });
});
