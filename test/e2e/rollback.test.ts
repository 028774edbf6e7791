/** A storage that was put back, and a token that was exchanged, on the emulator with RPMB. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { makeDevice, describe as said, DEVICE, openWorld, type World } from '../support/world.ts';
import { startTee } from '../support/tee.ts';
import type { AgentResult } from '../support/device.ts';

describe('the rollback anchor', () => {
  let world: World;
  let installed: string;
  before(async () => {
    world = await openWorld('provisioned', { teeArguments: ['--rpmb', '--private', 'rpmb'] });
    installed = join(world.directory, 'installed.img');
    world.device.configure({ installer: { type: 'file', path: installed } });
  });
  after(() => world.close());

  const storage = (): string => join(world.directory, 'device', 'storage');
  const copyStorage = (name: string): string => {
    const copy = join(world.directory, name);
    cpSync(storage(), copy, { recursive: true });
    return copy;
  };
  const putBack = (copy: string): void => {
    rmSync(storage(), { recursive: true });
    cpSync(copy, storage(), { recursive: true });
  };
  const install = async (name: string): Promise<void> => {
    await world.offer(name, Buffer.from(name));
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
    assert.equal(readFileSync(installed, 'utf8'), name);
  };
  const standing = async (): Promise<unknown> => {
    const result = await world.device.agent(['anchor', 'show']);
    assert.equal(result.exit, 0, said(result));
    return result.json['standing'];
  };
  const refused = (result: AgentResult, code: string): Record<string, string> => {
    assert.equal(result.exit, 50, said(result));
    assert.equal(result.json['code'], code, said(result));
    return result.json['details'] as Record<string, string>;
  };

  interface Report {
    readonly report_counter: string;
    readonly attacks_detected: string;
    readonly installed_image: { readonly filepath: string };
  }
  const reports = async (): Promise<readonly Report[]> => {
    const records = (await world.director.control('GET', `/devices/${DEVICE}/manifests`)) as {
      readonly verdict: { readonly status: number };
      readonly manifest: {
        readonly signed: {
          readonly ecu_version_manifests: Record<string, { readonly signed: Report }>;
        };
      };
    }[];
    return records.map(({ verdict, manifest }) => {
      assert.equal(verdict.status, 200);
      const [report] = Object.values(manifest.signed.ecu_version_manifests);
      assert.ok(report !== undefined);
      return report.signed;
    });
  };

  test('an older storage is refused with STORAGE_ROLLED_BACK, told to the Director, and made up for', async () => {
    await install('fw-1');
    const yesterday = copyStorage('yesterday');
    await install('fw-2');
    assert.equal(await standing(), 'current');
    const before = (await reports()).length;
    putBack(yesterday);

    const examined = await world.device.agent(['doctor']);
    const found = (examined.json['checks'] as { name: string; code?: string }[]).find(
      ({ name }) => name === 'seal',
    );
    assert.equal(found?.code, 'STORAGE_ROLLED_BACK', said(examined));
    const checked = refused(await world.device.agent(['check']), 'STORAGE_ROLLED_BACK');
    const details = refused(await world.device.agent(['once']), 'STORAGE_ROLLED_BACK');
    assert.deepEqual(details, checked);
    assert.equal(details['what'], 'storage');
    assert.ok(Number(details['found']) < Number(details['sealed']));
    assert.match(details['remedy'] ?? '', /anchor accept/u);

    const all = await reports();
    const told = all.slice(before);
    assert.equal(told.length, 1);
    assert.equal(told[0]?.attacks_detected, 'rollback:STORAGE_ROLLED_BACK');
    // The storage says fw-1, which does not run: no lie about it reaches the Director.
    assert.doesNotMatch(told[0].installed_image.filepath, /fw/u);
    const counters = all.map(({ report_counter: counter }) => Number(counter));
    assert.deepEqual(
      counters,
      [...counters].sort((a, b) => a - b),
    );
    assert.equal(new Set(counters).size, counters.length);

    const again = await world.device.agent(['once']);
    assert.equal(again.exit, 0, said(again));
    assert.equal(readFileSync(installed, 'utf8'), 'fw-2');
    assert.equal(await standing(), 'current');
    const last = (await reports()).at(-1);
    assert.equal(last?.attacks_detected, '');
  });

  test('a deliberate restore is accepted by hand, loudly, and the Director hears of it', async () => {
    const copy = copyStorage('deliberate');
    await install('fw-4');
    putBack(copy);
    const accepted = await world.device.agent(['anchor', 'accept']);
    assert.equal(accepted.exit, 0, said(accepted));
    assert.equal(accepted.json['outcome'], 'accepted');
    assert.equal(accepted.json['standing'], 'current');
    assert.match(accepted.stderr, /older storage was accepted/u);
    const once = await world.device.agent(['once']);
    assert.equal(once.exit, 0, said(once));
    const told = (await reports()).map(({ attacks_detected: attacks }) => attacks);
    assert.ok(told.slice(-2).includes('rollback:STORAGE_ROLLED_BACK'));
  });

  test('the token of another device is refused with TOKEN_REPLACED, and nobody is told in its name', async () => {
    const other = join(world.directory, 'other');
    mkdirSync(other);
    const tee = await startTee(other, '--rpmb', '--private', 'rpmb');
    try {
      const name = { id: 'device-2', hardwareId: 'test-board' };
      const stranger = makeDevice(other, name, world.director, tee);
      stranger.configure({ installer: { type: 'file', path: join(other, 'installed.img') } });
      const provisioned = await stranger.agent(['provision']);
      assert.equal(provisioned.exit, 0, said(provisioned));
      const sent = (await reports()).length;
      const swapped = await world.device.agent(['once'], tee.env);
      const details = refused(swapped, 'TOKEN_REPLACED');
      assert.match(details['problem'] ?? '', /another storage/u);
      assert.equal((await reports()).length, sent);
      assert.equal((await world.device.agent(['once'])).exit, 0);
    } finally {
      await tee.stop();
    }
  });

  test('where token.anchor is off nothing is sealed and nothing asked', async () => {
    const copy = copyStorage('off');
    world.device.configure({ token: { anchor: 'off' } });
    await install('fw-off');
    putBack(copy);
    assert.equal((await world.device.agent(['once'])).exit, 0);
    assert.equal(await standing(), 'off');
    world.device.configure({ token: { anchor: 'auto' } });
    assert.equal(await standing(), 'current');
  });

  test('storage and token put back together are not noticed: nothing on the board remembers', async () => {
    await world.tee.stop();
    const [disk, token] = [copyStorage('both'), join(world.directory, 'tee-copy')];
    cpSync(world.tee.storage, token, { recursive: true });
    const restart = (): ReturnType<typeof startTee> =>
      startTee(world.directory, '--rpmb', '--private', 'rpmb');
    let tee = await restart();
    try {
      await install('fw-5');
      await tee.stop();
      putBack(disk);
      rmSync(world.tee.storage, { recursive: true });
      cpSync(token, world.tee.storage, { recursive: true });
      tee = await restart();
      assert.equal(await standing(), 'current');
    } finally {
      await tee.stop();
    }
  });
});
