/** What the agent renews by itself: in a daemon that goes on, and by clocks that are wrong. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { collect } from '../support/device.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { RotationBench } from '../support/rotation-bench.ts';
import { emulator } from '../support/token-world.ts';
import { describe as said, DEVICE } from '../support/world.ts';

const DAY_MS = 24 * 3_600_000;
const inDays = (days: number): string => new Date(Date.now() + days * DAY_MS).toISOString();

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 150; tries += 1) {
    if (await holds()) return;
    await setTimeout(200);
  }
  assert.fail(what);
}

describe('renewal by a daemon', () => {
  let bench: RotationBench;
  before(async () => {
    bench = await RotationBench.open(emulator, { notBefore: inDays(-300), notAfter: inDays(65) });
  });
  after(() => bench.close());

  const lastEvents = async (): Promise<string[]> => {
    const events = (await bench.director.control('GET', `/devices/${DEVICE}/events`)) as {
      event: { eventType: { id: string } };
    }[];
    return events.map(({ event }) => event.eventType.id);
  };

  test('goes on without a restart, and keys are rotated while it runs, on command and by age', async () => {
    const issued = (await bench.certificates()).length;
    bench.device.configure({ uptane: { poll_interval: '1s' } });
    const daemon = bench.device.start(['run']);
    const ended = collect(daemon);
    try {
      await until('renews by itself', async () => (await bench.certificates()).length > issued);
      await until('tells the Director', async () =>
        (await lastEvents()).includes('DeviceCertificateRenewed'),
      );
      const rotated = await bench.ok(['rotate', 'uptane']);
      assert.equal(rotated.json['outcome'], 'rotated');
      const serial = (await bench.certificates())[0]?.serial ?? '';
      await bench.director.control('DELETE', `/certificates/${serial}`);
      // The certificate of before is revoked, and its connections are cut: the new one is in use.
      const seen = (await bench.known()).lastManifestAt;
      await until('polls with the new certificate', async () => {
        const { lastManifestAt } = await bench.known();
        return lastManifestAt !== seen && (await bench.lastVerdict()) === 'accepted';
      });
      assert.equal((await bench.certificates()).length, issued + 1);
      assert.equal(daemon.exitCode, null, 'it runs still');
      // Sooner or later this token gives a key the handle of one that is gone, and the TLS engine takes
      // it for that. The daemon ends itself then, and its successor goes on.
      let waits = await bench.device.agent(['rotate', 'tls']);
      for (let more = 0; more < 5 && waits.exit === 0; more += 1) {
        waits = await bench.device.agent(['rotate', 'tls']);
      }
      assert.equal(waits.exit, 50, said(waits));
      assert.equal(waits.json['rotation'], 'waiting');
      assert.equal(waits.json['code'], 'TOKEN_FAILED');
      await until('ends itself', () => Promise.resolve(daemon.exitCode !== null));
      assert.equal(daemon.exitCode, 50);
    } finally {
      daemon.kill('SIGTERM');
      await ended;
    }
    const { census } = await bench.finish();
    assert.equal(census.tls.length, 1);
    assert.deepEqual(census.uptane, ['0302']);
  });

  test('a key that is too old is replaced at the next cycle, once', async () => {
    bench.device.configure({ identity: { tls_key_max_age: '1m' } });
    const before = (await bench.finish()).census.tls;
    // The age counts from here on: nobody knows when the key was made.
    await bench.ok(['once']);
    const later = await bench.device.agent(['once'], fakeClock('+90s'));
    assert.equal(later.exit, 0, said(later));
    await bench.ok(['once']);
    bench.device.configure({ identity: { tls_key_max_age: undefined } });
    const { tls } = (await bench.finish()).census;
    assert.equal(Number(`0x${tls[0] ?? ''}`), Number(`0x${before[0] ?? ''}`) + 1);
  });
});

describe('renewal by a clock that is wrong', () => {
  let bench: RotationBench;
  before(async () => {
    bench = await RotationBench.open(emulator);
  });
  after(() => bench.close());

  test('ahead by 300 days renews once, not in a loop', async () => {
    const issued = (await bench.certificates()).length;
    for (let cycle = 0; cycle < 3; cycle += 1) {
      const result = await bench.device.agent(['once'], fakeClock('+300d'));
      assert.equal(result.exit, 0, said(result));
    }
    assert.equal((await bench.certificates()).length, issued + 1);
  });

  test('in 1970 or in 2100 asks nobody for a certificate, and goes on when it is set', async () => {
    const issued = (await bench.certificates()).length;
    for (const [time, exit] of [
      ['@1970-01-02 00:00:00', 0],
      ['@2100-01-01 00:00:00', 50],
    ] as const) {
      const result = await bench.device.agent(['once'], fakeClock(time));
      assert.equal(result.exit, exit, said(result));
    }
    await bench.ok(['once']);
    assert.equal((await bench.certificates()).length, issued);
    const { census } = await bench.finish();
    assert.equal(census.certificates, 1);
  });
});
