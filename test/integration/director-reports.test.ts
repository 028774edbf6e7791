import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import type { JsonMap } from '../director/json/canonical-json.ts';
import type { EventRecord, ManifestRecord } from '../director/gateway/reports.ts';
import { type Answer } from '../director/simulated/device.ts';
import { createEcu, deviceEvent, registration } from '../director/simulated/ecus.ts';
import {
  answered,
  deviceState,
  publishImage,
  startFixture,
  type Fixture,
} from './director-fixture.ts';

let fixture: Fixture;
const newDevice: Fixture['newDevice'] = (id, ecus) => fixture.newDevice(id, ecus);

before(async () => {
  fixture = await startFixture();
});
after(async () => {
  await fixture.end();
});

describe('the gateway: ECUs', () => {
  test('POST /director/ecus answers 201, then 200, and 409 for other ECUs', async () => {
    const device = await newDevice('ecus-1');
    answered(await device.register(), 201);
    answered(await device.register(), 200);
    const before = await deviceState(fixture, 'ecus-1');
    answered(await device.register([createEcu('other', 'hw')]), 409, 'ecu_replacement_disabled');
    assert.deepEqual(await deviceState(fixture, 'ecus-1'), before);
  });

  test('POST /director/ecus answers 400 for a Primary that is not listed, and for no JSON', async () => {
    const device = await newDevice('ecus-2');
    const body = JSON.stringify({ ...registration(device.ecus), primary_ecu_serial: 'x' });
    const answer = await device.call('POST', '/director/ecus', { body });
    answered(answer, 400, 'primary_is_not_listed_for_device');
    answered(await device.call('POST', '/director/ecus', { body: '{' }), 400, 'json_malformed');
    answered(await device.call('POST', '/director/ecus'), 400, 'json_malformed');
    assert.deepEqual((await deviceState(fixture, 'ecus-2')).ecus, []);
  });

  test('replacement is allowed by a setting: 200, then 409 for the old serial, 412 when assigned', async () => {
    const device = await newDevice('ecus-3');
    await device.register();
    await publishImage(fixture, 'replacement.bin', randomBytes(10), ['new-hw']);
    await fixture.director.control('PUT', '/settings', { ecuReplacement: true });
    const replacement = [createEcu('primary-2', 'new-hw')];
    answered(await device.register(replacement), 200);
    answered(await device.register(), 409, 'ecu_reuse_not_allowed');
    await fixture.director.assign('ecus-3', 'replacement.bin');
    const third = [createEcu('primary-3', 'new-hw')];
    answered(await device.register(third), 412, 'replace_ecu_assignment_exists');
    await fixture.director.control('PUT', '/settings', { ecuReplacement: false });
    assert.equal((await deviceState(fixture, 'ecus-3')).primary, 'primary-2');
  });
});

describe('the gateway: manifests', () => {
  test('PUT /director/manifest keeps accepted and refused manifests with their verdicts', async () => {
    const device = await newDevice('manifests-1');
    answered(await device.sendManifest({ counter: 1 }), 404, 'device_not_registered');
    await device.register();
    answered(await device.sendManifest({ counter: 1 }), 200);
    const accepted = await deviceState(fixture, 'manifests-1');
    answered(await device.sendManifest({ counter: 1 }), 400, 'report_counter_reused');
    const signer = createEcu('primary-1', 'primary-hw');
    answered(await device.sendManifest({ counter: 2, signer }), 400, 'signature_not_valid');
    const notPrimary = (signed: JsonMap): JsonMap => ({ ...signed, primary_ecu_serial: 'x' });
    answered(await device.sendManifest({ counter: 2, edit: notPrimary }), 400, 'ecu_not_primary');
    answered(await device.call('PUT', '/director/manifest', { body: 'x' }), 400, 'json_malformed');
    assert.deepEqual(await deviceState(fixture, 'manifests-1'), accepted);
    const kept = (await fixture.director.control(
      'GET',
      '/devices/manifests-1/manifests',
    )) as ManifestRecord[];
    assert.deepEqual(
      kept.map(({ verdict }) => [verdict.status, verdict.code]),
      [
        [404, 'device_not_registered'],
        [200, 'accepted'],
        [400, 'report_counter_reused'],
        [400, 'signature_not_valid'],
        [400, 'ecu_not_primary'],
        [400, 'json_malformed'],
      ],
    );
    assert.deepEqual(kept[1]?.manifest, kept[2]?.manifest);
    assert.equal(kept[5]?.manifest, null);
  });

  test('a manifest that shows the assigned image ends the assignment, and the targets stay', async () => {
    const device = await newDevice('manifests-2');
    await device.register();
    const image = await publishImage(fixture, 'manifests/fw.bin', randomBytes(100));
    const assignment = await fixture.director.assign('manifests-2', image.filename);
    assert.match(assignment.correlationId, /^urn:here-ota:mtu:[0-9a-f-]{36}$/u);
    const before = (await device.get('/director/targets.json')).body.toString();
    const fw = { filename: image.filename, lengthBytes: 100, sha256: image.sha256 };
    answered(await device.sendManifest({ counter: 1, installed: { 'primary-1': fw } }), 200);
    assert.equal((await deviceState(fixture, 'manifests-2')).assignment?.outcome, 'done');
    assert.equal((await device.get('/director/targets.json')).body.toString(), before);
  });
});

