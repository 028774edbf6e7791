/** A device that leaves the factory with a complete set of metadata: rollback ends before it begins. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { isOtaError, type FailureCode } from '../../agent/errors.ts';
import { settingsSchema } from '../../agent/settings.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import type { Provisioning } from '../../provisioning/record.ts';
import { provisionRoots } from '../../provisioning/roots.ts';
import { ed25519, PAST, type Body, type Role } from '../support/build-metadata.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { TufRepository } from '../support/tuf-repository.ts';
import { PRIMARY, World } from '../support/uptane-world.ts';
import { MemoryRecord } from '../unit/provisioning/memory-record.ts';

const ROLES: readonly Role[] = ['root', 'timestamp', 'snapshot', 'targets'];
const REPOS = ['director', 'image'] as const;

let temporary: ReturnType<typeof temporaryDirectory>;
let world: World;
let record: MemoryRecord;
let said: string[];

beforeEach(() => {
  temporary = temporaryDirectory('initial');
  world = new World();
  record = new MemoryRecord();
  said = [];
});
afterEach(() => {
  temporary.remove();
});

const at = (name: string): string => `${temporary.path}/${name}`;
const write = (name: string, bytes: Uint8Array): void => {
  mkdirSync(dirname(at(name)), { recursive: true });
  writeFileSync(at(name), bytes);
};

/** What the repositories serve now, as `verify --state` leaves it. */
function writeSet(): void {
  for (const repo of REPOS) {
    for (const role of ROLES) {
      const { version } = world[repo];
      const file = role === 'root' ? `${String(version.root)}.root.json` : `${role}.json`;
      write(`${repo}/${role}.json`, world[repo].file(file));
    }
  }
}

function provision(uptane: object = {}): Promise<readonly string[]> {
  const all: Provisioning = {
    settings: settingsSchema.parse({ uptane: { initial_metadata: temporary.path, ...uptane } }),
    record,
    connect: () => assert.fail('connects'),
    now: () => 0 as Instant,
    env: {},
    hostName: 'board',
    userAgent: 'test',
    say: (_step, outcome, facts) => said.push(`${outcome}: ${facts}`),
  };
  return provisionRoots(all, () => assert.fail('asks the gateway'));
}

async function refuses(code: FailureCode, details: object): Promise<void> {
  await assert.rejects(provision(), (error: unknown) => {
    assert.ok(isOtaError(error), String(error));
    assert.equal(error.code, code);
    for (const [name, value] of Object.entries(details)) {
      assert.equal((error.details as unknown as Body)[name], value);
    }
    return true;
  });
  assert.deepEqual(record.writes, []);
}

describe('a complete set of metadata at provisioning', () => {
  test('is pinned as it is, offline and without a warning (B1)', async () => {
    world.release('fw-1.bin');
    writeSet();
    assert.deepEqual(await provision(), []);
    assert.deepEqual(
      [...record.pinned.keys()].sort(),
      REPOS.flatMap((repo) => ROLES.map((role) => `${repo}/${role}`)).sort(),
    );
    assert.deepEqual(record.pinned.get('image/targets'), world.image.file('targets.json'));
    assert.equal(await record.get('director-trust'), 'initial-metadata');
    assert.match(
      said[1] ?? '',
      /^done now: image complete set: root 1, timestamp 1, snapshot 1, targets 1; root SHA-256 [0-9a-f]{64}$/u,
    );
    await provision();
    assert.deepEqual(said.slice(2), ['found done: director', 'found done: image']);
  });

  test('is a floor from the first contact on: what is older is refused (B1, T3, S4, G4)', async () => {
    for (const repo of REPOS) {
      const older = new World();
      older.release('fw-1.bin');
      const served = new Map(older[repo].served);
      older.release('fw-2.bin');
      world = older;
      record = new MemoryRecord();
      writeSet();
      await provision();
      for (const [name, bytes] of record.pinned) older.device.trusted.set(name, bytes);
      older[repo].served.clear();
      for (const [name, bytes] of served) older[repo].served.set(name, bytes);
      const details = { repo, role: 'timestamp', trusted: 2, offered: 1 };
      older.refuses('VERSION_ROLLBACK', details);
    }
  });

  test('may have expired: its versions count, and its dates do not (B1)', async () => {
    world.release('fw-1.bin');
    for (const repo of REPOS) {
      for (const role of ROLES) world[repo].expires[role] = PAST;
      world[repo].publishRoot();
    }
    world.publish();
    writeSet();
    await provision();
    for (const [name, bytes] of record.pinned) world.device.trusted.set(name, bytes);
    const details = { expiresAt: PAST, nowAt: '2026-11-21T00:00:00Z' };
    world.refuses('METADATA_EXPIRED', { repo: 'director', role: 'root', ...details });
    for (const repo of REPOS) {
      for (const role of ROLES) world[repo].expires[role] = '2030-01-01T00:00:00Z';
      world[repo].publishRoot();
    }
    world.publish();
    assert.equal(world.update().outcome, 'update');
  });

  test('needs every role; a Director may go without Timestamp and Snapshot (B1)', async () => {
    world.release('fw-1.bin');
    for (const [repo, role] of [
      ...ROLES.map((name) => ['image', name] as const),
      ['director', 'root'],
      ['director', 'targets'],
    ] as const) {
      writeSet();
      const path = at(`${repo}/${role}.json`);
      rmSync(path);
      await refuses('FILE_UNREADABLE', { path, what: 'uptane.initial_metadata' });
    }
    writeSet();
    rmSync(at('director/snapshot.json'));
    await refuses('METADATA_MISSING', { repo: 'director', file: 'snapshot.json' });
    rmSync(at('director/timestamp.json'));
    assert.deepEqual(await provision(), []);
    assert.ok(!record.pinned.has('director/timestamp'));
  });

  test('is refused as a whole if one file of it is not what the others say (B1, G3, S2, G2, G6)', async () => {
    world.release('fw-1.bin');
    const forged = new World();
    forged.release('fw-1.bin');
    writeSet();
    write('image/targets.json', forged.image.file('targets.json'));
    await refuses('METADATA_HASH_MISMATCH', { repo: 'image', role: 'targets' });
    writeSet();
    write('image/timestamp.json', forged.image.file('timestamp.json'));
    await refuses('THRESHOLD_NOT_MET', { repo: 'image', role: 'timestamp', valid: 0 });
    writeSet();
    write('director/root.json', forged.director.file('1.root.json'));
    await refuses('THRESHOLD_NOT_MET', { repo: 'director', role: 'timestamp' });
    const keys = [ed25519()];
    world.director.delegations = [{ name: 'supplier', keys, paths: ['*'] }];
    world.publish();
    writeSet();
    await refuses('DIRECTOR_DELEGATES', { delegations: 1 });
  });

  test('may be TUF 1.0 for the Image repository (B1)', async () => {
    world.release('fw-1.bin', [PRIMARY]);
    writeSet();
    const tuf = new TufRepository();
    write('image/root.json', tuf.served.get('1.root.json') ?? Buffer.alloc(0));
    for (const role of ['timestamp', 'snapshot', 'targets'] as const) {
      write(`image/${role}.json`, tuf.current(role));
    }
    assert.deepEqual(await provision({ dialect: 'tuf' }), []);
    assert.equal(record.pinned.size, 8);
  });
});
