import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { AbSlotInstaller } from '../../agent/io/installers/ab-slot.ts';
import { formatMarker, parseMarker } from '../../agent/io/installers/boot-marker.ts';
import { FileInstaller } from '../../agent/io/installers/file.ts';
import {
  installerContract,
  type InstallerFixture,
  type Running,
} from '../contract/installer.contract.ts';
import { bootBoard, readMarkerValues } from '../support/boot-loader.ts';
import { rejectsCode, throwsCode } from '../support/expect-code.ts';
import { attachLoop, detachLoop, loopProblem } from '../support/loop-device.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const DISK_BYTES = 8 * 1024 * 1024;

const FACTORY = Buffer.from('factory image');
const UPDATE = Buffer.alloc(3 * 1024 * 1024 + 17, 'new image ');
const UPDATE_TARGET = targetFor(UPDATE);

installerContract('file', (directory) => {
  const path = join(directory, 'installed.bin');
  writeFileSync(path, FACTORY);
  return {
    installer: new FileInstaller(path),
    target: UPDATE_TARGET,
    content: UPDATE,
    running: () => whichIs(readFileSync(path)),
    boot: () => undefined,
  };
});

installerContract('ab-slot', (directory) => openBoard(directory, FACTORY));

const problem = loopProblem();
if (problem === undefined) {
  installerContract('ab-slot on block devices', (directory) => {
    const [a, b] = ['disk-a', 'disk-b'].map((name) => {
      const path = join(directory, name);
      writeFileSync(path, Buffer.alloc(DISK_BYTES));
      return attachLoop(path);
    }) as [string, string];
    return {
      ...openBoard(directory, FACTORY, { a, b }),
      close: () => {
        for (const device of [a, b]) detachLoop(device);
      },
    };
  });
} else {
  test('ab-slot on block devices', { skip: problem }, () => undefined);
}

/** A block device holds more than its image. */
function whichIs(content: Buffer): Running {
  if (content.subarray(0, UPDATE.byteLength).equals(UPDATE)) return 'update';
  if (content.subarray(0, FACTORY.byteLength).equals(FACTORY)) return 'factory';
  return `neither: ${content.subarray(0, 32).toString('latin1')}`;
}

interface Board extends InstallerFixture {
  readonly installer: AbSlotInstaller;
  readonly marker: string;
  boot(): void;
  /** All of the slot that booted. */
  slot(): Buffer;
}

function openBoard(
  directory: string,
  factory: Buffer,
  slots = { a: join(directory, 'slot-a'), b: join(directory, 'slot-b') },
): Board {
  const board = {
    marker: join(directory, 'marker'),
    booted: join(directory, 'booted'),
    bootId: join(directory, 'boot-id'),
  };
  writeFileSync(slots.a, factory, { flag: existsSync(slots.a) ? 'r+' : 'w' });
  writeFileSync(slots.b, '', { flag: 'a' });
  bootBoard(board);
  const slot = (): Buffer =>
    readFileSync(slots[readFileSync(board.booted, 'utf8').trim() as 'a' | 'b']);
  return {
    installer: new AbSlotInstaller({
      slots,
      markerPath: board.marker,
      bootedPath: board.booted,
      tries: 2,
    }),
    target: UPDATE_TARGET,
    content: UPDATE,
    running: () => whichIs(slot()),
    slot,
    boot: () => {
      bootBoard(board);
    },
    marker: board.marker,
  };
}

describe('ab-slot', () => {
  const directory = temporaryDirectory('ab-slot');
  const content = Buffer.from('second image');
  const staged = join(directory.path, 'staged');
  const target = targetFor(content);
  before(() => {
    writeFileSync(staged, content);
  });
  after(() => {
    directory.remove();
  });

  test('the other slot is struck from the marker before its first byte changes', async () => {
    const { installer, marker } = openBoard(directory.path, Buffer.from('first'));
    await installer.write(target, staged, () => undefined);
    await installer.activate(target);
    let during: Record<string, string> | undefined;
    await installer.write(target, staged, () => (during ??= readMarkerValues(marker)));
    assert.deepEqual(during, { active: 'a', state: 'good', tries: '0' });
  });

  test('a trial that is never confirmed ends on the slot that was good', async () => {
    const board = openBoard(directory.path, Buffer.from('first'));
    const { installer } = board;
    await installer.write(target, staged, () => undefined);
    await installer.activate(target);
    board.boot();
    board.boot();
    assert.ok(board.slot().equals(content));
    board.boot();
    assert.equal(board.slot().toString(), 'first');
    assert.equal(await installer.booted(target), false);
  });

  test('there is no going back to a slot that an update has spoiled', async () => {
    const board = openBoard(directory.path, Buffer.from('first'));
    const { installer } = board;
    await installer.write(target, staged, () => undefined);
    await installer.activate(target);
    board.boot();
    await installer.confirm(target);
    const third = targetFor(Buffer.from('third'));
    await assert.rejects(installer.write(third, staged, () => undefined));
    await rejectsCode(installer.rollBack(target), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'ecu-1',
      cause: 'there is no image to go back to: slot a holds none that ran',
    });
    board.boot();
    assert.ok(board.slot().subarray(0, content.length).equals(content));
  });

  test('a boot loader that names no slot is an error that says what to do', async () => {
    const { installer } = openBoard(directory.path, Buffer.from('first'));
    const booted = join(directory.path, 'booted');
    writeFileSync(booted, 'c\n');
    await rejectsCode(installer.check(target), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'ecu-1',
      cause: `${booted} says "c", want a or b: the boot loader or initramfs must write the booted slot there`,
    });
  });
});

test('an image larger than its block device is refused before it is downloaded', async (t) => {
  if (problem !== undefined) {
    t.skip(problem);
    return;
  }
  const directory = temporaryDirectory('small-slot');
  const disk = join(directory.path, 'disk');
  writeFileSync(disk, Buffer.alloc(DISK_BYTES));
  const device = attachLoop(disk);
  try {
    const slots = { a: join(directory.path, 'a'), b: device };
    const { installer } = openBoard(directory.path, Buffer.from('first'), slots);
    const neededBytes = DISK_BYTES + 1;
    const large = targetFor(Buffer.from('x'), { lengthBytes: neededBytes });
    await rejectsCode(installer.check(large), 'SPACE_INSUFFICIENT', {
      path: device,
      neededBytes,
      freeBytes: DISK_BYTES,
    });
  } finally {
    detachLoop(device);
    directory.remove();
  }
});

describe('the boot marker', () => {
  test('reads back as it was written', () => {
    const marker = {
      active: 'b',
      state: 'trial',
      tries: 3,
      fallback: 'a',
      images: { a: undefined, b: 'sha256:00' },
    } as const;
    assert.deepEqual(parseMarker(formatMarker(marker), '/m', 'e'), marker);
  });

  test('a line that is no name=value names itself', () => {
    throwsCode(() => parseMarker('active\n', '/m', 'e'), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'e',
      cause:
        'boot marker /m: not a name=value line: "active"; write a good one or remove it to start from slot a',
    });
  });
});
