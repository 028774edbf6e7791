/** What is told to each boot loader, as its own tools read it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';

import {
  formatBlock,
  GrubEnvironment,
  parseBlock,
} from '../../agent/io/installers/ab-slot/grub.ts';
import { formatMarker, parseMarker } from '../../agent/io/installers/ab-slot/marker.ts';
import { NOTHING_KNOWN, RecordFile } from '../../agent/io/installers/ab-slot/record.ts';
import { UbootEnvironment } from '../../agent/io/installers/ab-slot/uboot.ts';
import { TRIES } from '../support/ab-slot.ts';
import { take, withSystemdBoot, withUboot } from '../support/ab-slot-devices.ts';
import { Grub } from '../support/boot-loaders/grub.ts';
import { Uboot } from '../support/boot-loaders/uboot.ts';
import { rejectsCode, throwsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

function temporary(t: TestContext): string {
  const directory = temporaryDirectory('boot-choices');
  t.after(() => {
    directory.remove();
  });
  return directory.path;
}

describe('the boot marker', () => {
  test('reads back as it was written', () => {
    const received = {
      slot: 'b',
      image: 'sha256:00',
      lengthBytes: 17,
      digest: 'sha256:11',
    } as const;
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

  test('it is written where it is, one sector of it, because GRUB knows no journal', async (t) => {
    const grub = new Grub(join(temporary(t), 'grubenv'));
    const before = statSync(grub.environment);
    const environment = new GrubEnvironment(grub.environment, 3);
    await environment.attempt('b', 'a');
    assert.equal(statSync(grub.environment).ino, before.ino);
    // A second sector that has something in it could not be changed together with the first.
    const block = readFileSync(grub.environment, 'latin1').replace(/#+$/u, '');
    writeFileSync(grub.environment, `${block}#${'x'.repeat(450)}\n`.padEnd(1024, '#'));
    await environment.only('b');
    assert.notEqual(statSync(grub.environment).ino, before.ino);
    assert.deepEqual(
      [grub.values()['ota_active'], grub.values()['ota_state'], grub.values()['saved_entry']],
      ['b', 'good', '0'],
    );
    const [, second] = [0, 512].map((at) => readFileSync(grub.environment, 'latin1').slice(at));
    assert.equal(second, '#'.repeat(512));
  });

  test('a value with backslashes and newlines comes back as it was', () => {
    const values = new Map([
      ['x', 'a\\b\nc=d'],
      ['y', ''],
    ]);
    assert.deepEqual(parseBlock(formatBlock(values) ?? ''), values);
  });

  test('a block that is full or none is refused, and stays as it is', async (t) => {
    const grub = new Grub(join(temporary(t), 'grubenv'));
    const full = formatBlock(new Map([['long', 'x'.repeat(460)]]));
    writeFileSync(grub.environment, full ?? '');
    const before = readFileSync(grub.environment);
    const environment = new GrubEnvironment(grub.environment, 3);
    const room = 'its first 512 bytes, which a disk writes whole, are full';
    for (const attempt of [() => environment.only('b'), () => environment.demandUsable()]) {
      await rejectsCode(attempt(), 'INSTALL_FAILED', {
        installer: 'ab-slot',
        ecu: '',
        cause: `GRUB environment ${grub.environment}: ${room}: unset what nobody needs`,
      });
    }
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

/** File names of the entries, in the order of bootctl. */
function listed(esp: string, entries: string): readonly string[] {
  const env = { ...process.env, SYSTEMD_RELAX_ESP_CHECKS: '1' };
  const options = ['list', '--json=short', `--esp-path=${esp}`];
  const text = execFileSync('bootctl', options, { env, stdio: ['ignore', 'pipe', 'ignore'] });
  const lines = text.toString().trim().split('\n');
  return lines.map((line) => {
    return (JSON.parse(line) as { readonly path: string }).path.slice(entries.length + 1);
  });
}

describe('systemd-boot', () => {
  test('the real bootctl lists the slots in the order in which they boot', async (t) => {
    if (process.getuid?.() !== 0) {
      t.skip('bootctl wants the ESP to be a file system of its own, and only root mounts one');
      return;
    }
    const directory = temporaryDirectory('esp');
    const esp = join(directory.path, 'esp');
    mkdirSync(esp);
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', esp]);
    t.after(() => {
      execFileSync('umount', [esp]);
      directory.remove();
    });
    const device = withSystemdBoot(directory.path);
    await take(device);
    await device.installer.activate(device.target);
    const { entries } = device.loader;
    assert.deepEqual(listed(esp, entries), [`ota-3-b+${String(TRIES)}.conf`, 'ota-2-a.conf']);
    for (let boot = 0; boot < TRIES; boot += 1) device.boot();
    assert.deepEqual(listed(esp, entries), ['ota-2-a.conf', `ota-3-b+0-${String(TRIES)}.conf`]);
    await device.installer.rollBack(device.target);
    assert.deepEqual(listed(esp, entries), ['ota-2-a.conf']);
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
      `slot a has two boot entries, ${readdirSync(entries)
        .filter((name) => name.includes('-a'))
        .join(' and ')}: want one of ota-NUMBER-a.conf in ${entries}`,
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
