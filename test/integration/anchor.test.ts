/** The rollback anchor in whole cycles: what is noticed, what is not taken for it, what it costs. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { acceptDisk } from '../../agent/cycle/accept-disk.ts';
import { look } from '../../agent/cycle/seal.ts';
import { isOtaError, type FailureCode } from '../../agent/errors.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import type { Store } from '../../agent/ports.ts';
import { newestSeal, type Seal } from '../../agent/uptane/seal.ts';
import { ed25519, type Role } from '../support/build-metadata.ts';
import { bytes, PRIMARY_KEY, TestDevice } from '../support/cycle-device.ts';
import { MemoryAnchor } from '../support/memory-anchor.ts';
import { readManifest } from '../support/sent-manifest.ts';

const HOUR_MS = 3_600_000;

describe('the rollback anchor', () => {
  let device: TestDevice;
  let anchor: MemoryAnchor;
  beforeEach(() => {
    device = new TestDevice();
    anchor = new MemoryAnchor();
  });
  afterEach(() => device.close());

  const cycle = async (): Promise<string> => (await device.cycle({ anchor })).outcome;
  const store = async (): Promise<Store> => (await device.ports()).store;
  const countReportsTo = async (counter: number): Promise<void> => {
    const on = await store();
    assert.ok(on instanceof SqliteStore);
    await on.saveFact('report_counter', String(counter));
  };
  const seal = (): Seal => {
    const found = newestSeal(anchor.stored);
    assert.ok(found !== undefined && found !== 'newer');
    return found;
  };
  const install = async (name: string): Promise<void> => {
    device.outside.image = () => bytes(name);
    device.world.release(name);
    assert.equal(await cycle(), 'reboot-required');
    device.boot();
    assert.equal(await cycle(), 'installed');
  };
  const refused = async (code: FailureCode): Promise<Readonly<Record<string, unknown>>> => {
    let details: Readonly<Record<string, unknown>> | undefined;
    await assert.rejects(cycle(), (error: unknown) => {
      assert.ok(isOtaError(error), String(error));
      assert.equal(error.code, code);
      details = { ...error.details };
      return true;
    });
    return details ?? {};
  };
  const told = (): readonly { counter: number; attacks: string; image: string }[] =>
    device.outside.manifests.map((text) => {
      const [report] = Object.values(readManifest(text, PRIMARY_KEY));
      assert.ok(report !== undefined);
      return {
        counter: Number(report.report_counter),
        attacks: report.attacks_detected,
        image: report.installed_image.filepath,
      };
    });

  test('seals versions, roots, counters and time, and an idle cycle writes nothing to the token', async () => {
    await install('fw-1');
    const { versions, roots, reports, latestKnownTime } = seal();
    for (const repo of ['director', 'image'] as const) {
      for (const role of ['root', 'snapshot', 'targets']) {
        assert.equal(versions.get(`${repo}/${role}`), device.world[repo].version[role as Role]);
      }
      assert.match(roots.get(repo) ?? '', /^[0-9a-f]{64}$/u);
    }
    assert.equal(latestKnownTime, device.outside.wallMs);
    assert.ok(reports > (told().at(-1)?.counter ?? Infinity));
    const { writes } = anchor;
    for (let poll = 0; poll < 5; poll += 1) assert.equal(await cycle(), 'up-to-date');
    device.world.director.publishSnapshotAndTimestamp();
    assert.equal(await cycle(), 'up-to-date');
    assert.equal(anchor.writes, writes + 1);
    device.world.director.version.timestamp += 1;
    device.world.director.publishTimestamp();
    assert.equal(await cycle(), 'up-to-date');
    assert.equal(anchor.writes, writes + 1, 'a Timestamp alone is not worth a write');
    device.outside.wallMs += 25 * HOUR_MS;
    assert.equal(await cycle(), 'up-to-date');
    assert.equal(anchor.writes, writes + 2, 'the time, once a day');
  });

  test('a thousand reports cost one write', async () => {
    await install('fw-1');
    const { reports } = seal();
    const { writes } = anchor;
    await countReportsTo(reports - 1);
    assert.equal(await cycle(), 'up-to-date');
    assert.equal(anchor.writes, writes);
    assert.equal(await cycle(), 'up-to-date');
    assert.equal(anchor.writes, writes + 1);
    assert.equal(seal().reports, reports + 1 + 1000);
  });

  test('an older disk is refused, told, made up for, and what was under way on it does not go on', async () => {
    await install('fw-1');
    device.world.release('fw-2');
    device.outside.image = () => bytes('fw-2');
    assert.equal(await cycle(), 'reboot-required');
    const copy = await device.copyDisk();
    device.boot();
    assert.equal(await cycle(), 'installed');
    await install('fw-3');
    await device.putBack(copy);

    const { what, sealed, found } = await refused('STORAGE_ROLLED_BACK');
    assert.equal(what, 'storage');
    assert.ok(Number(found) < Number(sealed));
    const last = told().at(-1);
    assert.equal(last?.attacks, 'rollback:STORAGE_ROLLED_BACK');
    assert.doesNotMatch(last.image, /fw/u, 'fw-1 does not run, whatever the old disk says');
    assert.equal(device.runningImage(4), 'fw-3');
    const counters = told().map(({ counter }) => counter);
    assert.deepEqual(
      [...new Set(counters)].sort((a, b) => a - b),
      counters,
    );
    assert.equal(await (await store()).loadState(), '{"at":"idle"}');
    assert.equal(await cycle(), 'installed', 'it runs already');
    assert.equal(device.runningImage(4), 'fw-3');
  });

  test('a disk that was emptied and provisioned again is refused once, with the report counter above all before', async () => {
    await install('fw-1');
    const highest = told().at(-1)?.counter ?? Infinity;
    device.outside.wallMs -= 1000 * HOUR_MS;
    await device.emptyDisk();
    assert.equal((await refused('STORAGE_ROLLED_BACK'))['found'], 'none');
    assert.ok((told().at(-1)?.counter ?? 0) > highest);
    assert.equal(await (await store()).latestKnownTime(), seal().latestKnownTime);
    assert.notEqual(await cycle(), 'up-to-date');
  });

  test('repositories that are older than what was sealed cannot bring an older disk up to date', async () => {
    await install('fw-1');
    const copy = await device.copyDisk();
    const old = (['director', 'image'] as const).map((repo) => new Map(device.world[repo].served));
    await install('fw-2');
    const now = (['director', 'image'] as const).map((repo) => new Map(device.world[repo].served));
    const serve = (all: typeof old): void => {
      for (const [index, repo] of (['director', 'image'] as const).entries()) {
        device.world[repo].served.clear();
        for (const [name, file] of all[index] ?? []) device.world[repo].served.set(name, file);
      }
    };
    serve(old);
    await device.putBack(copy);
    await refused('STORAGE_ROLLED_BACK');
    const { writes } = anchor;
    for (let poll = 0; poll < 3; poll += 1) {
      assert.equal((await refused('STORAGE_ROLLED_BACK'))['what'], 'director/snapshot');
    }
    assert.equal(anchor.writes, writes, 'no block of counters is burnt by a cycle that is refused');
    assert.equal(device.runningImage(4), 'fw-2');
    serve(now);
    await refused('STORAGE_ROLLED_BACK');
    assert.equal(await cycle(), 'installed');
  });

  test('an older disk cannot be led along another root that rotated keys have signed', async () => {
    await install('fw-1');
    const copy = await device.copyDisk();
    const { director } = device.world;
    const stolen = director.keys.root;
    director.keys.root = [ed25519()];
    director.publishRoot();
    await install('fw-2');
    await device.putBack(copy);
    director.version.root -= 1;
    director.publishRoot(
      (body) => ({ ...body, expires: '2099-01-01T00:00:00Z' }),
      [...stolen, ...director.keys.root],
    );
    await refused('STORAGE_ROLLED_BACK');
    const { what, sealed, found } = await refused('STORAGE_ROLLED_BACK');
    assert.deepEqual({ what, sealed, found }, { what: 'director/root', sealed: '2', found: '1' });
    const trusted = await (await store()).loadTrusted();
    assert.deepEqual(trusted.get('director/root'), director.file('1.root.json'));
    assert.match(told().at(-1)?.attacks ?? '', /STORAGE_ROLLED_BACK/u);
  });

  test('while nobody can be reached it stays refused, and is told as soon as somebody can', async () => {
    await install('fw-1');
    const copy = await device.copyDisk();
    await install('fw-2');
    await device.putBack(copy);
    device.outside.gateway = 'down';
    await refused('STORAGE_ROLLED_BACK');
    await refused('STORAGE_ROLLED_BACK');
    device.outside.gateway = 'up';
    await refused('STORAGE_ROLLED_BACK');
    assert.equal(told().at(-1)?.attacks, 'rollback:STORAGE_ROLLED_BACK');
    assert.equal(await cycle(), 'installed');
  });

  test('another token, with or without a seal, is TOKEN_REPLACED, and nothing is sent', async () => {
    await install('fw-1');
    const own = anchor;
    const sent = told().length;
    anchor = new MemoryAnchor();
    assert.match(String((await refused('TOKEN_REPLACED'))['problem']), /no seal/u);
    const other = new TestDevice();
    try {
      other.world.release('fw-1');
      await other.cycle({ anchor });
    } finally {
      await other.close();
    }
    assert.match(String((await refused('TOKEN_REPLACED'))['problem']), /another storage/u);
    assert.equal(told().length, sent);
    const accepted = await acceptDisk({ ...(await device.ports()), anchor });
    assert.equal(accepted?.standing.is, 'foreign');
    assert.equal(await cycle(), 'up-to-date');
    const { sequence } = seal();
    anchor = own;
    assert.ok(seal().sequence < sequence);
    assert.equal(await cycle(), 'up-to-date');
    assert.equal(seal().sequence, sequence, 'a token that is behind its disk gets what it lacks');
  });

  test('a copy from before the last seal is old, also where only a block of counters was sealed', async () => {
    await install('fw-1');
    const copy = await device.copyDisk();
    const { reports } = seal();
    await countReportsTo(reports);
    assert.equal(await cycle(), 'up-to-date');
    await device.putBack(copy);
    assert.equal((await refused('STORAGE_ROLLED_BACK'))['what'], 'storage');
    assert.ok((told().at(-1)?.counter ?? 0) > (told().at(-2)?.counter ?? Infinity));
    assert.equal(await cycle(), 'up-to-date');
  });

  test('what a person accepts is the truth from then on, and the copy before it is old', async () => {
    await install('fw-1');
    const copy = await device.copyDisk();
    await install('fw-2');
    const { reports } = seal();
    await device.putBack(copy);
    const ports = { ...(await device.ports()), anchor };
    assert.equal((await acceptDisk(ports))?.standing.is, 'behind');
    assert.equal((await look(ports))?.standing.is, 'current');
    assert.ok(seal().reports >= reports, 'counters are never given out again');
    assert.equal((await acceptDisk(ports))?.standing.is, 'current');
    assert.equal(await cycle(), 'installed');
    const attacks = told().map((report) => report.attacks);
    assert.deepEqual(attacks.slice(-2), ['rollback:STORAGE_ROLLED_BACK', '']);
    await device.putBack(copy);
    await refused('STORAGE_ROLLED_BACK');
  });

  test('a full token keeps its seal, is said once, and keeps nobody from updates', async () => {
    await install('fw-1');
    const before = seal();
    anchor.isFull = true;
    const refusals: string[] = [];
    const ports = await device.ports();
    const reporter = {
      ...ports.reporter,
      refused: (error: Error) => void refusals.push(error.message),
    };
    device.outside.image = () => bytes('fw-2');
    device.world.release('fw-2');
    assert.equal((await device.cycle({ anchor, reporter })).outcome, 'reboot-required');
    device.boot();
    assert.equal((await device.cycle({ anchor, reporter })).outcome, 'installed');
    assert.equal(refusals.length, 1);
    assert.match(refusals[0] ?? '', /^TOKEN_FAILED .*CKR_DEVICE_MEMORY/u);
    assert.deepEqual(seal(), before);
    anchor.isFull = false;
    assert.equal((await device.cycle({ anchor, reporter })).outcome, 'up-to-date');
    assert.deepEqual(seal(), before, 'it is tried again after a day, not at every poll');
    device.outside.wallMs += 25 * HOUR_MS;
    assert.equal((await device.cycle({ anchor, reporter })).outcome, 'up-to-date');
    assert.equal(seal().versions.get('director/targets'), 2);
    assert.equal((await (await store()).binding()).failed, undefined);
  });

  test('a database from before there were anchors is sealed as it is', async () => {
    device.world.release('fw-1');
    await device.install();
    assert.equal(await cycle(), 'up-to-date');
    assert.equal(seal().sequence > 0, true);
  });
});
