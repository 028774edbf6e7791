/** A rollout of an image that is encrypted for each device. */
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import type { CountedRollout } from '../director/control/rollouts.ts';
import type { Rollout } from '../director/rollouts/rollout.ts';
import type { SimulatedDevice } from '../director/simulated/device.ts';
import { SimulatedUpdates } from '../director/simulated/updates.ts';
import { answered, deviceState, startFixture, type Fixture } from './director-fixture.ts';

interface Listed {
  readonly hashes: { readonly sha256: string };
  readonly custom: {
    readonly encryption: { readonly length: number; readonly hashes: { readonly sha256: string } };
  };
}

const CONTENT = randomBytes(200_000);
const LONGEST_MS = 60_000;

let fixture: Fixture;
let fleet: readonly SimulatedUpdates[];

before(async () => {
  fixture = await startFixture();
  const path = join(fixture.directory, 'to-encrypt');
  writeFileSync(path, CONTENT);
  const image = { path, name: 'secret.bin', hardwareIds: ['primary-hw'], version: '1' };
  await fixture.director.publish({ ...image, encrypt: true });
  fleet = await Promise.all(
    ['device-0', 'device-1', 'device-2', 'keyless'].map(async (id) => {
      const device = await fixture.newDevice(id);
      await device.register();
      if (id !== 'keyless') await registerKey(device);
      return new SimulatedUpdates(device);
    }),
  );
});
after(() => fixture.end());

async function registerKey(device: SimulatedDevice): Promise<void> {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const body = JSON.stringify({ key: publicKey.export({ format: 'jwk' }) });
  answered(await device.call('PUT', '/secrets/key', { body }), 204);
}

async function begin(phases: readonly object[]): Promise<string> {
  const body = { name: 'secretly', image: 'secret.bin', phases };
  const { id } = (await fixture.director.control('POST', '/rollouts', body)) as Rollout;
  await fixture.director.control('POST', `/rollouts/${id}/start`);
  return id;
}

async function show(id: string): Promise<CountedRollout> {
  return (await fixture.director.control('GET', `/rollouts/${id}`)) as CountedRollout;
}

/** Polls as an idle device does, until it is given something. */
async function untilGiven(
  { device }: SimulatedUpdates,
  manifest: () => Promise<unknown>,
): Promise<Listed> {
  for (const until = Date.now() + LONGEST_MS; Date.now() < until;) {
    await manifest();
    const { json } = await device.get('/director/targets.json');
    const { signed } = json as {
      readonly signed: { readonly targets: Record<string, Listed> };
    };
    const listed = signed.targets['secret.bin'];
    if (listed !== undefined) return listed;
    await delay(50);
  }
  throw new Error(`${device.id} was given nothing`);
}

const cipherTexts = (): readonly string[] => readdirSync(join(fixture.director.stateDir, 'images'));

describe('a rollout of an encrypted image', () => {
  const given = new Map<string, string>();

  test('gives each device a cipher text of its own, and leaves out those without a key', async () => {
    const id = await begin([{ percentage: 100 }]);
    let counter = 0;
    for (const one of fleet.slice(0, 3)) {
      const { device } = one;
      const { hashes, custom } = await untilGiven(one, async () => {
        counter += 1;
        return device.sendManifest({ counter });
      });
      assert.equal(hashes.sha256, createHash('sha256').update(CONTENT).digest('hex'));
      const { body } = await device.get('/repo/targets/secret.bin');
      const sha256 = createHash('sha256').update(body).digest('hex');
      assert.equal(sha256, custom.encryption.hashes.sha256);
      assert.equal(body.length, custom.encryption.length);
      given.set(device.id, sha256);
    }
    assert.equal(new Set(given.values()).size, 3);
    await fleet[3]?.poll(() => true);
    assert.equal((await deviceState(fixture, 'keyless')).assignment, undefined);
    const { counts } = await show(id);
    assert.deepEqual([counts[0]?.assigned, counts[0]?.waiting], [3, 0]);
  });

  test('needs no second cipher text: what was ready is what was given, and it goes when the device has ended', async () => {
    // What was made for a device in vain is removed in a moment.
    for (const until = Date.now() + LONGEST_MS; cipherTexts().length !== 4;) {
      assert.ok(Date.now() < until, `the image, and one for each device: ${cipherTexts().join()}`);
      await delay(50);
    }
    for (const one of fleet.slice(0, 3)) {
      while ((await one.poll(() => true)) === 'refused') await delay(1);
    }
    assert.equal(cipherTexts().length, 1);
    const [first] = fleet;
    assert.ok(first !== undefined);
    answered(await first.device.get('/repo/targets/secret.bin'), 404, 'missing_entity');
  });

  test('is encrypted anew to a new key, and what was ready goes when it is stopped', async () => {
    const [first] = fleet;
    assert.ok(first !== undefined);
    const path = join(fixture.directory, 'to-encrypt');
    writeFileSync(path, randomBytes(1000));
    const image = { path, name: 'next.bin', hardwareIds: ['primary-hw'], version: '2' };
    await fixture.director.publish({ ...image, encrypt: true });
    const body = { name: 'next', image: 'next.bin', phases: [{ percentage: 100 }] };
    const { id } = (await fixture.director.control('POST', '/rollouts', body)) as Rollout;
    await fixture.director.control('POST', `/rollouts/${id}/start`);
    const kid = async (): Promise<string | undefined> =>
      (await deviceState(fixture, 'device-0')).prepared?.kid;
    const ready = async (isWanted: (kid: string | undefined) => boolean): Promise<string> => {
      for (const until = Date.now() + LONGEST_MS; Date.now() < until;) {
        const now = await kid();
        if (isWanted(now)) return now ?? '';
        await delay(50);
      }
      throw new Error('nothing is ready for it');
    };
    const before = await ready((one) => one !== undefined);
    const useless = (await deviceState(fixture, 'device-0')).prepared?.encryption.sha256;
    assert.ok(useless !== undefined);
    await registerKey(first.device);
    // Not what was ready, which it could not open; where the server is quick, what it can.
    const polled = await first.poll(() => true);
    assert.ok(polled === 'idle' || polled === 'succeeded', polled);
    assert.ok(!first.cipherTexts.includes(useless), 'it was given what it cannot open');
    assert.equal(first.cipherTexts.length, polled === 'idle' ? 1 : 2);
    assert.notEqual(await ready((one) => one !== before), before);
    await fixture.director.control('POST', `/rollouts/${id}/stop`);
    assert.equal(await first.poll(() => true), 'idle');
    assert.equal(await kid(), undefined);
    // Two images, and what is ready for the two devices that have not polled since.
    assert.equal(cipherTexts().length, 4);
  });
});
