/** Whole cycles under clocks, time servers and gateways that lie about the time. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { OtaError, type FailureCode, type FailureDetails } from '../../agent/errors.ts';
import { formatInstant, parseInstant } from '../../agent/uptane/time.ts';
import { ed25519, FUTURE } from '../support/build-metadata.ts';
import { PRIMARY_KEY, TestDevice } from '../support/cycle-device.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { readManifest } from '../support/sent-manifest.ts';
import { TimeSigner } from '../support/time-signer.ts';
import { NOW, PRIMARY } from '../support/uptane-world.ts';

const Y2100 = Date.UTC(2100, 0, 1);
const AFTER_EXPIRY = '2038-01-01T00:00:00Z';
const HONEST = formatInstant(NOW);

async function withDevice(act: (device: TestDevice) => Promise<void>): Promise<void> {
  const device = new TestDevice();
  try {
    device.world.release('fw-1');
    await act(device);
  } finally {
    await device.close();
  }
}

/** A cycle that finds everything expired, asks for no image and keeps its floor. */
async function findsExpired(device: TestDevice, nowAt: string): Promise<void> {
  const before = await (await device.ports()).store.latestKnownTime();
  device.outside.image = () => assert.fail('an image was asked for');
  const details: FailureDetails['METADATA_EXPIRED'] = {
    repo: 'director',
    role: 'root',
    expiresAt: FUTURE,
    nowAt,
  };
  await rejectsCode(device.cycle(), 'METADATA_EXPIRED', details);
  const { store } = await device.ports();
  assert.equal(await store.latestKnownTime(), before);
  assert.equal(await store.loadState(), undefined);
}

function lastReport(device: TestDevice): ReturnType<typeof readManifest>[string] {
  const report = readManifest(device.outside.manifests.at(-1) ?? '', PRIMARY_KEY)[PRIMARY.serial];
  assert.ok(report);
  return report;
}

describe('a cycle with a time server', () => {
  test('under a clock in 1970 refuses metadata that has expired by the signed time (P2, P9)', () =>
    withDevice(async (device) => {
      device.outside.wallMs = 0;
      device.outside.timeServer = new TimeSigner(AFTER_EXPIRY);
      await findsExpired(device, AFTER_EXPIRY);
    }));

  test('under a clock in 2100 installs, and remembers the signed time (P2, P9)', () =>
    withDevice(async (device) => {
      device.outside.wallMs = Y2100;
      device.outside.timeServer = new TimeSigner(HONEST);
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      assert.equal(await (await device.ports()).store.latestKnownTime(), NOW);
      assert.equal(lastReport(device).timeserver_time, HONEST);
    }));

  test('whose keys were stolen loses cycles, not the device: no signature alone raises the floor (P9)', () =>
    withDevice(async (device) => {
      const server = new TimeSigner('9999-12-31T23:59:59Z');
      device.outside.timeServer = server;
      const image = device.outside.image;
      await findsExpired(device, server.time);
      device.outside.image = image;
      server.time = HONEST;
      assert.equal((await device.cycle()).outcome, 'reboot-required');
    }));

  const foreign = ed25519();
  const spoilt: readonly (readonly [string, FailureCode, string, (server: TimeSigner) => void])[] =
    [
      [
        'is down',
        'GATEWAY_UNREACHABLE',
        '',
        (server) => {
          const facts = { url: 'u', cause: 'down', remedy: 'wait' };
          server.failure = new OtaError('GATEWAY_UNREACHABLE', facts);
        },
      ],
      [
        'is slow',
        'DOWNLOAD_TOO_SLOW',
        'slow-retrieval:DOWNLOAD_TOO_SLOW',
        (server) => {
          const facts = { filename: 'time', minimumBytesPerSecond: 1024, overMs: 30_000 };
          server.failure = new OtaError('DOWNLOAD_TOO_SLOW', facts);
        },
      ],
      [
        'signs with another key',
        'THRESHOLD_NOT_MET',
        'arbitrary-software:THRESHOLD_NOT_MET',
        (server) => (server.signer = foreign),
      ],
      [
        'repeats an old answer',
        'TIME_NOT_FRESH',
        'freeze:TIME_NOT_FRESH',
        (server) => (server.replayed = server.last),
      ],
      [
        'signs a time before the latest known one',
        'TIME_ROLLBACK',
        'freeze:TIME_ROLLBACK',
        (server) => (server.time = '2017-01-01T00:00:00Z'),
      ],
    ];
  for (const [what, code, attack, spoil] of spoilt) {
    test(`that ${what} is ${code}: said, reported, and the update goes on (P2, P9, P10)`, () =>
      withDevice(async (device) => {
        const server = new TimeSigner(HONEST);
        device.outside.timeServer = server;
        await server.askTime(Buffer.from('{"nonces":["seen before"]}'));
        const { store } = await device.ports();
        await store.raiseLatestKnownTime(NOW);
        spoil(server);
        const ports = await device.ports();
        const said: Error[] = [];
        const reporter = { ...ports.reporter, refused: (error: Error) => said.push(error) };
        const outcome = await device.cycle({ reporter });
        assert.deepEqual(
          said.map((error) => error.message.split(' ', 1)[0]),
          [code],
        );
        assert.equal(outcome.outcome, 'reboot-required');
        assert.equal(lastReport(device).attacks_detected, attack);
        assert.deepEqual(await store.unreportedAttacks(), []);
      }));
  }

  test('asks with a nonce of its own each time (§5.4.2.2)', () =>
    withDevice(async (device) => {
      const nonces: string[] = [];
      const server = new TimeSigner(HONEST);
      const { authority } = server;
      device.outside.timeServer = {
        authority,
        askTime: (request) => {
          nonces.push(Buffer.from(request).toString());
          return server.askTime(request);
        },
      };
      for (let cycle = 0; cycle < 3; cycle += 1) await device.cycle();
      assert.equal(new Set(nonces).size, 3);
    }));
});

describe('a cycle without a time server', () => {
  test('judges by the clock, as long as that is not before the latest known time (P2)', () =>
    withDevice(async (device) => {
      device.outside.wallMs = Y2100;
      const image = device.outside.image;
      await findsExpired(device, '2100-01-01T00:00:00Z');
      device.outside.image = image;
      const { store } = await device.ports();
      await store.raiseLatestKnownTime(NOW);
      device.outside.wallMs = 0;
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      assert.equal(lastReport(device).timeserver_time, HONEST);
    }));

  test('under a clock in 1970 is moved on by the Date of the gateway, and finds what expired (P2)', () =>
    withDevice(async (device) => {
      device.outside.wallMs = 0;
      device.outside.date = parseInstant(AFTER_EXPIRY, 'date');
      await findsExpired(device, AFTER_EXPIRY);
    }));

  test('is not moved back by a Date, and a Date that lied leaves nothing behind (P2, P9)', () =>
    withDevice(async (device) => {
      const image = device.outside.image;
      device.outside.date = parseInstant('2099-01-01T00:00:00Z', 'date');
      await findsExpired(device, '2099-01-01T00:00:00Z');
      device.outside.image = image;
      device.outside.date = parseInstant('1990-01-01T00:00:00Z', 'date');
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      assert.equal(await (await device.ports()).store.latestKnownTime(), NOW);
    }));
});
