/** The contract with every boot loader, each switched on by an emulation that was written from its documentation. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';

import { formatMarker, parseMarker } from '../../agent/io/installers/ab-slot/marker.ts';
import { GrubEnvironment, formatBlock, parseBlock } from '../../agent/io/installers/ab-slot/grub.ts';
import { NOTHING_KNOWN, RecordFile } from '../../agent/io/installers/ab-slot/record.ts';
import { SystemdBoot } from '../../agent/io/installers/ab-slot/systemd-boot.ts';
import { UbootEnvironment, type Convention } from '../../agent/io/installers/ab-slot/uboot.ts';
import type { AbSlotInstaller, AbSlotSettings } from '../../agent/io/installers/ab-slot.ts';
import { installerContract, type InstallerFixture } from '../contract/installer.contract.ts';
import {
  attachLoop,
  detachLoop,
  download,
  FACTORY,
  fileSlots,
  ignore,
  openAbSlot,
  TRIES,
  UPDATE,
  whichImage,
  whyNoLoop,
  type SlotPaths,
} from '../support/ab-slot.ts';
import { bootBoard, readMarkerValues } from '../support/boot-loader.ts';
import { Grub } from '../support/boot-loaders/grub.ts';
import { SystemdBootLoader } from '../support/boot-loaders/systemd-boot.ts';
import { Uboot } from '../support/boot-loaders/uboot.ts';
import { rejectsCode, throwsCode } from '../support/expect-code.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

interface Device extends InstallerFixture {
  readonly installer: AbSlotInstaller;
  boot(): void;
  /** All of the slot that booted. */
  running(): ReturnType<typeof whichImage>;
}

/** A device whose boot loader says on the kernel command line which slot it booted. */
function deviceWith(
  slots: SlotPaths,
  directory: string,
  loader: Pick<AbSlotSettings, 'choice'> & { boot(): string },
): Device {
  const commandLine = join(directory, 'cmdline');
  const boot = (): void => {
    writeFileSync(commandLine, `quiet ${loader.boot()} rw\n`);
  };
  boot();
  const board = { marker: '', booted: '', bootId: '' };
  const slot = (): string => (readFileSync(commandLine, 'utf8').includes('slot=a') ? slots.a : slots.b);
  return {
    installer: openAbSlot(slots, board, {
      choice: loader.choice,
      record: new RecordFile(join(directory, 'record')),
      booted: { commandLinePath: commandLine },
    }),
    target: targetFor(UPDATE),
    content: UPDATE,
    running: () => whichImage(readFileSync(slot())),
    boot,
  };
}

function withMarker(directory: string, slots = fileSlots(directory)): Device & { marker: string } {
  const at = (name: string): string => join(directory, name);
  const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
  bootBoard(board);
  const booted = (): 'a' | 'b' => readFileSync(board.booted, 'utf8').trim() as 'a' | 'b';
  return {
    installer: openAbSlot(slots, board),
    target: targetFor(UPDATE),
    content: UPDATE,
    running: () => whichImage(readFileSync(slots[booted()])),
    boot: () => {
      bootBoard(board);
    },
    marker: board.marker,
  };
}

function withUboot(directory: string, convention: Convention): Device & { uboot: Uboot } {
  const factory = { 'boot-order': { BOOT_ORDER: 'A' }, bootcount: { ota_slot: 'a' } };
  const uboot = new Uboot(directory, { ...factory[convention], board: 'rev-b' });
  const choice = new UbootEnvironment({ configPath: uboot.config, convention, tries: TRIES });
  const boot = (): string =>
    convention === 'bootcount'
      ? `ota.slot=${uboot.bootByCount()}`
      : `rauc.slot=${uboot.bootByOrder().toUpperCase()}`.replace('=A', '=a');
  return { ...deviceWith(fileSlots(directory), directory, { choice, boot }), uboot };
}

function withGrub(directory: string): Device & { grub: Grub } {
  const grub = new Grub(join(directory, 'grubenv'));
  const choice = new GrubEnvironment(grub.environment, TRIES);
  const boot = (): string => `ota.slot=${grub.boot()}`;
  return { ...deviceWith(fileSlots(directory), directory, { choice, boot }), grub };
}

