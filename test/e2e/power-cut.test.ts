/** kill -9 at random instants of an update, each followed by a power cut or a restart. */
import assert from 'node:assert/strict';
import { createHash, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { collect } from '../support/device.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

const IMAGE_BYTES = 24 * 1024 * 1024;
const CUTS = 10;

describe('power cuts', () => {
  let world: World;
  before(async () => {
    world = await openWorld('provisioned');
  });
  after(() => world.close());

  const image = (name: string): Buffer => Buffer.alloc(IMAGE_BYTES, `${name} `);

  /** A slot that the boot loader would try must hold exactly what was proven for it. */
  const demandProvenSlots = (): void => {
    const marker = world.device.marker();
    const running = readFileSync(world.device.board.booted, 'utf8').trim();
    for (const slot of ['a', 'b'] as const) {
      const claimed = marker[`image_${slot}`];
      if (claimed === undefined) {
        assert.ok(marker['active'] === undefined || marker['active'] === running, 'unproven slot');
        continue;
      }
      const content = readFileSync(world.device.slots[slot]).subarray(0, IMAGE_BYTES);
      const digest = createHash('sha256').update(content).digest('hex');
      assert.equal(claimed, `sha256:${digest}`, `slot ${slot} is not what the marker says`);
    }
  };

  const finish = async (): Promise<void> => {
    for (let run = 0; run < 4; run += 1) {
      const result = await world.device.agent(['once']);
      demandProvenSlots();
      assert.ok(result.exit === 0 || result.exit === 11, said(result));
      if (result.exit === 0) return;
      world.device.boot();
    }
    assert.fail('the update did not come to an end');
  };

  const durationMs = async (): Promise<number> => {
    await world.offer('measure.img', image('measure'));
    const start = performance.now();
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 11, said(result));
    const duration = performance.now() - start;
    world.device.boot();
    await finish();
    return duration;
  };

  test('the next run completes an update that was killed at any instant, and no slot is bootable before its hash was checked', async (t) => {
    const longest = Math.ceil(await durationMs());
    let kills = 0;
    for (let cut = 0; kills < CUTS; cut += 1) {
      assert.ok(cut < 3 * CUTS, `only ${String(kills)} runs were still alive to be killed`);
      const name = `cut-${String(cut)}`;
      await world.offer(`${name}.img`, image(name));
      const afterMs = randomInt(1, longest);
      const rebooted = cut % 2 === 0;
      const child = world.device.start(['once', '--json']);
      const ended = collect(child);
      await Promise.race([setTimeout(afterMs), once(child, 'exit')]);
      child.kill('SIGKILL');
      const { signal } = await ended;
      if (signal === 'SIGKILL') kills += 1;
      demandProvenSlots();
      if (rebooted) world.device.boot();
      const state = `killed=${String(signal)} after ${String(afterMs)} of ${String(longest)} ms`;
      t.diagnostic(`${name}: ${state}${rebooted ? ', rebooted' : ''}`);
      await finish();
      assert.ok(world.device.running(IMAGE_BYTES).equals(image(name)), state);
    }
  });

  test('the second step, confirming after the boot, may be killed as well', async () => {
    for (const afterMs of [200, 500, 800, 1100]) {
      const name = `confirm-${String(afterMs)}`;
      await world.offer(`${name}.img`, image(name));
      const written = await world.device.agent(['once']);
      assert.equal(written.exit, 11, said(written));
      world.device.boot();
      const child = world.device.start(['once', '--json']);
      const ended = collect(child);
      await Promise.race([setTimeout(afterMs), once(child, 'exit')]);
      child.kill('SIGKILL');
      await ended;
      await finish();
      assert.ok(world.device.running(IMAGE_BYTES).equals(image(name)));
      assert.equal(world.device.marker()['state'], 'good');
    }
  });
});
