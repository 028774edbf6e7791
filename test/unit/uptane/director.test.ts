import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { isOtaError } from '../../../agent/errors.ts';
import { readDirectorTargets, type Vehicle } from '../../../agent/uptane/director.ts';
import { parseTargets } from '../../../agent/uptane/metadata.ts';
import {
  delegationsObject,
  ed25519,
  fileInfo,
  hashesOf,
  type Body,
} from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { TestRepository } from '../../support/test-repository.ts';
import { directorTarget, PRIMARY, SECONDARY, World } from '../../support/uptane-world.ts';

const VEHICLE: Vehicle = { inventory: [PRIMARY, SECONDARY], vehicleId: 'vehicle-1' };

function read(targets: Record<string, Body>, changes: Body = {}, vehicle = VEHICLE): unknown {
  const repository = new TestRepository();
  repository.targets = targets;
  repository.publishTargets((body) => ({ ...body, version: 1, ...changes }));
  const { body } = parseTargets(repository.file('targets.json'), 'director', 'targets');
  return readDirectorTargets(body, vehicle);
}

describe('Director Targets (§5.4.4.6 steps 6 to 8)', () => {
  test('assign each ECU at most one image, one image to as many ECUs as they like', () => {
    read({ 'a.bin': directorTarget('a', [PRIMARY]), 'b.bin': directorTarget('b', [SECONDARY]) });
    read({ 'a.bin': directorTarget('a', [PRIMARY, { ...SECONDARY }]) });
  });

  test('that delegate are refused (G6, step 6)', () => {
    const role = { name: 'supplier', keys: [ed25519()], paths: ['*'] };
    throwsCode(() => read({}, { delegations: delegationsObject([role]) }), 'DIRECTOR_DELEGATES', {
      delegations: 1,
    });
  });

  test('may have the empty list of delegations that servers write (G6)', () => {
    read({}, { delegations: { keys: {}, roles: [] } });
    read({}, { delegations: {} });
    read({}, { delegations: null });
  });

  test('with two images for one ECU are refused (G7, step 7)', () => {
    throwsCode(
      () =>
        read({
          'a.bin': directorTarget('a', [SECONDARY, PRIMARY]),
          'b.bin': directorTarget('b', [PRIMARY]),
        }),
      'DIRECTOR_REPEATS_ECU',
      { ecu: 'primary-1' },
    );
  });

  test('that name an ECU this vehicle does not have are refused (G8, step 8)', () => {
    const stranger = { serial: 'other-1', hardwareId: 'hw-primary' };
    throwsCode(() => read({ 'a.bin': directorTarget('a', [stranger]) }), 'ECU_UNKNOWN', {
      ecu: 'other-1',
      filename: 'a.bin',
    });
  });

  test('without images may name no other vehicle (G9, §5.2.3)', () => {
    throwsCode(() => read({}, { custom: { vehicleId: 'vehicle-2' } }), 'DIRECTOR_WRONG_VEHICLE', {
      expected: 'vehicle-1',
      offered: 'vehicle-2',
    });
    read({}, { custom: { vehicleId: 'vehicle-1' } });
  });

  test('with images are for this vehicle by its ECUs, whatever vehicle they name (G8, G9)', () => {
    read({ 'a.bin': directorTarget('a', [PRIMARY]) }, { custom: { vehicleId: 'vehicle-2' } });
  });

  test('without images and identifier are accepted, as Directors in the field send them (G9)', () => {
    read({});
    read({}, { custom: { vehicleId: 'vehicle-2' } }, { inventory: [PRIMARY] });
  });

  for (const [what, custom] of [
    ['no custom part', undefined],
    ['no ecuIdentifiers', {}],
    ['an empty ecuIdentifiers', { ecuIdentifiers: {} }],
  ] as const) {
    test(`with an image for nobody are refused: ${what} (G10, §5.2.3)`, () => {
      const target = { ...fileInfo('a'), ...(custom && { custom }) };
      throwsCode(() => read({ 'a.bin': target }), 'DIRECTOR_TARGET_WITHOUT_ECU', {
        filename: 'a.bin',
      });
    });
  }

  test('that name other hardware than the ECU is are refused (G11, V3)', () => {
    const other = { ...PRIMARY, hardwareId: 'hw-other' };
    throwsCode(() => read({ 'a.bin': directorTarget('a', [other]) }), 'HARDWARE_ID_MISMATCH', {
      ecu: 'primary-1',
      filename: 'a.bin',
      expected: 'hw-primary',
      offered: 'hw-other',
    });
  });

  test('without a hardware id for an ECU are refused (G11)', () => {
    const custom = { ecuIdentifiers: { 'primary-1': {} } };
    throwsCode(() => read({ 'a.bin': { ...fileInfo('a'), custom } }), 'METADATA_MALFORMED', {
      path: 'director/targets.signed.targets.a.bin.custom.ecuIdentifiers.primary-1.hardwareId',
      want: 'a string',
    });
  });

  for (const [what, ecu, at, want] of [
    ['a serial', { ...PRIMARY, serial: 'x\n' }, 'x\n', 'no control characters'],
    [
      'a hardware id',
      { ...PRIMARY, hardwareId: 'x'.repeat(201) },
      'primary-1.hardwareId',
      '1 to 200 characters',
    ],
  ] as const) {
    test(`with ${what} that no device has are refused (G10, G11)`, () => {
      const path = `director/targets.signed.targets.a.bin.custom.ecuIdentifiers.${at}`;
      const target = directorTarget('a', [ecu]);
      throwsCode(() => read({ 'a.bin': target }), 'METADATA_MALFORMED', { path, want });
    });
  }

  test('are read as they stand: address, format, ECUs, and the name of the update (G10, G11)', () => {
    const custom = {
      ecuIdentifiers: { 'primary-1': { hardwareId: 'hw-primary', releaseCounter: 3 } },
      ...{ uri: 'https://mirror.test/a', targetFormat: 'OSTREE' },
    };
    const targets = { 'a.bin': { ...fileInfo('a'), custom } };
    const all = read(targets, { custom: { correlationId: 'urn:x' } });
    assert.deepEqual(all, {
      assignments: [
        {
          ...{ filename: 'a.bin', lengthBytes: 1, hashes: new Map(Object.entries(hashesOf('a'))) },
          ...{ uri: 'https://mirror.test/a', format: 'OSTREE' },
          ecus: new Map([['primary-1', { hardwareId: 'hw-primary', releaseCounter: 3 }]]),
        },
      ],
      correlationId: 'urn:x',
    });
  });

  test('with a release older than the one that runs are refused (G11, V5)', () => {
    const installed = {
      ecu: 'primary-1',
      filename: 'old.bin',
      lengthBytes: 1,
      hashes: new Map(),
      releaseCounter: 5,
    };
    const vehicle = { inventory: [{ ...PRIMARY, installed }] };
    throwsCode(
      () => read({ 'a.bin': directorTarget('a', [PRIMARY], { releaseCounter: 4 }) }, {}, vehicle),
      'RELEASE_COUNTER_ROLLBACK',
      { ecu: 'primary-1', filename: 'a.bin', trusted: 5, offered: 4 },
    );
    read({ 'a.bin': directorTarget('a', [PRIMARY], { releaseCounter: 5 }) }, {}, vehicle);
  });

  for (const counter of [-1, 1.5, '3', 2 ** 53]) {
    test(`with a release counter of ${JSON.stringify(counter)} are refused (G11)`, () => {
      const target = directorTarget('a', [PRIMARY], { releaseCounter: counter });
      assert.throws(
        () => read({ 'a.bin': target }),
        (error) => isOtaError(error) && error.code === 'METADATA_MALFORMED',
      );
    });
  }

  test('with a filename that leaves its directory are refused (V4, probe traversal)', () => {
    const filename = '../../../../evil.bin';
    throwsCode(() => read({ [filename]: directorTarget('a', [PRIMARY]) }), 'TARGET_NAME_UNSAFE', {
      filename,
      problem: 'a relative segment',
    });
  });
});

describe('Director Targets that are refused', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
    world.release('fw-1.bin');
    world.update();
  });

  test('are not kept, and the Image repository is not asked (G7, F5)', () => {
    world.director.targets['twice.bin'] = directorTarget('twice', [PRIMARY]);
    world.director.publish();
    world.refuses('DIRECTOR_REPEATS_ECU', { ecu: 'primary-1' }, [
      'director/timestamp',
      'director/snapshot',
    ]);
    assert.equal(world.device.requests.at(-1), 'director/targets.json');
  });

  test('do not keep the next good ones out (G7, P9)', () => {
    const bare = new World();
    bare.release('fw-1.bin');
    bare.director.targets['twice.bin'] = directorTarget('twice', [PRIMARY]);
    bare.director.version.targets = 90;
    bare.director.publishTargets();
    bare.withoutDirectorTimestamp();
    bare.refuses('DIRECTOR_REPEATS_ECU', { ecu: 'primary-1' });
    delete bare.director.targets['twice.bin'];
    bare.director.version.targets = 2;
    bare.director.publishTargets();
    assert.equal(bare.update().outcome, 'update');
  });
});
