/** Factory mode: many devices from one station, with and without network, and kill -9 in the middle. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { settingsSchema } from '../../agent/settings.ts';
import { FactoryBench } from '../support/factory-bench.ts';
import { inChild } from '../support/in-child.ts';
import type { DriverResult } from '../support/provision-driver.ts';
import { ALL_DONE_NOW, ALL_FOUND, ONE_OF_EACH } from '../support/provisioning-bench.ts';

const DRIVER = `${import.meta.dirname}/../support/provision-driver.ts`;
const DEVICES = ['gw-0', 'gw-1', 'gw-2', 'gw-3', 'gw-4'];

describe('a station of the factory', () => {
  let bench: FactoryBench;

  before(async () => {
    bench = await FactoryBench.open(DEVICES.length + 1);
    bench.configure('manual.toml', 'manual');
    bench.configure('est.toml', 'est');
    bench.list(
      'devices.csv',
      DEVICES.map((id, token) => [id, token]),
    );
  });
  after(() => bench.close());

  const outcomes = (): Readonly<Record<string, string>> =>
    Object.fromEntries(bench.records().map(({ deviceId, outcome }) => [deviceId, outcome]));

  test('makes keys and requests without network, killed in the middle and resumed', async () => {
    const ending = await bench.killAt('manual.toml', 'devices.csv', (records) =>
      records.some(({ deviceId, keys }) => deviceId === 'gw-2' && keys !== undefined),
    );
    assert.equal(ending, 'killed');
    const before = bench.records();
    assert.ok(before.length >= 3 && before.length < DEVICES.length);
    const { exit, json, log } = await bench.run('manual.toml', 'devices.csv');
    assert.equal(exit, 3, log);
    assert.equal(json.outcome, 'incomplete');
    assert.deepEqual(outcomes(), Object.fromEntries(DEVICES.map((id) => [id, 'waiting'])));
    // Nobody's keys were made twice.
    for (const { deviceId, keys } of before) {
      if (keys === undefined) continue;
      assert.deepEqual(bench.records().find((one) => one.deviceId === deviceId)?.keys, keys);
    }
    assert.deepEqual(
      bench.exported().map(({ deviceId }) => deviceId),
      DEVICES,
    );
  });

  test('takes the certificates as a batch, killed in the middle and resumed', async () => {
    for (const id of DEVICES) {
      const csr = readFileSync(bench.path(`records/requests/${id}.csr`), 'utf8');
      const show = ['req', '-verify', '-noout', '-subject'];
      const subject = execFileSync('openssl', show, { input: csr, stdio: 'pipe' }).toString();
      assert.equal(subject, `subject=CN = ${id}\n`);
      const { pem } = await bench.director.certify(csr);
      writeFileSync(bench.path(`records/certificates/${id}.pem`), pem);
    }
    const ending = await bench.killAt('manual.toml', 'devices.csv', (records) =>
      records.some(({ deviceId, outcome }) => deviceId === 'gw-3' && outcome === 'begun'),
    );
    assert.equal(ending, 'killed');
    assert.deepEqual([outcomes()['gw-0'], outcomes()['gw-3']], ['done', 'begun']);
    const { exit, json, log } = await bench.run('manual.toml', 'devices.csv');
    assert.equal(exit, 0, log);
    assert.equal(json.outcome, 'provisioned');
    assert.ok(!log.includes('gw-0: '), 'a device that is done is looked at again');
    for (const [token] of DEVICES.entries()) {
      assert.deepEqual(await bench.inspect(token, 'census'), ONE_OF_EACH);
    }
  });

  test('records what a Director, a ceremony and an auditor ask for, and no secret', () => {
    const records = bench.records();
    const ids = new Set(records.flatMap(({ keys }) => [keys?.tls.sha256, keys?.uptane.sha256]));
    assert.equal(ids.size, 2 * DEVICES.length);
    for (const { deviceId, ecuSerial, hardwareId, keys, certificate, station, at } of records) {
      assert.ok(keys && certificate);
      assert.deepEqual([ecuSerial, hardwareId, station], [deviceId, 'imx8', 'line-4']);
      assert.ok(Math.abs(Date.parse(at) - Date.now()) < 600_000);
      const leaf = new X509Certificate(certificate.pem);
      const fingerprint = leaf.fingerprint256.replaceAll(':', '').toLowerCase();
      assert.equal(certificate.sha256, fingerprint);
      assert.ok(leaf.publicKey.equals(createPublicKey(keys.tls.pem)));
      for (const { pem, jwk } of [keys.tls, keys.uptane]) {
        assert.ok(createPublicKey(pem).equals(createPublicKey({ key: jwk, format: 'jwk' })));
      }
      assert.equal(keys.uptane.clientKey.keyval.public, keys.uptane.pem);
      assert.equal(keys.token.label, 'ota-agent');
    }
    const everything = JSON.stringify([records, bench.exported()]);
    assert.ok(!/PRIVATE|user-pin|so-pin/u.test(everything));
  });

  test('leaves devices that need only trust and registration', async () => {
    const [world] = bench.worlds;
    assert.ok(world);
    const { gatewayUrl, caPath, directorRootPath, imageRootPath } = bench.director;
    const settings = settingsSchema.parse({
      gateway: { url: gatewayUrl, ca: caPath },
      token: world.settings,
      uptane: { roots: [directorRootPath, imageRootPath] },
    });
    const recordPath = bench.path('device-record');
    mkdirSync(recordPath);
    const args = { settings, gatewayUrl, recordPath };
    const outcome = await inChild(DRIVER, 'run', args, world.env);
    assert.equal(outcome.text, undefined);
    const { steps, provisioned } = outcome.value as DriverResult;
    assert.deepEqual(steps, [...ALL_FOUND.slice(0, 5), ...ALL_DONE_NOW.slice(5)]);
    const record = bench.records().find(({ deviceId }) => deviceId === 'gw-0');
    assert.deepEqual(
      [provisioned.deviceId, provisioned.ecu.serial, provisioned.ecu.keyId],
      ['gw-0', 'gw-0', record?.keys?.uptane.keyId],
    );
  });

  test('enrols over EST, and never gives one token to two devices', async () => {
    const spare = DEVICES.length;
    bench.list('more.csv', [
      ['est-1', spare],
      ['est-2', spare],
      ['est-3', 1],
    ]);
    const { exit, json } = await bench.run('est.toml', 'more.csv');
    assert.equal(exit, 50);
    assert.deepEqual(
      json.devices?.map(({ deviceId, outcome }) => [deviceId, outcome]),
      [
        ['est-1', 'done'],
        ['est-2', 'failed'],
        ['est-3', 'failed'],
      ],
    );
    const [, second, third] = json.devices ?? [];
    assert.equal(second?.failure?.code, 'FACTORY_DUPLICATE');
    assert.deepEqual(second.failure.details, {
      device: 'est-2',
      other: 'est-1',
      what: 'token, by its keys',
      remedy: 'connect the token of this device; the other one keeps what it has',
    });
    assert.equal((third?.failure?.details as { other: string }).other, 'gw-1');
    assert.deepEqual(await bench.inspect(spare, 'census'), ONE_OF_EACH);
    assert.deepEqual(
      bench.exported().map(({ deviceId }) => deviceId),
      ['est-1', ...DEVICES],
    );
  });

  test('refuses a serial that another list has given away, before it touches a token', async () => {
    writeFileSync(bench.path('taken.csv'), 'device_id,ecu_serial\nnew-1,new-1\nnew-2,gw-0\n');
    const { exit, json } = await bench.run('est.toml', 'taken.csv');
    assert.deepEqual([exit, json.code], [50, 'FACTORY_DUPLICATE']);
    assert.deepEqual([json.details?.['device'], json.details?.['other']], ['new-2', 'gw-0']);
    assert.equal(outcomes()['new-1'], undefined);
  });

  test('goes on past a device that fails, but stops where a PIN is wrong', async () => {
    const wrong = bench.path('wrong-pin');
    writeFileSync(wrong, 'not-the-pin\n', { mode: 0o600 });
    const env = bench.worlds[0]?.env['SOFTHSM2_CONF'] ?? '';
    const lines = [
      'device_id,module,pin_file,env:SOFTHSM2_CONF,env:NODE_OPTIONS',
      'bad-1,/nowhere/module.so,,,',
      'bad-2,,,,--no-such-option',
      `bad-3,/usr/lib/softhsm/libsofthsm2.so,${wrong},${env},`,
      'bad-4,,,,',
    ];
    writeFileSync(bench.path('broken.csv'), lines.join('\n'));
    const { exit, json } = await bench.run('est.toml', 'broken.csv');
    assert.equal(exit, 50);
    assert.deepEqual(
      json.devices?.map(({ deviceId, failure }) => [deviceId, failure?.code]),
      [
        ['bad-1', 'TOKEN_MODULE'],
        ['bad-2', 'TOKEN_MODULE'],
        ['bad-3', 'TOKEN_PIN_INCORRECT'],
      ],
    );
    assert.match(JSON.stringify(json.devices), /worked on the token ended with exit code 9/u);
    // It is not tried again by the next run either.
    const refused = bench.path('records/locks/bad-3/refused-pins.json');
    assert.equal(statSync(refused).mode & 0o777, 0o600);
    const again = await bench.run('est.toml', 'broken.csv', '--only', 'bad-3');
    assert.equal(again.json.devices?.[0]?.failure?.code, 'TOKEN_PIN_INCORRECT');
    assert.match(
      JSON.stringify(again.json.devices),
      /refused this PIN before, so it was not tried/u,
    );
  });

  test('works on the devices that are named, and says what is no use', async () => {
    const only = await bench.run('est.toml', 'devices.csv', '--only', 'gw-4');
    assert.deepEqual([only.exit, only.json.devices?.length], [0, 1]);
    const unknown = await bench.run('est.toml', 'devices.csv', '--only', 'gw-9');
    assert.deepEqual([unknown.exit, unknown.json.code], [2, 'USAGE']);
    writeFileSync(bench.path('shared.toml'), '[provisioning]\nmode = "device-cred"\n');
    const mode = await bench.run('shared.toml', 'devices.csv');
    assert.deepEqual([mode.exit, mode.json.details?.['key']], [2, 'provisioning.mode']);
    writeFileSync(bench.path('records/devices/gw-0.json'), '{"version":1,"deviceId":"gw');
    const corrupt = await bench.run('est.toml', 'devices.csv');
    assert.deepEqual([corrupt.exit, corrupt.json.code], [2, 'STORAGE_CORRUPT']);
  });
});
