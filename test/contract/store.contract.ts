/** What every store of the Director promises to two servers that share it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import type { IssuedSet } from '../director/metadata/metadata-set.ts';
import { NO_DEVICES, type Rollout } from '../director/rollouts/rollout.ts';
import type { Store } from '../director/state/store.ts';

export interface SharedStore {
  /** Two connections to one database, as two servers have them. */
  readonly servers: readonly [Store, Store];
  readonly end: () => Promise<void>;
}

export function storeContract(name: string, open: () => Promise<SharedStore>): void {
  describe(`the store in ${name}`, () => {
    let shared: SharedStore;
    let one: Store;
    let other: Store;
    before(async () => {
      shared = await open();
      [one, other] = shared.servers;
    });
    after(async () => {
      await shared.end();
    });

    test('knows a device from the first meeting on, at every server', async () => {
      assert.equal(await other.find('new'), undefined);
      await one.meet('new');
      await other.meet('new');
      assert.equal((await other.find('new'))?.id, 'new');
      await other.hold('held', () => undefined);
      assert.deepEqual(
        (await one.list()).map(({ id }) => id),
        ['held', 'new'],
      );
      assert.equal(await one.count(), 2);
      assert.deepEqual(await one.idsOf('he'), ['held']);
      assert.deepEqual(await one.idsOf('%'), []);
      assert.deepEqual(await one.idsOf(''), ['held', 'new']);
    });

    test('keeps what is said of a device, whatever the letters', async () => {
      const tags = ["Zürich's", '"; drop table devices; --', '\u{1f69a}'];
      await one.hold('letters', async (held) => held.save({ ...held.device, tags }));
      assert.deepEqual((await other.find('letters'))?.tags, tags);
    });

    test('keeps nothing of work that fails', async () => {
      const failing = one.hold('unlucky', async (held) => {
        await held.save({ ...held.device, reportCounter: 7 });
        await held.keep('manifests', { lost: true });
        throw new Error('the last step');
      });
      await assert.rejects(failing, /the last step/u);
      assert.equal((await other.find('unlucky'))?.reportCounter, undefined);
      assert.deepEqual(await other.records('unlucky', 'manifests'), []);
    });

    test('lets one server at a time have a device: of 60 changes at once none is lost', async () => {
      const count = async (store: Store): Promise<void> =>
        store.hold('busy', async (held) => {
          const { reportCounter = 0 } = held.device;
          await held.keep('manifests', { was: reportCounter });
          await held.save({ ...held.device, reportCounter: reportCounter + 1 });
        });
      await Promise.all(Array.from({ length: 60 }, async (_, at) => count(at % 2 ? one : other)));
      assert.equal((await one.find('busy'))?.reportCounter, 60);
      const records = await other.records('busy', 'manifests');
      assert.deepEqual(
        records,
        Array.from({ length: 60 }, (_, was) => ({ was })),
      );
    });

    test('keeps an event once for each device, and any number without a name', async () => {
      for (const store of [one, other]) {
        for (const id of ['events-1', 'events-2']) {
          await store.hold(id, async (held) => {
            await held.keep('events', { named: id }, 'the-same');
            await held.keep('history', { unnamed: id });
          });
        }
      }
      for (const id of ['events-1', 'events-2']) {
        assert.deepEqual(await one.records(id, 'events'), [{ named: id }]);
        assert.equal((await one.records(id, 'history')).length, 2);
      }
    });

    test('keeps about 2000 records of a kind, the newest', async () => {
      await one.hold('talkative', async (held) => {
        await held.keep('history', { first: true });
        for (let at = 0; at < 2100; at += 1) await held.keep('manifests', { at });
      });
      const records = (await one.records('talkative', 'manifests')) as readonly { at: number }[];
      assert.ok(records.length >= 2000 && records.length < 2050, String(records.length));
      assert.equal(records.at(-1)?.at, 2099);
      assert.deepEqual(await one.records('talkative', 'history'), [{ first: true }]);
    });

    test('keeps what was signed for a device, the last of it', async () => {
      assert.equal(await one.issued('signed'), undefined);
      for (const fingerprint of ['first', 'second']) {
        await one.hold('signed', async (held) => held.saveIssued(issued(fingerprint)));
      }
      assert.deepEqual(await other.issued('signed'), issued('second'));
      assert.deepEqual(await other.hold('signed', async (held) => held.issued()), issued('second'));
    });

    test('counts the fleet by hardware, image and state', async () => {
      for (const [id, filename, outcome] of [
        ['fleet-1', 'fw-1', 'done'],
        ['fleet-2', 'fw-1', 'done'],
        ['fleet-3', 'fw-2', 'pending'],
        ['fleet-4', 'fw-2', 'failed'],
      ] as const) {
        await one.hold(id, async (held) =>
          held.save({
            ...held.device,
            lastManifestAt: '2030-01-01T00:00:00.000Z',
            primary: 'p',
            ecus: [{ serial: 'p', hardwareId: 'fleet-hw', keyType: 'ED25519', publicKey: '' }],
            installed: { p: { filename, lengthBytes: 1, hashes: {} } },
            assignment: { correlationId: 'c', createdAt: '', targets: [], outcome },
          }),
        );
      }
      const rows = (await other.fleet()).filter(({ hardwareId }) => hardwareId === 'fleet-hw');
      assert.deepEqual(rows, [
        { hardwareId: 'fleet-hw', image: 'fw-1', state: 'idle', devices: 2 },
        { hardwareId: 'fleet-hw', image: 'fw-2', state: 'failed', devices: 1 },
        { hardwareId: 'fleet-hw', image: 'fw-2', state: 'updating', devices: 1 },
      ]);
    });

    test('keeps rollouts, the newest first, and counts their devices by phase and state', async () => {
      for (const id of ['counted', 'newer']) await one.addRollout(rollout(id));
      assert.deepEqual(
        (await other.rollouts()).map(({ id }) => id),
        ['newer', 'counted'],
      );
      await one.holdRollout('counted', async (held) => {
        await held.enrol(
          new Map([
            ['c-1', 0],
            ['c-2', 1],
            ['c-3', 1],
          ]),
        );
        await held.save({ ...held.rollout, state: 'running' });
      });
      await other.hold('c-3', async (held) => {
        assert.deepEqual(await held.member('counted'), { phase: 1, state: 'waiting' });
        assert.equal(await held.member('newer'), undefined);
        await held.saveMember('counted', { phase: 1, state: 'failed' });
        assert.deepEqual(
          (await held.running()).map(({ id }) => id),
          ['counted'],
        );
      });
      const counts = [
        { ...NO_DEVICES, waiting: 1 },
        { ...NO_DEVICES, waiting: 1, failed: 1 },
      ];
      assert.deepEqual(await one.counts(rollout('counted')), counts);
      assert.deepEqual(await one.holdRollout('counted', async (held) => held.counts()), counts);
      assert.deepEqual(await one.members('counted', 'failed'), [
        { deviceId: 'c-3', phase: 1, state: 'failed' },
      ]);
      assert.equal((await other.findRollout('counted'))?.state, 'running');
      assert.equal(await other.findRollout('none'), undefined);
      assert.equal(await other.holdRollout('none', () => 'held'), undefined);
    });

    test('enrols 5000 devices at once, and none of them when the rollout fails to start', async () => {
      await one.addRollout(rollout('large'));
      const members = new Map(Array.from({ length: 5000 }, (_, at) => [`large-${String(at)}`, 0]));
      const failing = one.holdRollout('large', async (held) => {
        await held.enrol(members);
        throw new Error('the last step');
      });
      await assert.rejects(failing, /the last step/u);
      assert.equal((await one.counts(rollout('large')))[0]?.waiting, 0);
      await one.holdRollout('large', async (held) => held.enrol(members));
      assert.equal((await one.counts(rollout('large')))[0]?.waiting, 5000);
    });

    test('a rollout that a device was begun under is not stopped before that is over', async () => {
      await one.addRollout({ ...rollout('emergency'), state: 'running' });
      const order: string[] = [];
      let stopping: Promise<unknown> = Promise.resolve();
      await one.hold('in-time', async (held) => {
        assert.equal((await held.heldRollout('emergency'))?.state, 'running');
        stopping = other.holdRollout('emergency', async (stopped) => {
          order.push('stopped');
          await stopped.save({ ...stopped.rollout, state: 'stopped' });
        });
        await held.saveMember('emergency', { phase: 0, state: 'assigned' });
        await new Promise((resolve) => setTimeout(resolve, 200));
        order.push('assigned');
      });
      await stopping;
      assert.deepEqual(order, ['assigned', 'stopped']);
      await one.hold('too-late', async (held) => {
        assert.equal((await held.heldRollout('emergency'))?.state, 'stopped');
      });
    });
  });
}

function issued(fingerprint: string): IssuedSet {
  const versions = { targets: 1, snapshot: 1, timestamp: 1, delegations: {} };
  const current = { targets: 't', snapshot: 's', timestamp: 'ts', delegations: {} };
  return { current, versions, fingerprint, rootVersion: 1, dueAt: versions };
}

function rollout(id: string): Rollout {
  const phase = { name: 'p', tags: [], successPercent: 90, failurePercent: 10, soakSeconds: 0 };
  return {
    id,
    name: id,
    image: 'fw-1',
    correlationId: `urn:here-ota:mtu:${id}`,
    filter: { hardwareIds: [], versions: [], tags: [] },
    phases: [
      { ...phase, percentage: 10 },
      { ...phase, percentage: 100 },
    ],
    state: 'draft',
    phase: 0,
    metAt: null,
    createdAt: '2030-01-01T00:00:00.000Z',
    changedAt: '2030-01-01T00:00:00.000Z',
    reason: '',
  };
}