function withSystemdBoot(directory: string): Device & { loader: SystemdBootLoader } {
  const loader = new SystemdBootLoader(join(directory, 'esp'));
  const choice = new SystemdBoot(loader.entries, TRIES);
  const boot = (): string => loader.boot();
  return { ...deviceWith(fileSlots(directory), directory, { choice, boot }), loader };
}

const KINDS = {
  marker: withMarker,
  'U-Boot, BOOT_ORDER': (directory: string) => withUboot(directory, 'boot-order'),
  'U-Boot, bootcount': (directory: string) => withUboot(directory, 'bootcount'),
  GRUB: withGrub,
  'systemd-boot': withSystemdBoot,
};

for (const [name, open] of Object.entries(KINDS)) installerContract(`ab-slot, ${name}`, open);

const noLoop = whyNoLoop();
if (noLoop === undefined) {
  installerContract('ab-slot on block devices', (directory) => {
    const bytes = 8 * 1024 * 1024;
    const slots = {
      a: attachLoop(join(directory, 'disk-a'), bytes, FACTORY),
      b: attachLoop(join(directory, 'disk-b'), bytes),
    };
    return {
      ...withMarker(directory, slots),
      close: () => {
        for (const device of [slots.a, slots.b]) detachLoop(device);
      },
    };
  });
} else {
  test('ab-slot on block devices', { skip: noLoop }, () => undefined);
}

function temporary(t: TestContext): string {
  const directory = temporaryDirectory('ab-slot');
  t.after(() => {
    directory.remove();
  });
  return directory.path;
}

async function take({ installer, target, content }: Device): Promise<void> {
  await installer.receive(target, (offset) => download(content, offset), ignore);
  await installer.prove(target, ignore);
}

for (const [name, open] of Object.entries(KINDS)) {
  describe(`ab-slot, ${name}`, () => {
    test('a trial that is never confirmed ends, after all its tries, on the slot that was good', async (t) => {
      const device = open(temporary(t));
      await take(device);
      await device.installer.activate(device.target);
      const ran: string[] = [];
      for (let boot = 0; boot < TRIES + 3; boot += 1) {
        device.boot();
        ran.push(device.running());
      }
      const trials = Array.from({ length: TRIES }, () => 'update');
      assert.deepEqual(ran, [...trials, 'factory', 'factory', 'factory']);
      assert.equal(await device.installer.booted(device.target), false);
      await device.installer.rollBack(device.target);
      for (let boot = 0; boot < 5; boot += 1) device.boot();
      assert.equal(device.running(), 'factory');
    });

    test('nothing boots the other slot from before its first byte changes', async (t) => {
      const directory = temporary(t);
      const device = open(directory);
      await take(device);
      await device.installer.activate(device.target);
      const next = Buffer.alloc(UPDATE.byteLength, 'third');
      const during: string[] = [];
      const looked = async function* (offset: number): AsyncGenerator<Uint8Array> {
        for (let boot = 0; boot < 6; boot += 1) {
          device.boot();
          during.push(device.running());
        }
        yield* download(next, offset);
        throw new Error('the power fails');
      };
      await assert.rejects(device.installer.receive(targetFor(next), looked, ignore));
      for (let boot = 0; boot < 6; boot += 1) {
        device.boot();
        during.push(device.running());
      }
      assert.deepEqual([...new Set(during)], ['factory']);
      await assert.rejects(device.installer.activate(device.target));
      await assert.rejects(device.installer.activate(targetFor(next)));
    });

    test('there is no going back to a slot that an update has spoiled', async (t) => {
      const device = open(temporary(t));
      const { installer, target } = device;
      await take(device);
      await installer.activate(target);
      device.boot();
      await installer.confirm(target);
      const third = targetFor(Buffer.from('third'));
      await assert.rejects(installer.receive(third, () => download(Buffer.from('thurd')), ignore));
      await rejectsCode(installer.rollBack(target), 'INSTALL_FAILED', {
        installer: 'ab-slot',
        ecu: 'ecu-1',
        cause: 'there is no image to go back to: slot a holds none that ran',
      });
      for (let boot = 0; boot < 5; boot += 1) device.boot();
      assert.equal(device.running(), 'update');
    });
  });
}

