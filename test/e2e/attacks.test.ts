/** Every attack and nuisance that the Director can play, against the agent as a process. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { FAULTS, rowOf, type FaultName } from '../director/faults.ts';
import { trustedState } from '../support/trusted-state.ts';
import { DEVICE, describe as said, openWorld, type World } from '../support/world.ts';

interface Expectation {
  readonly exit: number;
  readonly code: string;
  readonly attack?: string;
  /** Trusted metadata that may rightly be newer afterwards: it was whole, and came first. */
  readonly kept?: readonly string[];
}

/** Each was whole, and listed the one that was refused. */
const BEFORE_DIRECTOR_TARGETS = ['director/snapshot', 'director/timestamp'];

const REFUSED: Readonly<Partial<Record<FaultName, Expectation>>> = {
  'timestamp-rollback': { exit: 20, code: 'VERSION_ROLLBACK', attack: 'rollback' },
  'snapshot-rollback': { exit: 20, code: 'VERSION_ROLLBACK', attack: 'rollback' },
  'targets-rollback': {
    exit: 20,
    code: 'VERSION_ROLLBACK',
    attack: 'rollback',
    kept: ['image/timestamp'],
  },
  'expired-timestamp': { exit: 20, code: 'METADATA_EXPIRED', attack: 'freeze' },
  'expired-targets': {
    exit: 20,
    code: 'METADATA_EXPIRED',
    attack: 'freeze',
    kept: ['image/snapshot', 'image/timestamp'],
  },
  'director-timestamp-rollback': { exit: 20, code: 'VERSION_ROLLBACK', attack: 'rollback' },
  'director-targets-rollback': {
    exit: 20,
    code: 'VERSION_ROLLBACK',
    attack: 'rollback',
    kept: ['director/timestamp'],
  },
  'director-expired-timestamp': { exit: 20, code: 'METADATA_EXPIRED', attack: 'freeze' },
  'director-expired-targets': {
    exit: 20,
    code: 'METADATA_EXPIRED',
    attack: 'freeze',
    kept: BEFORE_DIRECTOR_TARGETS,
  },
  'wrong-hardware-id': {
    exit: 20,
    code: 'HARDWARE_ID_MISMATCH',
    attack: 'mix-and-match',
    kept: BEFORE_DIRECTOR_TARGETS,
  },
  'unknown-ecu': {
    exit: 20,
    code: 'ECU_UNKNOWN',
    attack: 'mix-and-match',
    kept: BEFORE_DIRECTOR_TARGETS,
  },
  'director-repeats-ecu': {
    exit: 20,
    code: 'DIRECTOR_REPEATS_ECU',
    attack: 'mix-and-match',
    kept: BEFORE_DIRECTOR_TARGETS,
  },
  'director-delegates': {
    exit: 20,
    code: 'DIRECTOR_DELEGATES',
    attack: 'arbitrary-software',
    kept: BEFORE_DIRECTOR_TARGETS,
  },
  // The Director's own word is whole and is kept: it is the two together that are refused.
  'image-hash-mismatch': {
    exit: 20,
    code: 'TARGET_MISMATCH',
    attack: 'mix-and-match',
    kept: ['director/snapshot', 'director/targets', 'director/timestamp'],
  },
  'signature-invalid': { exit: 20, code: 'THRESHOLD_NOT_MET', attack: 'arbitrary-software' },
  'root-not-signed-by-old': { exit: 20, code: 'THRESHOLD_NOT_MET', attack: 'arbitrary-software' },
  'metadata-oversized': { exit: 20, code: 'METADATA_TOO_LARGE', attack: 'endless-data' },
  'metadata-garbage': { exit: 20, code: 'METADATA_MALFORMED' },
  'metadata-slow': { exit: 30, code: 'DOWNLOAD_TOO_SLOW', attack: 'slow-retrieval' },
  'time-future': { exit: 20, code: 'METADATA_EXPIRED', attack: 'freeze' },
  'image-bit-flip': { exit: 31, code: 'IMAGE_HASH_MISMATCH', attack: 'arbitrary-software' },
  'image-truncated': { exit: 31, code: 'IMAGE_TRUNCATED' },
  'image-endless': { exit: 31, code: 'IMAGE_TOO_LARGE', attack: 'endless-data' },
  'image-reset': { exit: 30, code: 'DOWNLOAD_FAILED' },
  'image-missing': { exit: 30, code: 'DOWNLOAD_FAILED' },
  'image-slow': { exit: 30, code: 'DOWNLOAD_TOO_SLOW', attack: 'slow-retrieval' },
  'director-snapshot-rollback': { exit: 20, code: 'VERSION_ROLLBACK', attack: 'rollback' },
  'expired-snapshot': {
    exit: 20,
    code: 'METADATA_EXPIRED',
    attack: 'freeze',
    kept: ['image/timestamp'],
  },
  'director-expired-snapshot': {
    exit: 20,
    code: 'METADATA_EXPIRED',
    attack: 'freeze',
    kept: ['director/timestamp'],
  },
  'mixed-snapshot': {
    exit: 20,
    code: 'METADATA_HASH_MISMATCH',
    attack: 'mix-and-match',
    kept: ['image/timestamp'],
  },
  'director-mixed-snapshot': {
    exit: 20,
    code: 'METADATA_HASH_MISMATCH',
    attack: 'mix-and-match',
    kept: ['director/timestamp'],
  },
  'mixed-targets': {
    exit: 20,
    code: 'METADATA_HASH_MISMATCH',
    attack: 'mix-and-match',
    kept: ['image/snapshot', 'image/timestamp'],
  },
  'director-mixed-targets': {
    exit: 20,
    code: 'METADATA_VERSION_MISMATCH',
    attack: 'mix-and-match',
    kept: BEFORE_DIRECTOR_TARGETS,
  },
  'wrong-vehicle-id': {
    exit: 20,
    code: 'DIRECTOR_WRONG_VEHICLE',
    attack: 'mix-and-match',
    kept: BEFORE_DIRECTOR_TARGETS,
  },
  'image-unlisted': {
    exit: 20,
    code: 'TARGET_NOT_IN_IMAGE_REPO',
    attack: 'arbitrary-software',
    kept: ['director/snapshot', 'director/targets', 'director/timestamp'],
  },
  'unsafe-filename': {
    exit: 20,
    code: 'TARGET_NAME_UNSAFE',
    attack: 'arbitrary-software',
    kept: BEFORE_DIRECTOR_TARGETS,
  },
  'wrong-type': {
    exit: 20,
    code: 'ROLE_TYPE_MISMATCH',
    attack: 'arbitrary-software',
    kept: ['director/timestamp'],
  },
  'snapshot-drops-file': {
    exit: 20,
    code: 'SNAPSHOT_ROLE_REMOVED',
    attack: 'rollback',
    kept: ['director/timestamp'],
  },
  'root-repeated': { exit: 20, code: 'ROOT_VERSION_MISMATCH', attack: 'rollback' },
  'metadata-missing': { exit: 20, code: 'METADATA_MISSING' },
  'metadata-truncated': { exit: 20, code: 'METADATA_MALFORMED' },
  'metadata-reset': { exit: 21, code: 'GATEWAY_UNREACHABLE' },
  'metadata-reordered': { exit: 20, code: 'ROLE_TYPE_MISMATCH', attack: 'arbitrary-software' },
  'image-reordered': { exit: 31, code: 'IMAGE_HASH_MISMATCH', attack: 'arbitrary-software' },
  'certificate-expired': { exit: 21, code: 'GATEWAY_TLS' },
  'certificate-wrong-name': { exit: 21, code: 'GATEWAY_TLS' },
  'http-500': { exit: 21, code: 'GATEWAY_ANSWER' },
  'http-503': { exit: 21, code: 'GATEWAY_ANSWER' },
};

