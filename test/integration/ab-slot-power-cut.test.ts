/** kill -9 in each step of the installer, and what the next process makes of it. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { download, fileSlots, ignore, openAbSlot, TRIES } from '../support/ab-slot.ts';
import { bootBoard, readMarkerValues } from '../support/boot-loader.ts';
import { inChild, killInChild } from '../support/in-child.ts';
import { CHECKPOINT_BYTES, type StepOptions } from '../support/slot-driver.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const DRIVER = join(import.meta.dirname, '../support/slot-driver.ts');
const IMAGE_BYTES = 4 * 1024 * 1024 + 33;
const ALL = ['receive', 'prove', 'activate'] as const;

describe('ab-slot and power cuts', () => {
  const directory = temporaryDirectory('slot-cut');
  const at = (name: string): string => join(directory.path, name);
  const slots = fileSlots(directory.path);
  const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
  let content = randomBytes(IMAGE_BYTES);
  before(() => {
    bootBoard(board);
  });
  after(() => {
    directory.remove();
  });

  const options = (steps: StepOptions['steps'], pauseMs: number, inThread = true): StepOptions => {
    return { directory: directory.path, steps, pauseMs, inThread };
  };
  const offer = (): void => {
    content = randomBytes(IMAGE_BYTES);
    writeFileSync(at('update'), content);
  };
  const ran = (): Buffer => {
    return readFileSync(slots[readFileSync(board.booted, 'utf8').trim() as 'a' | 'b']);
  };
  /** What could boot must be what was proven, or what ran before. */
  const demandBootable = (): void => {
    const marker = readMarkerValues(board.marker);
    const active = (marker['active'] ?? 'a') as 'a' | 'b';
    if (active === readFileSync(board.booted, 'utf8').trim()) return;
    const bytes = readFileSync(slots[active]).subarray(0, IMAGE_BYTES);
    const digest = createHash('sha256').update(bytes).digest('hex');
    assert.equal(marker[`image_${active}`], `sha256:${digest}`, 'an unproven slot would boot');
  };

  test('the next process completes an update that was killed at any instant', async (t) => {
    let kills = 0;
    for (const [cut, delayMs] of [1, 60, 150, 220, 280, 340].entries()) {
      offer();
      const killed = options(ALL, 200, cut % 2 === 0);
      const outcome = await killInChild([DRIVER, 'runSteps', killed], {}, delayMs);
      kills += outcome === 'killed' ? 1 : 0;
      demandBootable();
      if (cut % 2 === 0) bootBoard(board);
      // Booted into the update it is over; else the steps are done again.
      const isOver = ran().subarray(0, IMAGE_BYTES).equals(content);
      const steps = isOver ? (['confirm'] as const) : ALL;
      const { value, text } = await inChild(DRIVER, 'runSteps', options(steps, 0), {});
      assert.ok(Array.isArray(value), text);
      bootBoard(board);
      assert.ok(ran().subarray(0, IMAGE_BYTES).equals(content), `killed after ${String(delayMs)}`);
      const confirmed = await inChild(DRIVER, 'runSteps', options(['confirm'], 0), {});
      assert.ok(Array.isArray(confirmed.value), confirmed.text);
      for (let boot = 0; boot <= TRIES; boot += 1) bootBoard(board);
      assert.ok(ran().subarray(0, IMAGE_BYTES).equals(content));
    }
    t.diagnostic(`${String(kills)} killed`);
    assert.ok(kills >= 3, `only ${String(kills)} were still alive to be killed`);
  });

  /** Receives half of an image, then loses the connection. */
  const receiveHalf = async (): Promise<void> => {
    const target = targetFor(content);
    const installer = openAbSlot(slots, board, { checkpointBytes: CHECKPOINT_BYTES });
    const half = async function* (offset: number): AsyncGenerator<Uint8Array> {
      yield* download(content.subarray(0, IMAGE_BYTES / 2), offset);
      throw new Error('reset');
    };
    await assert.rejects(installer.receive(target, half, ignore), /reset/u);
  };
  const idleSlot = (): string => {
    return readFileSync(board.booted, 'utf8').trim() === 'a' ? slots.b : slots.a;
  };
  const offsetsOfNext = async (): Promise<unknown> => {
    const { value, text } = await inChild(DRIVER, 'runSteps', options(ALL, 0), {});
    assert.ok(Array.isArray(value), text);
    bootBoard(board);
    assert.ok(ran().subarray(0, IMAGE_BYTES).equals(content));
    await inChild(DRIVER, 'runSteps', options(['confirm'], 0), {});
    return value;
  };

  test('a download goes on from the last point whose bytes are on the disk as they were', async () => {
    offer();
    await receiveHalf();
    const offsets = (await offsetsOfNext()) as readonly number[];
    assert.equal(offsets.length, 1);
    const [offset = 0] = offsets;
    assert.ok(offset >= CHECKPOINT_BYTES && offset <= IMAGE_BYTES / 2, String(offset));
  });

  test('it begins again where one byte of the slot is not what was written', async () => {
    offer();
    await receiveHalf();
    const file = openSync(idleSlot(), 'r+');
    writeSync(file, Buffer.from([0, 1, 2, 3]), 0, 4, 1000);
    closeSync(file);
    assert.deepEqual(await offsetsOfNext(), [0]);
  });

  test('it begins again where the slot is shorter than was noted', async () => {
    offer();
    await receiveHalf();
    truncateSync(idleSlot(), 1000);
    assert.deepEqual(await offsetsOfNext(), [0]);
  });

  test('it begins again for another image, and never takes the one for the other', async () => {
    offer();
    await receiveHalf();
    offer();
    assert.deepEqual(await offsetsOfNext(), [0]);
  });

  test('wrong bytes that were written before the connection was lost do not stay for ever', async () => {
    offer();
    const target = targetFor(content);
    const installer = openAbSlot(slots, board, { checkpointBytes: CHECKPOINT_BYTES });
    const wrong = Buffer.alloc(IMAGE_BYTES / 2, 'wrong');
    const lost = async function* (offset: number): AsyncGenerator<Uint8Array> {
      yield* download(wrong, offset);
      throw new Error('reset');
    };
    await assert.rejects(installer.receive(target, lost, ignore), /reset/u);
    await assert.rejects(
      installer.receive(target, (offset) => download(content, offset), ignore),
      { code: 'IMAGE_HASH_MISMATCH' },
    );
    assert.deepEqual(await offsetsOfNext(), [0]);
  });

  test('what is complete is not downloaded again', async () => {
    offer();
    await inChild(DRIVER, 'runSteps', options(['receive'], 0), {});
    assert.deepEqual(await offsetsOfNext(), []);
  });
});
