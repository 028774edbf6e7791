import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { isOtaError } from '../../../agent/errors.ts';
import { readLockbox } from '../../../agent/uptane/lockbox.ts';
import { parseOfflineSnapshot, parseOfflineUpdates } from '../../../agent/uptane/metadata.ts';
import { ed25519, envelope, fileInfo, FUTURE, type Body } from '../../support/build-metadata.ts';

const KEY = ed25519();
const hardware = fc.constantFrom('a', 'b', 'c', 'd');

function lockbox(targets: Body): Uint8Array {
  const body = { _type: 'Offline-Updates', version: 1, expires: FUTURE, targets };
  return envelope(body, [KEY]);
}

test('an ECU gets the one image that is for its hardware, and no other (PURE-2)', () => {
  const images = fc.array(fc.uniqueArray(hardware, { minLength: 1 }), { maxLength: 4 });
  fc.assert(
    fc.property(images, fc.array(hardware, { maxLength: 5 }), (wanted, ecus) => {
      const entries = wanted.map((hardwareIds, at) => {
        const name = `image-${String(at)}`;
        return [name, { ...fileInfo(name), custom: { hardwareIds } }] as const;
      });
      const file = parseOfflineUpdates(lockbox(Object.fromEntries(entries)), 'offline-updates/x');
      const inventory = ecus.map((hardwareId, at) => ({ serial: `ecu-${String(at)}`, hardwareId }));
      const isTwice = ecus.some((id) => wanted.filter((ids) => ids.includes(id)).length > 1);
      try {
        const { assignments } = readLockbox('x', file, inventory);
        assert.equal(isTwice, false);
        for (const { serial, hardwareId } of inventory) {
          const got = assignments.filter((one) => one.ecus.has(serial));
          const meant = entries.filter(([, { custom }]) => custom.hardwareIds.includes(hardwareId));
          assert.deepEqual(
            got.map(({ filename }) => filename),
            meant.map(([name]) => name),
          );
        }
      } catch (error) {
        assert.ok(isOtaError(error) && error.code === 'DIRECTOR_REPEATS_ECU', String(error));
        assert.ok(isTwice);
      }
    }),
  );
});

test('whatever a file on a stick is, it is read or refused with a code (PURE-2)', () => {
  const good = lockbox({ 'fw-1': { ...fileInfo('fw-1'), custom: { hardwareIds: ['a'] } } });
  const inventory = [{ serial: 'ecu-1', hardwareId: 'a' }];
  const read = (bytes: Uint8Array): void => {
    for (const parse of [
      () => parseOfflineSnapshot(bytes),
      () => readLockbox('x', parseOfflineUpdates(bytes, 'offline-updates/x'), inventory),
    ]) {
      try {
        parse();
      } catch (error) {
        assert.ok(isOtaError(error) && error.code !== 'BUG', String(error));
      }
    }
  };
  const edits = fc.tuple(
    fc.nat(good.length - 1),
    fc.nat(255),
    fc.nat(40),
    fc.constantFrom('flip', 'cut'),
  );
  fc.assert(
    fc.property(edits, ([at, value, length, edit]) => {
      const bytes = Buffer.from(good);
      if (edit === 'flip') bytes[at] = value;
      read(
        edit === 'flip' ? bytes : Buffer.concat([good.subarray(0, at), good.subarray(at + length)]),
      );
    }),
  );
  const custom = fc.object({ key: fc.constantFrom('hardwareIds', 'releaseCounter', 'encryption') });
  fc.assert(
    fc.property(custom, (said) => {
      let bytes: Uint8Array;
      try {
        bytes = lockbox({ 'fw-1': { ...fileInfo('fw-1'), custom: said } });
      } catch {
        return;
      }
      read(bytes);
    }),
  );
});
