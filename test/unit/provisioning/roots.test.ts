import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';

import { isOtaError } from '../../../agent/errors.ts';
import { settingsSchema } from '../../../agent/settings.ts';
import type { Instant } from '../../../agent/uptane/time.ts';
import type { GatewayAnswer, Provisioning } from '../../../provisioning/record.ts';
import { demandRootSource, provisionRoots } from '../../../provisioning/roots.ts';
import { ed25519, envelope, FUTURE, keysObject, type Key } from '../../support/build-metadata.ts';
import { rejectsCode } from '../../support/expect-code.ts';
import { MemoryRecord } from './memory-record.ts';

const rootSignedBy = (signer: Key, owner = signer): Uint8Array => {
  const role = { keyids: [owner.id], threshold: 1 };
  const roles = { root: role, timestamp: role, snapshot: role, targets: role };
  const keys = keysObject([owner]);
  return envelope({ _type: 'Root', expires: FUTURE, keys, roles, version: 1 }, [signer]);
};

class Bench {
  readonly record = new MemoryRecord();
  readonly said: string[] = [];
  readonly asked: string[] = [];
  readonly all: Provisioning;

  constructor(uptane: object) {
    this.all = {
      settings: settingsSchema.parse({ uptane }),
      record: this.record,
      connect: () => assert.fail('connects'),
      now: () => 0 as Instant,
      env: {},
      hostName: 'board',
      userAgent: 'test',
      say: (_step, outcome, facts) => this.said.push(`${outcome}: ${facts}`),
    };
  }

  pin(answers: Readonly<Record<string, GatewayAnswer>>): Promise<readonly string[]> {
    return provisionRoots(this.all, (method, path) => {
      assert.equal(method, 'GET');
      this.asked.push(path);
      return Promise.resolve(answers[path] ?? { status: 404, body: Buffer.alloc(0) });
    });
  }
}

const ON_FIRST_USE = { trust_on_first_use: true };
const both = (director: Uint8Array, image: Uint8Array): Record<string, GatewayAnswer> => ({
  '/director/1.root.json': { status: 200, body: director },
  '/repo/1.root.json': { status: 200, body: image },
});

describe('first root metadata (§5.4.4.3 step 1)', () => {
  test('is refused a place to come from when nobody has said where', () => {
    const { all } = new Bench({});
    assert.throws(
      () => {
        demandRootSource(all);
      },
      (error) =>
        isOtaError(error) &&
        error.code === 'CONFIG_INVALID' &&
        error.details.key === 'uptane.roots',
    );
    demandRootSource(new Bench(ON_FIRST_USE).all);
    demandRootSource(new Bench({ roots: ['/d.json', '/i.json'] }).all);
  });

  test('is kept exactly as served, and announced with its digest when met by chance', async () => {
    const [director, image] = [rootSignedBy(ed25519()), rootSignedBy(ed25519())];
    const bench = new Bench(ON_FIRST_USE);
    await bench.pin(both(director, image));
    assert.deepEqual([...bench.record.roots.values()], [director, image]);
    for (const [index, bytes] of [director, image].entries()) {
      const digest = createHash('sha256').update(bytes).digest('hex');
      assert.ok(bench.said[index]?.includes(digest));
      assert.match(bench.said[index] ?? '', /^done now: .*TRUSTED ON FIRST USE/u);
    }
  });

  test('met by chance is said to be so on every later run, too (B1)', async () => {
    const bench = new Bench(ON_FIRST_USE);
    const warnings = await bench.pin(both(rootSignedBy(ed25519()), rootSignedBy(ed25519())));
    assert.equal(warnings.length, 2);
    bench.said.length = 0;
    assert.deepEqual(await bench.pin({}), warnings);
    for (const said of bench.said) assert.match(said, /^found done: .*TRUSTED ON FIRST USE/u);
    const pinned = { settings: settingsSchema.parse({ uptane: { roots: ['/d', '/i'] } }) };
    Object.assign(bench.all, pinned);
    assert.deepEqual(await bench.pin({}), warnings);
  });

  test('is not asked for, and not replaced, once it is there', async () => {
    const bench = new Bench(ON_FIRST_USE);
    const [director, image] = [rootSignedBy(ed25519()), rootSignedBy(ed25519())];
    await bench.pin(both(director, image));
    bench.asked.length = 0;
    await bench.pin(both(rootSignedBy(ed25519()), rootSignedBy(ed25519())));
    assert.deepEqual(bench.asked, []);
    assert.deepEqual([...bench.record.roots.values()], [director, image]);
  });

  test('does not come without its own signature', async () => {
    const bench = new Bench(ON_FIRST_USE);
    const forged = rootSignedBy(ed25519(), ed25519());
    await rejectsCode(bench.pin(both(forged, forged)), 'THRESHOLD_NOT_MET', {
      repo: 'director',
      role: 'root',
      valid: 0,
      threshold: 1,
    });
    assert.equal(bench.record.roots.size, 0);
  });

  test('goes on with the Image repository after the Director, where it stopped', async () => {
    const bench = new Bench(ON_FIRST_USE);
    const [director, image] = [rootSignedBy(ed25519()), rootSignedBy(ed25519())];
    const half = { '/director/1.root.json': { status: 200, body: director } };
    const details = { url: '/repo/1.root.json', status: 404, answer: 'no root metadata' };
    await rejectsCode(bench.pin(half), 'GATEWAY_ANSWER', details);
    assert.deepEqual([...bench.record.roots.keys()], ['director']);
    await bench.pin(both(rootSignedBy(ed25519()), image));
    assert.deepEqual([...bench.record.roots.values()], [director, image]);
  });

  test('of more than 64 KiB is not looked at', async () => {
    const bench = new Bench(ON_FIRST_USE);
    const long = new Uint8Array(64 * 1024 + 1);
    const details = { path: '/director/1.root.json', want: 'at most 64 KiB' };
    await rejectsCode(bench.pin(both(long, long)), 'METADATA_MALFORMED', details);
    assert.equal(bench.record.roots.size, 0);
  });
});