/** An answer of the time server that is refused counts as none, and is told. */
const LIES: Readonly<Partial<Record<FaultName, string>>> = {
  'time-replay': 'freeze:TIME_NOT_FRESH',
  'time-wrong-nonce': 'freeze:TIME_NOT_FRESH',
  'time-wrong-key': 'arbitrary-software:THRESHOLD_NOT_MET',
  'time-past': 'freeze:TIME_ROLLBACK',
};

const TOLERATED: readonly FaultName[] = ['clock-behind', 'events-301'];
/** Refused where no time is signed, and tolerated where it is. */
const BY_CLOCK = 'clock-ahead';
/** They need another device: `ostree.test.ts` and `encrypted.test.ts` play all of them. */
const ELSEWHERE = /^(?:treehub|encryption)-/u;

describe('a device under attack', () => {
  let world: World;
  let installed: string;
  let round = 0;
  before(async () => {
    world = await openWorld('provisioned');
    installed = join(world.directory, 'installed.img');
    world.device.configure({
      installer: { type: 'file', path: installed },
      download: { attempts: 1, minimum_rate: '1MiB', minimum_rate_window: '1s' },
    });
    askForTime();
    // Two updates, so that there is something to be rolled back to.
    for (const name of ['first', 'second']) await update(name);
  });
  after(() => world.close());

  const askForTime = (): void => {
    const { timeUrl, timeKeysPath } = world.director;
    world.device.configure({ uptane: { time_url: timeUrl, time_keys: timeKeysPath } });
  };
  const state = (): Promise<Record<string, string>> =>
    trustedState(join(world.device.options.directory, 'storage'));
  const update = async (name: string): Promise<void> => {
    await world.offer(`${name}.img`, randomBytes(4_000_000));
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
    assert.equal(result.json['outcome'], 'installed');
  };

  for (const [fault, expected] of Object.entries(REFUSED)) {
    test(`${fault} is ${expected.code} (exit ${String(expected.exit)}), and service returns after it`, async () => {
      round += 1;
      const name = `offer-${String(round)}`;
      await world.offer(`${name}.img`, randomBytes(4_000_000));
      await see();
      const trusted = await state();
      const toldBefore = (await told()).length;
      const askedBefore = (await requests()).length;
      const runs = readFileSync(installed);
      await world.director.fault(fault as FaultName, 'on');
      const result = await world.device.agent(['once']);
      await world.director.fault(fault as FaultName, 'off');
      assert.equal(result.exit, expected.exit, said(result));
      assert.equal(result.json['code'], expected.code);
      assert.equal(rowOf(fault as FaultName).code, expected.code);
      assert.ok(readFileSync(installed).equals(runs), 'nothing was installed');
      assert.equal(result.json['attack'], expected.attack);
      assert.deepEqual(changes(trusted, await state()), expected.kept ?? []);
      if (expected.exit === 20) {
        const images = (await requests()).slice(askedBefore).filter(isForImage);
        assert.deepEqual(images, [], 'no image is asked for after metadata was refused');
      }
      await recover(expected);
      const attacks = (await told()).slice(toldBefore).filter((text) => text !== '');
      const { attack, code } = expected;
      assert.deepEqual(attacks, attack === undefined ? [] : [`${attack}:${code}`]);
    });
  }

  /** The device gets to know the newest metadata: nothing older can be passed off as new. */
  const see = async (): Promise<void> => {
    const result = await world.device.agent(['check']);
    assert.equal(result.exit, 10, said(result));
  };
  const changes = (before: Record<string, string>, after: Record<string, string>): string[] =>
    [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
      (name) => before[name] !== after[name],
    );
  const requests = async (): Promise<readonly string[]> => {
    const lines = await world.director.control('GET', `/requests?device=${DEVICE}`);
    return (lines as { readonly path: string }[]).map(({ path }) => path);
  };
  const isForImage = (path: string): boolean => path.includes('/repo/targets/');

  const recover = async (expected: Expectation): Promise<void> => {
    const again = await world.device.agent(['once']);
    assert.equal(again.exit, 0, said(again));
    // An image that was refused ended its update: it comes back when it is assigned again.
    if (expected.exit === 31) {
      assert.equal(again.json['outcome'], 'failed-before');
      await update(`again-${String(round)}`);
    } else assert.equal(again.json['outcome'], 'installed');
  };

  /** What every manifest so far told of attacks; each was accepted by the Director. */
  const told = async (): Promise<readonly string[]> => {
    const records = (await world.director.control('GET', `/devices/${DEVICE}/manifests`)) as {
      readonly verdict: { readonly code: string };
    }[];
    assert.deepEqual(
      records.filter(({ verdict }) => verdict.code !== 'accepted'),
      [],
    );
    return [...JSON.stringify(records).matchAll(/"attacks_detected":"([^"]*)"/gu)].map(
      ([, attacks = '']) => attacks,
    );
  };

  for (const [fault, attack] of [
    ['snapshot-rollback', 'rollback:VERSION_ROLLBACK'],
    ['metadata-slow', 'slow-retrieval:DOWNLOAD_TOO_SLOW'],
    ['image-slow', 'slow-retrieval:DOWNLOAD_TOO_SLOW'],
  ] as const) {
    test(`the Director learns of ${fault} in the next manifest, and only there (§5.4.2.1)`, async () => {
      const name = `reported-${fault}`;
      await world.offer(`${name}.img`, randomBytes(4_000_000));
      await see();
      const before = (await told()).length;
      await world.director.fault(fault, 'on');
      await world.device.agent(['once']);
      await world.director.fault(fault, 'off');
      for (let cycle = 0; cycle < 2; cycle += 1) await world.device.agent(['once']);
      const since = (await told()).slice(before);
      assert.deepEqual(
        since.filter((attacks) => attacks !== ''),
        [attack],
      );
      assert.equal(since[0], '');
    });
  }

  for (const [fault, attack] of Object.entries(LIES)) {
    test(`${fault} is told in the manifest of the same cycle, and does not stop the device (§5.4.2.2)`, async () => {
      await world.offer(`${fault}.img`, Buffer.alloc(1000, fault));
      await see();
      const before = (await told()).length;
      await world.director.fault(fault as FaultName, 'on');
      const result = await world.device.agent(['once']);
      await world.director.fault(fault as FaultName, 'off');
      assert.equal(result.exit, 0, said(result));
      assert.equal(result.json['outcome'], 'installed');
      assert.equal((await told())[before], attack);
      assert.equal(rowOf(fault as FaultName).code, attack.split(':')[1]);
    });
  }

  for (const fault of [...TOLERATED, BY_CLOCK] as const) {
    test(`${fault} does not stop the device`, async () => {
      await world.director.fault(fault, 'on');
      await update(fault);
      await world.director.fault(fault, 'off');
    });
  }

  test(`${BY_CLOCK} is METADATA_EXPIRED to a device that has no other time, and nothing is installed`, async () => {
    world.device.configure({ uptane: { time_url: undefined, time_keys: undefined } });
    const name = 'without-time.img';
    await world.offer(name, randomBytes(1000));
    const runs = readFileSync(installed);
    await world.director.fault(BY_CLOCK, 'on');
    const result = await world.device.agent(['once']);
    await world.director.fault(BY_CLOCK, 'off');
    assert.equal(result.exit, 20, said(result));
    assert.equal(result.json['code'], rowOf(BY_CLOCK).code);
    assert.equal(result.json['attack'], 'freeze');
    assert.ok(readFileSync(installed).equals(runs));
    const again = await world.device.agent(['once']);
    assert.equal(again.json['outcome'], 'installed', said(again));
    askForTime();
  });

  test('every fault that the Director knows is played here, or is for another device', () => {
    const played = [...Object.keys(REFUSED), ...Object.keys(LIES), ...TOLERATED, BY_CLOCK];
    const names = Object.keys(FAULTS).filter((name) => !ELSEWHERE.test(name));
    assert.deepEqual(played.toSorted(), names.toSorted());
    for (const fault of TOLERATED) assert.equal(rowOf(fault).code, '', fault);
  });
});
