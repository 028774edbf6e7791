import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { CountedRollout } from '../director/control/rollouts.ts';
import type { ManifestRecord } from '../director/gateway/reports.ts';
import type { HistoryEntry } from '../director/rollouts/history.ts';
import type { Rollout } from '../director/rollouts/rollout.ts';
import { SimulatedDevice } from '../director/simulated/device.ts';
import { SimulatedUpdates } from '../director/simulated/updates.ts';
import { startDirector, type DirectorHandle, type StartOptions } from '../director/start.ts';
import { SqlStore } from '../director/state/sql-store.ts';
import { startPostgres, type Postgres } from '../support/postgres.ts';

const DEVICES = 12;
/** Of each device; it ends earlier when the rollout has. */
const POLLS = 400;

let directory: string;
let postgres: Postgres;
let options: StartOptions;
let leader: DirectorHandle;
let joined: DirectorHandle;
let devices: readonly SimulatedDevice[];

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'director-servers-'));
  postgres = await startPostgres();
  options = { stateDir: join(directory, 'state'), database: postgres.url };
  leader = await startDirector(options);
  joined = await startDirector({ ...options, join: true });
  devices = await Promise.all(
    Array.from({ length: DEVICES }, async (_, at) =>
      SimulatedDevice.create(leader, `device-${String(at)}`),
    ),
  );
});
after(async () => {
  for (const device of devices) device.close();
  await joined.stop();
  await leader.stop();
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function publish(name: string): Promise<void> {
  const path = join(directory, name);
  writeFileSync(path, randomBytes(16));
  await leader.publish({ path, name, hardwareIds: ['primary-hw'], version: '1' });
}

describe('several servers behind one database', () => {
  test('serve the same bytes to a device, and one knows at once what the other did', async () => {
    const [here] = devices;
    assert.ok(here !== undefined);
    const there = here.reconnect(joined);
    await here.register();
    await publish('first.bin');
    await leader.assign(here.id, 'first.bin');
    for (const path of ['director/targets', 'director/timestamp', 'repo/targets', 'repo/root']) {
      const a = await there.get(`/${path}.json`);
      const b = await here.get(`/${path}.json`);
      assert.deepEqual([a.status, a.body.toString()], [200, b.body.toString()], path);
    }
    assert.equal((await here.sendManifest({ counter: 1 })).status, 200);
    assert.equal((await there.sendManifest({ counter: 1 })).status, 400);
    await leader.control('DELETE', `/devices/${here.id}/assignment`);
    await leader.control('POST', '/rotations', { repo: 'director', role: 'root' });
    assert.equal((await there.get('/director/2.root.json')).status, 200);
    there.close();
  });

  test('a revoked certificate is refused by the server that did not revoke it, too', async () => {
    const device = await SimulatedDevice.create(leader, 'revoked');
    const there = device.reconnect(joined);
    assert.equal((await there.get('/repo/root.json')).status, 200);
    const all = (await leader.control('GET', '/certificates')) as readonly {
      readonly serial: string;
      readonly deviceId: string;
    }[];
    const { serial } = all.find(({ deviceId }) => deviceId === 'revoked') ?? { serial: '' };
    await leader.control('DELETE', `/certificates/${serial}`);
    // Another device's request is enough for the server to notice; the connection is cut then.
    const [other] = devices;
    const elsewhere = other?.reconnect(joined);
    await elsewhere?.get('/repo/root.json');
    await assert.rejects(there.reconnect(joined).get('/repo/root.json'));
    for (const one of [device, there, elsewhere]) one?.close();
  });

  test('a faulty certificate is presented by the first server only', async () => {
    const here = await SimulatedDevice.create(leader, 'untouched');
    const connections = [here, here.reconnect(joined), here.reconnect(joined)] as const;
    const [, noticing, after] = connections;
    await leader.fault('certificate-wrong-name', 'on');
    try {
      const code = 'ERR_TLS_CERT_ALTNAME_INVALID';
      await assert.rejects(here.get('/repo/root.json'), { code });
      for (const one of [noticing, after])
        assert.equal((await one.get('/repo/root.json')).status, 200);
    } finally {
      await leader.fault('certificate-wrong-name', 'off');
    }
    for (const one of connections) one.close();
  });

  test('through kill -9 of each and a crash of PostgreSQL no manifest is lost and nobody is assigned twice', async () => {
    for (const device of devices) await device.register();
    await publish('rollout.bin');
    const { id } = (await leader.control('POST', '/rollouts', {
      name: 'through thick and thin',
      image: 'rollout.bin',
      phases: [{ percentage: 20 }, { percentage: 60, soakSeconds: 1 }, { percentage: 100 }],
    })) as Rollout;
    await leader.control('POST', `/rollouts/${id}/start`);
    const fleet = devices.map((device) => new SimulatedUpdates(device));
    let isOver = false;
    const live = async (one: SimulatedUpdates, at: number): Promise<void> => {
      for (let poll = 0; poll < POLLS && !isOver; poll += 1) {
        // Now this server, now that one: whichever is up.
        const connection = one.device.reconnect((poll + at) % 2 === 0 ? leader : joined);
        one.over(connection);
        await one.poll(() => true).catch(() => undefined);
        connection.close();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    const lives = fleet.map(live);
    const accepted = (): number => fleet.reduce((sum, one) => sum + one.accepted.length, 0);
    const more = async (): Promise<void> => {
      const before = accepted();
      while (accepted() < before + DEVICES) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await more();
    await joined.kill();
    joined = await startDirector({ ...options, join: true });
    await more();
    await postgres.restart();
    await more();
    await leader.kill();
    leader = await startDirector(options);
    const show = async (): Promise<CountedRollout> =>
      (await leader.control('GET', `/rollouts/${id}`)) as CountedRollout;
    while ((await show()).state === 'running')
      await new Promise((resolve) => setTimeout(resolve, 100));
    isOver = true;
    await Promise.all(lives);

    const end = await show();
    assert.equal(end.state, 'finished', end.reason);
    assert.deepEqual(
      end.counts.map(({ succeeded }) => succeeded),
      [3, 5, 4],
    );
    const store = await SqlStore.open(postgres.url);
    for (const { device, begun, accepted: counters } of fleet) {
      const history = (await store.records(device.id, 'history')) as readonly HistoryEntry[];
      const given = history.filter(
        ({ what, correlationId }) => what === 'assigned' && correlationId.endsWith(id),
      );
      assert.equal(given.length, 1, `${device.id} is assigned once`);
      assert.equal(begun.length, 1, `${device.id} installs once`);
      const kept = countersOf(await store.records(device.id, 'manifests'), device.ecus[0]?.serial);
      assert.deepEqual(
        counters.filter((counter) => !kept.has(counter)),
        [],
        `of ${device.id}`,
      );
    }
    await store.close();
  });
});

/** Report counters of the manifests that were accepted. */
function countersOf(records: readonly unknown[], serial = ''): ReadonlySet<number> {
  const accepted = (records as readonly ManifestRecord[]).filter(
    ({ verdict }) => verdict.status === 200,
  );
  return new Set(
    accepted.map(({ manifest }) => {
      const { signed } = manifest as unknown as {
        signed: { ecu_version_manifests: Record<string, { signed: { report_counter: string } }> };
      };
      return Number(signed.ecu_version_manifests[serial]?.signed.report_counter);
    }),
  );
}