describe('the gateway: events and telemetry', () => {
  test('POST /events and /events/ answer 204 and keep each event once', async () => {
    const device = await newDevice('events-1');
    const event = deviceEvent('EcuDownloadCompleted', { ecu: 'primary-1', success: true });
    const more = deviceEvent('EcuInstallationStarted', { ecu: 'primary-1' });
    answered(await device.call('POST', '/events', { body: JSON.stringify([event]) }), 204);
    answered(await device.call('POST', '/events/', { body: JSON.stringify([event, more]) }), 204);
    const kept = (await fixture.director.control(
      'GET',
      '/devices/events-1/events',
    )) as EventRecord[];
    assert.deepEqual(
      kept.map((record) => record.event),
      [event, more],
    );
  });

  test('POST /events takes a batch whole or not at all: 400 for a bad event, 413 above 1 MiB', async () => {
    const device = await newDevice('events-2');
    const good = deviceEvent('EcuDownloadStarted', {});
    const post = async (body: unknown): Promise<Answer> =>
      device.call('POST', '/events', { body: JSON.stringify(body) });
    for (const bad of [
      { ...good, id: 'x' },
      { ...good, deviceTime: 'now' },
      { id: good['id'] ?? '' },
      1,
    ]) {
      answered(await post([good, bad]), 400, 'json_malformed');
    }
    answered(await post({}), 400, 'json_malformed');
    answered(await post([{ ...good, padding: 'x'.repeat(1024 * 1024) }]), 413, 'bad_request');
    assert.deepEqual(await fixture.director.control('GET', '/devices/events-2/events'), []);
  });

  test('what a device tells about itself is kept', async () => {
    const device = await newDevice('telemetry-1');
    const network = { hostname: 'vm', local_ipv4: '192.0.2.2', mac: '02:fc:00:00:00:01' };
    const packages = [{ name: 'fake-package', version: '1.0' }];
    const toml = '[uptane]\npolling_sec = 10\n';
    const send = async (method: string, path: string, body: unknown): Promise<Answer> =>
      device.call(method, path, { body: typeof body === 'string' ? body : JSON.stringify(body) });
    answered(await send('PUT', '/system_info', { id: 'vm' }), 200);
    answered(await send('PUT', '/core/installed', packages), 200);
    answered(await send('PUT', '/system_info/network', network), 204);
    const headers = { 'content-type': 'application/toml' };
    answered(await device.call('POST', '/system_info/config', { body: toml, headers }), 204);
    answered(await send('PUT', '/system_info', '{'), 400, 'json_malformed');
    const { telemetry } = await deviceState(fixture, 'telemetry-1');
    assert.deepEqual(
      Object.entries(telemetry).map(([path, told]) => [path, told['content']]),
      [
        ['system_info', { id: 'vm' }],
        ['core/installed', packages],
        ['system_info/network', network],
        ['system_info/config', toml],
      ],
    );
  });

  test('unknown paths and methods are 404 with JSON', async () => {
    const device = await newDevice('unknown-1');
    answered(await device.get('/'), 404, 'not_found');
    answered(await device.get('/director/manifest'), 404, 'not_found');
    answered(await device.call('DELETE', '/director/ecus'), 404, 'not_found');
    answered(await device.call('HEAD', '/repo/timestamp.json'), 404);
  });
});
