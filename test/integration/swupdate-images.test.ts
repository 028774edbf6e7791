/** What swupdate refuses of images, with which words, and that it then has touched nothing. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { describe as describeImage } from '../support/swu.ts';
import { devicesOf, installerOn, MODES } from '../support/swupdate-installer.ts';
import { rejectsCode } from '../support/expect-code.ts';
import {
  type Bench,
  causeOf,
  demandUntouched,
  FACTORY,
  IMAGE,
  none,
  SwupdateBenches,
} from '../support/swupdate-bench.ts';

const MEBIBYTE = 1024 * 1024;

const benches = new SwupdateBenches();

describe('an image that swupdate refuses leaves both slots as they were', () => {
  const refusals: readonly {
    readonly title: string;
    readonly content: (bench: Bench) => Buffer;
    readonly cause: RegExp;
  }[] = [
    {
      title: 'signed by somebody else: SWUpdate’s own check stays on',
      content: ({ make }) => make({ signer: benches.makeKey('stranger') }),
      cause: /^SWUpdate refused the image: .*(?:[Ss]ignature|certificate)/u,
    },
    {
      title: 'for other hardware',
      content: ({ make }) => make({ hardware: '2.0' }),
      cause: /^SWUpdate refused the image: .*SW not compatible with hardware/u,
    },
    {
      title: 'with a byte that changed',
      content: ({ make }) => {
        const content = make();
        content[content.length - MEBIBYTE] = (content.at(-MEBIBYTE) ?? 0) ^ 1;
        return content;
      },
      cause: /^SWUpdate refused the image: .*(?:HASH mismatch|Error streaming)/u,
    },
    {
      title: 'truncated by whoever published it',
      content: ({ make }) => make().subarray(0, 3 * MEBIBYTE),
      cause: /^the image is not a \.swu file: it ends at byte 3145728, in the middle of an entry$/u,
    },
    {
      title: 'that is no .swu',
      content: () => IMAGE,
      cause:
        /^the image is not a \.swu file: no cpio header at byte 0 \(make it with cpio -H crc\)$/u,
    },
    {
      title: 'without the software set',
      content: ({ make }) => make({ set: 'beta' }),
      cause: /^sw-description has no software set stable with mode copy-b$/u,
    },
    {
      title: 'that would write the slot that runs',
      content: ({ board, make }) =>
        make({ devices: { [MODES.a]: board.slots.b, [MODES.b]: board.slots.a } }),
      cause:
        /^sw-description writes rootfs\.img to \S+slot-a, but mode copy-b may write to \S+slot-b only$/u,
    },
    {
      title: 'that would choose what boots',
      content: ({ make }) => make({ also: 'bootenv = ( { name = "boot_slot"; value = "b"; } );' }),
      cause: /^sw-description sets the boot environment \(bootenv\): remove that/u,
    },
    {
      title: 'with a description that cannot be read',
      content: ({ make }) => make({ description: 'software = {\n version = ;\n' }),
      cause: /^sw-description near line 2: ";": want a value$/u,
    },
  ];

  let bench: Bench;
  before(async () => {
    bench = benches.open();
    await bench.board.startDaemon();
  });
  after(() => bench.close());

  for (const { title, content, cause } of refusals) {
    test(title, async () => {
      const { board, stage } = bench;
      const { target, staged } = stage(content(bench));
      const variables = board.variables();
      assert.match(await causeOf(installerOn(board).write(target, staged, none)), cause);
      demandUntouched(board, variables);
      await causeOf(installerOn(board).activate(target));
    });
  }

  test('truncated on its way', async () => {
    const { board, make, stage } = bench;
    const { target, staged } = stage(make());
    writeFileSync(staged, make().subarray(0, 1000));
    await rejectsCode(installerOn(board).write(target, staged, none), 'IMAGE_TRUNCATED', {
      filename: 'update.swu',
      lengthBytes: target.lengthBytes,
      receivedBytes: 1000,
    });
  });

  test('of a set that the daemon does not accept: what to start it with', async () => {
    const { board, make, stage } = bench;
    const { target, staged } = stage(make({ set: 'beta' }));
    const installer = installerOn(board, { softwareSet: 'beta' });
    assert.equal(
      await causeOf(installer.write(target, staged, none)),
      'SWUpdate does not accept the software set beta with mode copy-b: start its daemon with -q beta,copy-b',
    );
  });
});

test('a slot whose devices are those of the running one under another name is never written', async (t) => {
  const { board, make, stage } = benches.openFor(t);
  const alias = join(board.directory, 'alias');
  execFileSync('ln', ['-s', board.slots.a, alias]);
  board.slots.b = alias;
  const { target, staged } = stage(make());
  await board.startDaemon();
  assert.equal(
    await causeOf(installerOn(board).write(target, staged, none)),
    `${alias} is a device of both slots: each needs its own`,
  );
  assert.ok(readFileSync(board.slots.a).equals(FACTORY));
});

test('a command line that names no slot, or both, is an error that says what is wanted', async (t) => {
  const { board, stage } = benches.openFor(t);
  const { target } = stage(Buffer.from('x'));
  for (const [line, problem] of [
    ['quiet', 'names no slot'],
    ['root=/dev/board-a root=/dev/board-b', 'names both slots'],
  ] as const) {
    writeFileSync(board.cmdline, line);
    assert.equal(
      await causeOf(installerOn(board).booted(target)),
      `${board.cmdline} ${problem}: want either "root=/dev/board-a" or "root=/dev/board-b"`,
    );
  }
});

test('descriptions in JSON are read like those in libconfig', async (t) => {
  const { board, make, stage } = benches.openFor(t);
  const sha256 = /sha256 = "(\w+)"/u.exec(describeImage(IMAGE, { devices: devicesOf(board) }))?.[1];
  const images = (device: string) => ({
    images: [{ filename: 'rootfs.img', type: 'raw', device, sha256, 'installed-directly': true }],
  });
  const software = {
    version: '1.0.0',
    'hardware-compatibility': ['1.0'],
    stable: { [MODES.a]: images(board.slots.a), [MODES.b]: images(board.slots.b) },
  };
  const description = JSON.stringify({ software }, undefined, 1);
  const { target, staged } = stage(make({ description }));
  await board.startDaemon();
  await installerOn(board).write(target, staged, none);
  assert.ok(readFileSync(board.slots.b).equals(IMAGE));
});
