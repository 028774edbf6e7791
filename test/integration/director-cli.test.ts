import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { SimulatedDevice } from '../director/simulated/device.ts';
import { deviceEvent } from '../director/simulated/ecus.ts';
import { startFixture, type Fixture } from './director-fixture.ts';

const CLI = join(import.meta.dirname, '../director/cli.ts');
const FILE = import.meta.filename;

let fixture: Fixture;
let device: SimulatedDevice;

before(async () => {
  fixture = await startFixture();
  device = await fixture.newDevice('device-1');
  await device.register();
});
after(async () => {
  await fixture.end();
});

interface Result {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function runCli(...args: readonly string[]): Promise<Result> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { timeout: 20_000 }, (error, stdout, stderr) => {
      const exitCode = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1;
      resolve({ exitCode, stdout, stderr });
    });
  });
}

async function cli(...args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runCli('--state', fixture.director.stateDir, ...args);
  assert.deepEqual([exitCode, stderr], [0, '']);
  return stdout;
}

async function cliJson(...args: readonly string[]): Promise<unknown> {
  const stdout = await cli(...args, '--json');
  assert.match(stdout, /^[^\n]+\n$/u, 'one line of JSON');
  return JSON.parse(stdout);
}

describe('the operator’s command line', () => {
  test('carries an update from publishing to its end', async () => {
    const sha256 = createHash('sha256').update(readFileSync(FILE)).digest('hex');
    const published = await cli(
      ...['publish', FILE, '--name', 'fw/1.bin', '--version', '1.0'],
      ...['--hardware-id', 'primary-hw', '--hardware-id', 'other-hw', '--release-counter', '3'],
    );
    assert.match(published, new RegExp(`^fw/1.bin: \\d+ bytes, sha256 ${sha256}\n$`, 'u'));
    assert.match(
      await cli('images'),
      new RegExp(`fw/1.bin .*primary-hw other-hw .*${sha256}`, 'u'),
    );
    const assigned = await cli('assign', 'device-1', 'fw/1.bin', '--ecu', 'primary-1');
    assert.match(assigned, /^fw\/1.bin for primary-1\nurn:here-ota:mtu:/u);
    assert.match(await cli('devices'), /assignment pending: fw\/1.bin → primary-1/u);

    const image = { filename: 'fw/1.bin', lengthBytes: readFileSync(FILE).length, sha256 };
    await device.sendManifest({ counter: 1, installed: { 'primary-1': image } });
    await device.sendManifest({ counter: 1 });
    const event = deviceEvent('EcuInstallationCompleted', { ecu: 'primary-1', success: true });
    await device.call('POST', '/events', { body: JSON.stringify([event]) });

    const devices = await cli('devices');
    assert.match(devices, /Primary primary-1 \(primary-hw, ED25519\): fw\/1.bin/u);
    assert.match(devices, /assignment done/u);
    const [accepted, refused] = (await cli('manifests', 'device-1')).trim().split('\n');
    assert.match(accepted ?? '', /^\S+ 200 accepted primary-1=fw\/1.bin$/u);
    assert.match(refused ?? '', /^\S+ 400 report_counter_reused: .* primary-1=unknown$/u);
    assert.equal(((await cliJson('manifests', 'device-1')) as unknown[]).length, 2);
    assert.match(
      await cli('events', 'device-1'),
      /EcuInstallationCompleted ecu=primary-1 success=true/u,
    );
    assert.match(await cli('stats'), /^device .*\ndevice-1 +1 +0 +4 /u);
    assert.match(await cli('requests', '--device', 'device-1'), /PUT +\/director\/manifest +400/u);
    assert.equal(await cli('cancel', 'device-1'), 'device-1 has no assignment\n');
    assert.doesNotMatch(await cli('devices'), /assignment/u);
  });

  test('switches faults on and off, with parameters', async () => {
    const on = await cli(
      'fault',
      'image-slow',
      '--device',
      'device-1',
      '--parameter',
      'bytesPerSecond=7',
    );
    assert.equal(on, 'image-slow is on for device-1 bytesPerSecond=7 times=0\n');
    assert.match(await cli('faults'), /^on +image-slow +slow retrieval/mu);
    assert.equal(await cli('fault', 'image-slow', '--off'), 'image-slow is off\n');
    assert.equal(await cli('fault', 'image-slow', '--off'), 'image-slow was not on\n');
  });

  test('rotates, delegates, refreshes, revokes', async () => {
    assert.equal(await cli('rotate', 'director'), 'director root is now version 2\n');
    assert.equal(
      await cli('rotate', 'image', 'timestamp', '--key-type', 'rsa-2048'),
      'image root is now version 2\n',
    );
    assert.equal((await device.get('/director/2.root.json')).status, 200);
    assert.equal((await device.get('/repo/2.root.json')).status, 200);
    assert.equal(
      await cli('delegate', 'supplier', '--path', 'abc/*', '--terminating'),
      'supplier signs for abc/*\n',
    );
    const before = (await cliJson('refresh')) as { timestamp: number };
    assert.deepEqual(await cliJson('refresh'), { ...before, timestamp: before.timestamp + 1 });
    assert.match(await cli('enrol-secret'), /^device:\S{24}\n$/u);
    await fixture.newDevice('device-2');
    assert.equal(await cli('revoke', 'device-2'), 'revoked 1 certificates\n');
    const { roots } = (await cliJson('status')) as { roots: object };
    assert.deepEqual(roots, { director: 2, image: 2 });
  });

  for (const [args, what] of [
    [['assign', 'nobody', 'fw'], /no device nobody/u],
    [['assign', 'device-1', 'no.bin'], /no image no.bin/u],
    [
      ['publish', '/nonexistent', '--name', 'x', '--version', '1', '--hardware-id', 'h'],
      /\/nonexistent/u,
    ],
    [
      ['publish', FILE, '--name', '../x', '--version', '1', '--hardware-id', 'h'],
      /\(400 image_name\)/u,
    ],
    [['fault', 'nothing'], /no fault nothing/u],
    [['rotate', 'director', 'mirrors'], /role must be one of/u],
    [['rotate', 'nothing'], /repo must be one of/u],
    [['delegate', 'targets', '--path', '*'], /\(400 role_name\)/u],
  ] as const) {
    test(`ends with 1 for ${args.join(' ').slice(0, 40)}, and says what to do`, async () => {
      const result = await runCli('--state', fixture.director.stateDir, ...args);
      assert.deepEqual([result.exitCode, result.stdout], [1, '']);
      assert.match(result.stderr, what);
      assert.match(result.stderr, /^error: .+\nwhere: .+\nremedy: .+\n$/u);
    });
  }

  for (const args of [
    [],
    ['nothing'],
    ['devices', 'more'],
    ['devices', '--off'],
    ['assign', 'device-1'],
    ['publish', FILE, '--name', 'x', '--version', '1'],
    ['publish', FILE, '--version', '1', '--hardware-id', 'h'],
    ['fault', 'image-slow', '--parameter', 'x'],
    ['--nothing'],
  ]) {
    test(`ends with 2 for ${JSON.stringify(args).slice(0, 50)}, and says what to do`, async () => {
      const result = await runCli('--state', fixture.director.stateDir, ...args);
      assert.deepEqual([result.exitCode, result.stdout], [2, '']);
      assert.match(result.stderr, /^error: .+\nwhere: command line\nremedy: .+\n$/u);
    });
  }

  test('ends with 2 without --state, and with 1 where no Director runs', async () => {
    assert.equal((await runCli('devices')).exitCode, 2);
    const { exitCode, stderr } = await runCli('--state', fixture.directory, 'devices');
    assert.equal(exitCode, 1);
    assert.match(stderr, /no Director is running/u);
  });

  test('--help lists every command', async () => {
    const { exitCode, stdout } = await runCli('--help');
    assert.equal(exitCode, 0);
    for (const command of ['publish', 'assign', 'fault', 'stats'])
      assert.ok(stdout.includes(`\n  ${command} `));
  });
});