describe('ab-slot', () => {
  test('a slot is read back again by a process that did not prove it itself', async (t) => {
    const directory = temporary(t);
    const device = withMarker(directory);
    await take(device);
    const slot = join(directory, 'slot-b');
    const spoiled = readFileSync(slot);
    spoiled[12] = (spoiled[12] ?? 0) ^ 1;
    writeFileSync(slot, spoiled);
    const slots = { a: join(directory, 'slot-a'), b: slot };
    const board = { marker: device.marker, booted: join(directory, 'booted'), bootId: '' };
    const later = openAbSlot(slots, board);
    await assert.rejects(later.activate(device.target), { code: 'IMAGE_HASH_MISMATCH' });
    assert.equal(readMarkerValues(device.marker)['state'], 'good');
  });

  test('a boot loader that names no slot is an error that says what to do', async (t) => {
    const directory = temporary(t);
    const { installer, target } = withMarker(directory);
    const booted = join(directory, 'booted');
    writeFileSync(booted, 'c\n');
    await rejectsCode(installer.check(target), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'ecu-1',
      cause: `${booted} says "c", want a or b: the boot loader or initramfs must write the booted slot there`,
    });
  });

  test('a kernel command line that names no slot is one, too, where / is on neither', async (t) => {
    const directory = temporary(t);
    const device = withGrub(directory);
    const commandLine = join(directory, 'cmdline');
    writeFileSync(commandLine, 'quiet root=/dev/sda1');
    await rejectsCode(device.installer.check(device.target), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'ecu-1',
      cause: `${commandLine} names no slot, and / is on neither: pass ota.slot=a or ota.slot=b to the kernel, or set installer.booted_file`,
    });
    writeFileSync(commandLine, 'ota.slot=b ota.slot=c');
    await rejectsCode(device.installer.check(device.target), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'ecu-1',
      cause: `${commandLine} names slot "c", want a or b`,
    });
  });

  test('it says what it found', async (t) => {
    const directory = temporary(t);
    const device = withGrub(directory);
    await take(device);
    assert.deepEqual(await device.installer.describe(), {
      booted: 'a',
      active: 'a',
      state: 'good',
      choice: device.grub.environment,
      slot_a: join(directory, 'slot-a'),
      slot_b: join(directory, 'slot-b'),
      image_a: 'unknown',
      image_b: `sha256:${device.target.hashes.get('sha256') ?? ''}`,
      read_back: 'direct',
    });
  });
});

describe('the boot marker', () => {
  test('reads back as it was written', () => {
    const received = { slot: 'b', image: 'sha256:00', lengthBytes: 17, digest: 'sha256:11' } as const;
    const marker = {
      active: 'b',
      state: 'trial',
      tries: 3,
      contents: { images: { a: undefined, b: 'sha256:00' }, fallback: 'a', received },
    } as const;
    assert.deepEqual(parseMarker(formatMarker(marker), '/m'), marker);
  });

  test('a line that is no name=value names itself', () => {
    throwsCode(() => parseMarker('active\n', '/m'), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: '',
      cause: 'boot marker /m: not a name=value line: "active"; remove it',
    });
  });
});

describe('GRUB’s environment', () => {
  test('the real grub-editenv reads what was written, with what was there before', async (t) => {
    const grub = new Grub(join(temporary(t), 'grubenv'));
    const strange = 'a=b # c\\d';
    execFileSync('grub-editenv', [grub.environment, 'set', `odd=${strange}`]);
    await new GrubEnvironment(grub.environment, 3).attempt('b', 'a');
    assert.deepEqual(grub.values(), {
      saved_entry: '0',
      odd: strange,
      ota_active: 'b',
      ota_state: 'trial',
      ota_tries: '3',
      ota_fallback: 'a',
    });
    assert.equal(readFileSync(grub.environment).byteLength, 1024);
  });

  test('a value with backslashes and newlines comes back as it was', () => {
    const values = new Map([['x', 'a\\b\nc=d'], ['y', '']]);
    assert.deepEqual(parseBlock(formatBlock(values) ?? ''), values);
  });

  test('a block that is full or none is refused, and stays as it is', async (t) => {
    const grub = new Grub(join(temporary(t), 'grubenv'));
    execFileSync('grub-editenv', [grub.environment, 'set', `long=${'x'.repeat(960)}`]);
    const before = readFileSync(grub.environment);
    const environment = new GrubEnvironment(grub.environment, 3);
    await rejectsCode(environment.only('b'), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: '',
      cause: `GRUB environment ${grub.environment}: its 1024 bytes are full: unset what nobody needs`,
    });
    assert.ok(readFileSync(grub.environment).equals(before));
    // What grub-editenv leaves when power fails between its truncation and its write.
    writeFileSync(grub.environment, '');
    await rejectsCode(environment.read(), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: '',
      cause: `GRUB environment ${grub.environment}: it is no environment block: run grub-editenv FILE create`,
    });
  });
});

