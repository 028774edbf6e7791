import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { JsonMap } from '../../director/json/canonical-json.ts';
import { registerEcus } from '../../director/gateway/ecus.ts';
import { JsonReader } from '../../director/json/read-json.ts';
import { createEcu, registration } from '../../director/simulated/ecus.ts';
import type { Assignment, Device } from '../../director/state/devices.ts';
import { refuses } from './refuses.ts';

const NEW: Device = {
  id: 'device-1',
  firstSeenAt: '2026-01-01T00:00:00.000Z',
  ecus: [],
  retiredSerials: [],
  installed: {},
  telemetry: {},
};
const PRIMARY = createEcu('primary-1', 'primary-hw');
const SECONDARY = createEcu('secondary-1', 'secondary-hw', 'rsa-2048');
const BOTH = registration([PRIMARY, SECONDARY]);

function register(
  device: Device,
  body: JsonMap,
  replacement: Parameters<typeof registerEcus>[2] = 'forbidden',
) {
  return registerEcus(device, new JsonReader(body), replacement);
}

describe('ECU registration', () => {
  test('keeps serials, hardware ids and both kinds of key', () => {
    const { device, status } = register(NEW, BOTH);
    assert.equal(status, 201);
    assert.equal(device.primary, 'primary-1');
    assert.deepEqual(
      device.ecus.map(({ serial, hardwareId, keyType }) => [serial, hardwareId, keyType]),
      [
        ['primary-1', 'primary-hw', 'ED25519'],
        ['secondary-1', 'secondary-hw', 'RSA'],
      ],
    );
  });

  test('answers the same registration again without changing anything', () => {
    const { device } = register(NEW, BOTH);
    const again = register(device, BOTH);
    assert.equal(again.status, 200);
    assert.equal(again.device, device);
  });

  test('refuses a Primary that is not among the ECUs', () => {
    const body = { ...BOTH, primary_ecu_serial: 'other' };
    refuses(() => register(NEW, body), 400, 'primary_is_not_listed_for_device');
  });

  test('refuses an ECU listed twice', () => {
    refuses(() => register(NEW, registration([PRIMARY, PRIMARY])), 400, 'ecu_repeated');
  });

  test('refuses keys that a Director of the field cannot verify with', () => {
    const clientKey = { keytype: 'ECPRIME256V1', keyval: { public: '3059' } };
    const ecu = { ecu_serial: 'primary-1', hardware_identifier: 'hw', clientKey };
    const body = { primary_ecu_serial: 'primary-1', ecus: [ecu] };
    refuses(() => register(NEW, body), 400, 'key_not_supported');
  });

  for (const [what, body] of [
    ['no ECUs', { primary_ecu_serial: 'p' }],
    ['a serial of 65 characters', registration([createEcu('s'.repeat(65), 'hw')])],
    ['a hardware id of 201 characters', registration([createEcu('s', 'h'.repeat(201))])],
    ['an empty serial', registration([createEcu('', 'hw')])],
  ] as const) {
    test(`refuses ${what}`, () => {
      refuses(() => register(NEW, body), 400, 'json_malformed');
    });
  }

  test('refuses other keys or ECUs while replacement is disabled', () => {
    const { device } = register(NEW, BOTH);
    const otherKey = registration([createEcu('primary-1', 'primary-hw'), SECONDARY]);
    refuses(() => register(device, otherKey), 409, 'ecu_replacement_disabled');
    refuses(() => register(device, registration([PRIMARY])), 409, 'ecu_replacement_disabled');
  });

  test('replaces an ECU where that is allowed, and never takes the old serial back', () => {
    const { device } = register(NEW, BOTH);
    const replaced = register(
      device,
      registration([PRIMARY, createEcu('secondary-2', 'secondary-hw')]),
      'allowed',
    );
    assert.equal(replaced.status, 200);
    assert.deepEqual(replaced.device.retiredSerials, ['secondary-1']);
    refuses(() => register(replaced.device, BOTH, 'allowed'), 409, 'ecu_reuse_not_allowed');
  });

  test('remembers the keys that spoke for an ECU before', () => {
    const { device } = register(NEW, BOTH);
    const other = registration([createEcu('primary-1', 'primary-hw'), SECONDARY]);
    const replaced = register(device, other, 'allowed').device;
    const [former, ...more] = replaced.formerKeys ?? [];
    assert.equal(former?.publicKey, device.ecus[0]?.publicKey);
    assert.equal(more.length, 0);
    assert.deepEqual(replaced.retiredSerials, []);
  });

  test('may look at serials only, answer 200 to another key and keep the one of before', () => {
    const { device } = register(NEW, BOTH);
    const other = registration([createEcu('primary-1', 'primary-hw'), SECONDARY]);
    const ignored = register(device, other, 'keys-ignored');
    assert.equal(ignored.status, 200);
    assert.equal(ignored.device, device);
  });

  test('starts counting reports anew when the Primary has a new key, and only then', () => {
    const { device } = register(NEW, BOTH);
    const counting = { ...device, reportCounter: 7 };
    const otherSecondary = registration([PRIMARY, createEcu('secondary-2', 'secondary-hw')]);
    assert.equal(register(counting, otherSecondary, 'allowed').device.reportCounter, 7);
    const otherPrimary = registration([createEcu('primary-1', 'primary-hw'), SECONDARY]);
    assert.equal(register(counting, otherPrimary, 'allowed').device.reportCounter, undefined);
  });

  test('does not replace an ECU that has an assignment to do', () => {
    const { device } = register(NEW, BOTH);
    const assigned = (outcome: Assignment['outcome']): Device => ({
      ...device,
      assignment: {
        correlationId: 'urn:here-ota:mtu:1',
        createdAt: NEW.firstSeenAt,
        outcome,
        targets: [
          {
            filename: 'fw',
            lengthBytes: 1,
            sha256: '00',
            sha512: '00',
            format: 'BINARY',
            ecus: { 'secondary-1': 'secondary-hw' },
          },
        ],
      },
    });
    const body = registration([PRIMARY]);
    for (const outcome of ['pending', 'failed'] as const) {
      refuses(
        () => register(assigned(outcome), body, 'allowed'),
        412,
        'replace_ecu_assignment_exists',
      );
    }
    assert.equal(register(assigned('done'), body, 'allowed').status, 200);
  });
});
