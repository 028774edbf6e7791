import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { InstalledImage } from '../../../agent/uptane/inventory.ts';
import { isSameImage } from '../../../agent/uptane/inventory.ts';
import { planInstallation, type Target } from '../../../agent/uptane/plan.ts';
import { trust } from '../../../agent/uptane/trust.ts';
import { PRIMARY, SECONDARY } from '../../support/uptane-world.ts';

const hashes = new Map([
  ['sha256', 'aa'],
  ['sha512', 'bb'],
]);
const image: InstalledImage = { ecu: 'primary-1', filename: 'fw.bin', lengthBytes: 3, hashes };

function target(ecu: string, filename = 'fw.bin'): Target {
  return { ecu, hardwareId: 'hw', filename, lengthBytes: 3, hashes };
}

describe('an image counts as installed only if nothing speaks against it (F6, V2)', () => {
  const differences: Readonly<Record<string, Partial<InstalledImage>>> = {
    'another filename': { filename: 'fw2.bin' },
    'another length': { lengthBytes: 4 },
    'another sha256': { hashes: new Map([['sha256', 'ff']]) },
    'another sha512 beside an equal sha256': {
      hashes: new Map([
        ['sha256', 'aa'],
        ['sha512', 'ff'],
      ]),
    },
    'no hash in common': { hashes: new Map([['md5', 'cc']]) },
    'no hash at all': { hashes: new Map() },
  };
  for (const [what, change] of Object.entries(differences)) {
    test(`${what} makes it another image (F6)`, () => {
      assert.equal(isSameImage(target('primary-1'), { ...image, ...change }), false);
    });
  }

  test('one equal hash in common is enough, if no other differs (F6)', () => {
    assert.equal(isSameImage(image, { ...image, hashes: new Map([['sha512', 'bb']]) }), true);
  });
});

describe('planInstallation', () => {
  const targets = [PRIMARY, SECONDARY].map(({ serial }) => trust(target(serial)));
  const ecus = (planned: readonly Target[]): readonly string[] => planned.map(({ ecu }) => ecu);

  test('puts the Primary last, because installing it may reboot the device', () => {
    assert.deepEqual(ecus(planInstallation(targets, [PRIMARY, SECONDARY])), [
      'secondary-1',
      'primary-1',
    ]);
  });

  test('has nothing to install where nothing is wanted, not even of no ECU', () => {
    assert.deepEqual(planInstallation([], []), []);
  });

  test('leaves out what runs already (V2)', () => {
    const inventory = [{ ...PRIMARY, installed: image }, SECONDARY];
    assert.deepEqual(ecus(planInstallation(targets, inventory)), ['secondary-1']);
  });
});
