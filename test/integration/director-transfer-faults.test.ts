/** Faults of images, certificates and answers, as devices see them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import type { ActiveFault } from '../director/faults.ts';
import type { SimulatedDevice } from '../director/simulated/device.ts';
import { IMAGE, startFaultFixture, type FaultFixture } from './director-fault-fixture.ts';
import { answered } from './director-fixture.ts';

let fixture: FaultFixture;
before(async () => {
  fixture = await startFaultFixture();
});
after(async () => {
  await fixture.end();
});

describe('image faults on the wire', () => {
  test('image-bit-flip: one bit, at the byte that was asked for, also within a range', async () => {
    await fixture.during('image-bit-flip', { at: 1000 }, async () => {
      const wrong = Buffer.from(fixture.content);
      wrong.writeUInt8(wrong.readUInt8(1000) ^ 1, 1000);
      assert.ok((await fixture.device.get(IMAGE)).body.equals(wrong));
      const part = await fixture.device.get(IMAGE, { range: 'bytes=990-1010' });
      assert.ok(part.body.equals(wrong.subarray(990, 1011)));
      assert.ok((await fixture.other.get(IMAGE)).body.equals(fixture.content));
    });
    assert.ok((await fixture.device.get(IMAGE)).body.equals(fixture.content));
  });

  test('image-truncated: shorter, but a complete answer', async () => {
    await fixture.during('image-truncated', { missingBytes: 96 }, async () => {
      const { status, headers, body } = await fixture.device.get(IMAGE);
      assert.deepEqual([status, headers['content-length']], [200, '4000']);
      assert.ok(body.equals(fixture.content.subarray(0, 4000)));
    });
  });

  test('image-endless: goes on after the image', async () => {
    await fixture.during('image-endless', { maxBytes: 1_000_000 }, async () => {
      const { headers, body } = await fixture.device.get(IMAGE);
      assert.equal(headers['content-length'], undefined);
      assert.ok(body.length >= 1_000_000);
      assert.ok(body.subarray(0, fixture.content.length).equals(fixture.content));
    });
  });

  test('image-slow: takes its time', async () => {
    await fixture.during('image-slow', { bytesPerSecond: 10_000 }, async () => {
      const started = performance.now();
      const { body } = await fixture.device.get(IMAGE);
      assert.ok(body.equals(fixture.content));
      // 4096 bytes at this speed; timers may be a little early, never much.
      assert.ok(performance.now() - started > 350);
    });
  });

  test('image-reset: the connection dies in the middle, and a range goes on', async () => {
    await fixture.during('image-reset', { afterBytes: 1000, times: 1 }, async () => {
      await assert.rejects(fixture.device.get(IMAGE), { code: 'ECONNRESET' });
      const { active } = (await fixture.director.control('GET', '/faults')) as {
        active: ActiveFault[];
      };
      assert.deepEqual(active, []);
      const rest = await fixture.device.get(IMAGE, { range: 'bytes=1000-' });
      assert.ok(rest.body.equals(fixture.content.subarray(1000)));
    });
  });

  test('image-reordered: the same bytes in another order', async () => {
    await fixture.during('image-reordered', {}, async () => {
      const halves = [fixture.content.subarray(2048), fixture.content.subarray(0, 2048)];
      assert.ok((await fixture.device.get(IMAGE)).body.equals(Buffer.concat(halves)));
    });
  });

  test('image-missing: 404', async () => {
    await fixture.during('image-missing', {}, async () => {
      answered(await fixture.device.get(IMAGE), 404, 'missing_entity');
    });
  });
});

describe('certificate faults on the wire', () => {
  for (const [name, code] of [
    ['certificate-expired', 'CERT_HAS_EXPIRED'],
    ['certificate-wrong-name', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ] as const) {
    test(`${name}: for all, at once, and no session helps`, async () => {
      const { director } = fixture;
      assert.equal((await fixture.device.get('/repo/timestamp.json')).status, 200);
      await director.fault(name, 'on');
      for (const one of [fixture.device, fixture.other])
        await assert.rejects(one.get('/repo/1.root.json'), { code });
      await director.fault(name, 'off');
      for (const one of [fixture.device, fixture.other])
        assert.equal((await one.get('/repo/1.root.json')).status, 200);
    });
  }
});

describe('answer faults on the wire', () => {
  for (const [name, sign] of [
    ['clock-ahead', 1],
    ['clock-behind', -1],
  ] as const) {
    test(`${name}: Date is off by so many seconds, for whom it is meant`, async () => {
      const skewOf = async (one: SimulatedDevice): Promise<number> =>
        Date.parse((await one.get('/repo/1.root.json')).headers.date ?? '') - Date.now();
      await fixture.during(name, { seconds: 86_400 }, async () => {
        assert.ok(Math.abs((await skewOf(fixture.device)) - sign * 86_400_000) < 60_000);
        assert.ok(Math.abs(await skewOf(fixture.other)) < 60_000);
      });
      assert.ok(Math.abs(await skewOf(fixture.device)) < 60_000);
    });
  }

  test('http-500 and http-503 for a path, as often as asked, 503 with Retry-After', async () => {
    await fixture.during('http-500', { path: '/repo/', times: 2 }, async () => {
      assert.equal((await fixture.device.get('/director/targets.json')).status, 200);
      answered(await fixture.device.get('/repo/timestamp.json'), 500, 'internal_server_error');
      answered(await fixture.device.get(IMAGE), 500, 'internal_server_error');
      assert.equal((await fixture.device.get('/repo/timestamp.json')).status, 200);
    });
    await fixture.during('http-503', { retryAfterSeconds: 7 }, async () => {
      const answer = await fixture.device.sendManifest({ counter: 1 });
      answered(answer, 503, 'service_unavailable');
      assert.equal(answer.headers['retry-after'], '7');
    });
    assert.equal((await fixture.device.sendManifest({ counter: 1 })).status, 200);
  });

  test('events-301 redirects POST /events to /events/', async () => {
    await fixture.during('events-301', {}, async () => {
      const answer = await fixture.device.call('POST', '/events', { body: '[]' });
      assert.deepEqual([answer.status, answer.headers.location], [301, '/events/']);
      assert.equal((await fixture.device.call('POST', '/events/', { body: '[]' })).status, 204);
    });
    assert.equal((await fixture.device.call('POST', '/events', { body: '[]' })).status, 204);
  });
});
