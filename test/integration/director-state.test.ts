import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { SimulatedDevice } from '../director/simulated/device.ts';
import { startDirector, type DirectorHandle } from '../director/start.ts';
import { examine, version } from '../unit/director/examine.ts';
import { servedTo } from './director-fixture.ts';

const MAIN = join(import.meta.dirname, '../director/main.ts');

let directory: string;

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'director-state-'));
});
after(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function publish(director: DirectorHandle, name: string): Promise<void> {
  const path = join(directory, 'image');
  writeFileSync(path, randomBytes(1000));
  await director.publish({ path, name, hardwareIds: ['primary-hw'], version: '1' });
}

async function runMain(
  ...args: readonly string[]
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { timeout: 20_000 }, (error, stdout, stderr) => {
      const exitCode = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1;
      resolve({ exitCode, stdout, stderr });
    });
  });
}

function threeLines(stderr: string): void {
  assert.match(stderr, /^error: .+\nwhere: .+\nremedy: .+\n$/u);
}

describe('the state directory', () => {
  test('keeps everything across a restart: addresses, keys, devices, images, faults, statistics not', async () => {
    const stateDir = join(directory, 'restart');
    const first = await startDirector({ stateDir });
    const device = await SimulatedDevice.create(first, 'device-1');
    await device.register();
    await publish(first, 'fw-1');
    const assignment = await first.assign('device-1', 'fw-1');
    await device.sendManifest({ counter: 1 });
    await first.fault('http-503', 'on', { device: 'nobody' });
    const served = [await servedTo(device, 'director', 1), await servedTo(device, 'repo', 1)];
    const image = await device.get('/repo/targets/fw-1');
    const certificates = await first.control('GET', '/certificates');
    device.close();
    await first.stop();
    assert.equal(existsSync(join(stateDir, 'gateway.json')), false);

    const second = await startDirector({ stateDir });
    assert.deepEqual([second.gatewayUrl, second.enrolUrl], [first.gatewayUrl, first.enrolUrl]);
    const again = device.reconnect(second);
    assert.deepEqual(
      [await servedTo(again, 'director', 1), await servedTo(again, 'repo', 1)],
      served,
    );
    assert.ok((await again.get('/repo/targets/fw-1')).body.equals(image.body));
    const known = (await second.control('GET', '/devices/device-1')) as Record<string, unknown>;
    assert.deepEqual(known['assignment'], { ...assignment, outcome: 'pending' });
    assert.equal((await again.sendManifest({ counter: 1 })).status, 400);
    assert.equal((await again.sendManifest({ counter: 2 })).status, 200);
    const manifests = (await second.control('GET', '/devices/device-1/manifests')) as unknown[];
    assert.equal(manifests.length, 3);
    assert.deepEqual(await second.control('GET', '/certificates'), certificates);
    const { active } = (await second.control('GET', '/faults')) as { active: object[] };
    assert.equal(active.length, 1);
    again.close();
    await second.stop();
  });

  test('holds what the ready file says, and secrets for their owner only', async () => {
    const stateDir = join(directory, 'files');
    const director = await startDirector({ stateDir });
    const ready = JSON.parse(readFileSync(join(stateDir, 'gateway.json'), 'utf8')) as object;
    assert.deepEqual(ready, {
      gateway: director.gatewayUrl,
      enrol: director.enrolUrl,
      control: join(stateDir, 'control.sock'),
      ca: director.caPath,
      pid: director.pid,
    });
    for (const path of [
      'control.sock',
      'enrol-secret',
      'server-key.pem',
      'device-ca-key.pem',
      'server-ca-key.pem',
      'director/repository.json',
      'image/repository.json',
    ]) {
      assert.equal(statSync(join(stateDir, path)).mode & 0o077, 0, path);
    }
    for (const path of [director.directorRootPath, director.imageRootPath]) {
      assert.equal(version(readFileSync(path, 'utf8')), 1);
    }
    await director.stop();
  });

  test('comes back from kill -9 at any moment, and no version ever goes down', async () => {
    const stateDir = join(directory, 'killed');
    let director = await startDirector({ stateDir });
    let device = await SimulatedDevice.create(director, 'device-1');
    await device.register();
    let seen = 0;
    let counter = 0;
    for (let round = 0; round < 8; round += 1) {
      const running = director;
      const victim = device;
      const busy = (async (): Promise<void> => {
        for (let at = 0; at < 50; at += 1) {
          counter += 1;
          await publish(running, `fw-${String(round)}-${String(at)}`);
          await running.assign('device-1', `fw-${String(round)}-${String(at)}`);
          await victim.sendManifest({ counter });
          const { set } = await servedTo(victim, 'repo', 1);
          seen = Math.max(seen, version(set.timestamp));
          await running.control('POST', '/refresh', { role: 'targets', device: 'device-1' });
        }
      })().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 20 + 37 * round));
      await director.kill();
      await busy;
      device.close();
      director = await startDirector({ stateDir });
      device = device.reconnect(director);
      const served = await servedTo(device, 'repo', 1);
      assert.deepEqual(examine(served, Date.now()), []);
      assert.ok(version(served.set.timestamp) >= seen);
      assert.deepEqual(examine(await servedTo(device, 'director', 1), Date.now()), []);
      for (const image of (await director.control('GET', '/images')) as { filename: string }[]) {
        const path = `/repo/targets/${encodeURIComponent(image.filename)}`;
        assert.equal((await device.get(path)).body.length, 1000);
      }
    }
    assert.ok(seen > 1, 'something was published in between');
    const left = readdirSync(join(stateDir, 'images')).filter((name) => name.startsWith('.'));
    assert.deepEqual(left, []);
    device.close();
    await director.stop();
  });

  test('has one Director at a time: a second one ends with 2 and says so', async () => {
    const stateDir = join(directory, 'twice');
    const director = await startDirector({ stateDir });
    const second = await runMain('--state', stateDir);
    assert.equal(second.exitCode, 2);
    assert.match(second.stderr, /another Director runs over this directory/u);
    threeLines(second.stderr);
    assert.equal(((await director.control('GET', '/status')) as { pid: number }).pid, director.pid);
    await director.stop();
  });

  test('that is damaged is named, with a remedy', async () => {
    const stateDir = join(directory, 'damaged');
    await (await startDirector({ stateDir })).stop();
    writeFileSync(join(stateDir, 'director/repository.json'), '{"trust":');
    const { exitCode, stderr } = await runMain('--state', stateDir);
    assert.equal(exitCode, 1);
    assert.match(stderr, /where: .*damaged\/director\/repository\.json/u);
    threeLines(stderr);
  });
});