describe('systemd-boot', () => {
  test('the real bootctl lists the slots in the order in which they boot', async (t) => {
    const device = withSystemdBoot(temporary(t));
    await take(device);
    await device.installer.activate(device.target);
    const listed = (): readonly string[] => {
      const options = ['list', '--json=short', `--esp-path=${device.loader.root}`];
      const env = { ...process.env, SYSTEMD_RELAX_ESP_CHECKS: '1' };
      const text = execFileSync('bootctl', options, { env, stdio: ['ignore', 'pipe', 'ignore'] });
      return (JSON.parse(text.toString()) as readonly { path?: string }[]).flatMap(({ path }) =>
        path === undefined ? [] : [path.slice(device.loader.entries.length + 1)],
      );
    };
    assert.deepEqual(listed(), [`ota-3-b+${String(TRIES)}.conf`, 'ota-2-a.conf']);
    for (let boot = 0; boot < TRIES; boot += 1) device.boot();
    assert.deepEqual(listed(), ['ota-2-a.conf', `ota-3-b+0-${String(TRIES)}.conf`]);
  });

  test('what else decides the order is refused with what to change', async (t) => {
    const device = withSystemdBoot(temporary(t));
    const { entries, root } = device.loader;
    const refuses = (cause: string): Promise<void> =>
      rejectsCode(device.installer.check(device.target), 'INSTALL_FAILED', {
        installer: 'ab-slot',
        ecu: 'ecu-1',
        cause,
      });
    const a = join(entries, 'ota-2-a.conf');
    const text = readFileSync(a, 'utf8');
    writeFileSync(a, `${text}sort-key ota\n`);
    await refuses(`${a} has a sort-key, which decides before its name: remove that line`);
    writeFileSync(a, text);
    writeFileSync(join(root, 'loader', 'loader.conf'), 'default ota-2-a.conf\n');
    await refuses(
      `${join(entries, '..', 'loader.conf')} says default ota-2-a.conf: make that default ota-*`,
    );
    writeFileSync(join(root, 'loader', 'loader.conf'), '');
    writeFileSync(join(entries, 'ota-7-a+1.conf'), text);
    await refuses(
      `slot a has two boot entries, ${readdirSync(entries).filter((name) => name.includes('-a')).join(' and ')}: want one of ota-NUMBER-a.conf in ${entries}`,
    );
  });
});

describe('U-Boot’s environment', () => {
  test('what does not concern the slots stays, and nothing is written that is there already', async (t) => {
    const { uboot, installer, target } = withUboot(temporary(t), 'boot-order');
    await installer.rollBack(target);
    assert.equal(uboot.values().get('board'), 'rev-b');
    const before = uboot.values();
    await installer.rollBack(target);
    assert.deepEqual(uboot.values(), before);
  });

  test('an environment that names no slot says which variable to set', async (t) => {
    const directory = temporary(t);
    mkdirSync(join(directory, 'env'));
    const uboot = new Uboot(join(directory, 'env'), { BOOT_ORDER: 'factory' });
    const options = { configPath: uboot.config, convention: 'boot-order', tries: 3 } as const;
    await rejectsCode(new UbootEnvironment(options).read(), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: '',
      cause: 'U-Boot\'s BOOT_ORDER names "factory", not a slot: set it to A or B',
    });
  });
});

test('nothing is known of slots before the first update', async (t) => {
  assert.deepEqual(await new RecordFile(join(temporary(t), 'record')).load(), NOTHING_KNOWN);
});
