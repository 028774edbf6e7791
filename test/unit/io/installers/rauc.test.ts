/** What follows from RAUC's slots, for devices that no test here has. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { describeActivation } from '../../../../agent/io/installers/rauc/describe.ts';
import {
  readSlots,
  stampOf,
  writtenSlot,
  type Slots,
} from '../../../../agent/io/installers/rauc/slots.ts';
import { readActivation } from '../../../../agent/io/installers/rauc/system-conf.ts';
import { temporaryDirectory } from '../../../support/temporary.ts';

type Fields = Readonly<Record<string, string | number>>;

/** Two root file systems, each with an application that boots with it. */
function device(counts: Readonly<Record<string, number>>, changes: Fields = {}): Slots {
  const slot = (name: string, fields: Fields): readonly [string, Map<string, string | number>] => {
    const count = counts[name];
    const installed = count === undefined ? {} : { 'installed.count': count, status: 'ok' };
    return [name, new Map(Object.entries({ ...fields, ...installed }))];
  };
  return readSlots([
    slot('rootfs.0', { class: 'rootfs', state: 'booted', bootname: 'A' }),
    slot('rootfs.1', { class: 'rootfs', state: 'inactive', bootname: 'B', ...changes }),
    slot('app.0', { class: 'app', state: 'active', parent: 'rootfs.0' }),
    slot('app.1', { class: 'app', state: 'inactive', parent: 'rootfs.1' }),
    slot('rescue.0', { class: 'rescue', state: 'inactive', bootname: 'R' }),
  ]);
}

test('an image for a child alone goes to the slot that boots it, and changes its stamp', () => {
  const [before, after] = [device({ 'app.1': 3 }), device({ 'app.1': 4 })];
  const slot = writtenSlot(before, after);
  assert.equal(slot.name, 'rootfs.1');
  assert.notEqual(stampOf(slot, before.all), stampOf(slot, after.all));
});

test('an installation that RAUC has noted nowhere is not believed', () => {
  assert.throws(() => writtenSlot(device({}), device({})), /noted that for 0 slots that boot/u);
  // A slot of another class boots, too, but never instead of this one.
  assert.throws(
    () => writtenSlot(device({}), device({ 'rescue.0': 1 })),
    /noted that for 0 slots/u,
  );
});

test('a slot that two have installed to holds nobody knows what', () => {
  const after = device({ 'rootfs.1': 2 });
  assert.throws(() => writtenSlot(device({}), after), /somebody else has installed to rootfs\.1/u);
});

test('a slot of which RAUC says something else than ok was not installed', () => {
  const after = device({}, { 'installed.count': 1, status: 'pending' });
  assert.throws(() => writtenSlot(device({}), after), /RAUC says pending of slot rootfs\.1/u);
});

test('a device without a booted slot, or without another, cannot be updated, and is told why', () => {
  const rootfs = (state: string): unknown => [
    'rootfs.0',
    new Map(Object.entries({ class: 'rootfs', state, bootname: 'A' })),
  ];
  assert.throws(() => readSlots([rootfs('inactive')]), /no slot that booted: .*rauc\.slot=/u);
  assert.throws(() => readSlots([rootfs('booted')]), /no slot beside rootfs\.0 that boots/u);
  assert.throws(() => readSlots([['rootfs.0']]), /in a way that is not known: \["rootfs\.0"\]/u);
});

test('who chooses a new image is read from [system] alone', async (t) => {
  const directory = temporaryDirectory('system-conf');
  t.after(() => {
    directory.remove();
  });
  const path = join(directory.path, 'system.conf');
  const read = (text: string): ReturnType<typeof readActivation> => {
    writeFileSync(path, text);
    return readActivation(path);
  };
  assert.equal(await read('[system]\na=b\nactivate-installed = false\n[slot.a.0]\n'), 'agent');
  assert.equal(await read('[system]\n#activate-installed=false\n'), 'rauc');
  assert.equal(await read('[system]\n[other]\nactivate-installed=false\n'), 'rauc');
  assert.equal(await read('[system]\nactivate-installed=true\n'), 'rauc');
  const unknown = await readActivation(join(directory.path, 'none'));
  assert.match(
    describeActivation(unknown, '-'),
    /^unknown \(ENOENT.* installer\.rauc_system_conf/u,
  );
});