describe('starting the Director', () => {
  test('takes another port when the one of last time is taken, but not instead of a named one', async () => {
    const stateDir = join(directory, 'ports');
    const first = await startDirector({ stateDir });
    const port = Number(new URL(first.gatewayUrl).port);
    await first.stop();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve));
    try {
      const second = await startDirector({ stateDir });
      assert.notEqual(second.gatewayUrl, first.gatewayUrl);
      const device = await SimulatedDevice.create(second, 'device-1');
      assert.equal((await device.get('/repo/root.json')).status, 200);
      device.close();
      await second.stop();
      const named = await runMain('--state', stateDir, '--port', String(port));
      assert.equal(named.exitCode, 1);
      assert.match(named.stderr, new RegExp(`where: 127.0.0.1:${String(port)}`, 'u'));
      threeLines(named.stderr);
    } finally {
      await new Promise((resolve) => squatter.close(resolve));
    }
  });

  test('listens where it is told, with a certificate that says so, by the same CA', async () => {
    const stateDir = join(directory, 'host');
    const first = await startDirector({ stateDir });
    const device = await SimulatedDevice.create(first, 'device-1');
    const ca = readFileSync(first.caPath, 'utf8');
    device.close();
    await first.stop();
    const second = await startDirector({ stateDir, host: '127.0.0.2' });
    assert.match(second.gatewayUrl, /^https:\/\/127\.0\.0\.2:/u);
    assert.equal(readFileSync(second.caPath, 'utf8'), ca);
    const again = device.reconnect(second);
    assert.equal((await again.get('/repo/root.json')).status, 200);
    again.close();
    await second.stop();
  });

  for (const [what, args] of [
    ['no --state', []],
    ['an unknown option', ['--state', 'x', '--nothing']],
    ['a word', ['--state', 'x', 'word']],
    ['a port that is none', ['--state', 'x', '--port', '70000']],
    ['an unknown key type', ['--state', 'x', '--key-type', 'dsa']],
    ['a path too long for a socket', ['--state', `/tmp/${'x'.repeat(100)}`]],
    ['a directory that cannot be made', ['--state', '/dev/null/x']],
  ] as const) {
    test(`with ${what} ends with 2 and says what to do`, async () => {
      const { exitCode, stdout, stderr } = await runMain(...args);
      assert.deepEqual([exitCode, stdout], [2, '']);
      threeLines(stderr);
    });
  }

  test('--help explains itself', async () => {
    const { exitCode, stdout } = await runMain('--help');
    assert.equal(exitCode, 0);
    assert.match(stdout, /^usage: /u);
  });

  test('ends when its parent does', async () => {
    const stateDir = join(directory, 'orphan');
    mkdirSync(stateDir);
    const start = join(import.meta.dirname, '../director/start.ts');
    const parent = `
      const { startDirector } = await import(${JSON.stringify(start)});
      const director = await startDirector({ stateDir: ${JSON.stringify(stateDir)} });
      console.log(director.pid);
      process.kill(process.pid, 'SIGKILL');`;
    const pid = await new Promise<number>((resolve) => {
      const args = ['--input-type=module', '--eval', parent];
      execFile(process.execPath, args, { timeout: 20_000 }, (_error, stdout) => {
        resolve(Number(stdout));
      });
    });
    assert.ok(pid > 1);
    const endsBy = Date.now() + 10_000;
    while (isAlive(pid) && Date.now() < endsBy) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(isAlive(pid), false);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
