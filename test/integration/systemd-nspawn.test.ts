/**
 * The installed agent under a real systemd: the sandbox lets it work, the watchdog sees it hang.
 *
 * Everything of the daemon is real here: its token (SoftHSM2), its gateway (the mock Director, over
 * mutual TLS with the token's key), its updates.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { startDirector, type DirectorHandle } from '../director/start.ts';
import { bootSystem, whyNotBootable, type BootedSystem } from '../support/booted-system.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const directory = temporaryDirectory('nspawn');

let unable = whyNotBootable();
let system: BootedSystem;
let director: DirectorHandle;

before(async () => {
  if (unable !== undefined) return;
  const install = (layer: string): Promise<unknown> =>
    promisify(execFile)('sh', [join(REPOSITORY, 'systemd/install.sh'), layer]);
  const stateDir = join(directory.path, 'director');
  mkdirSync(stateDir);
  director = await startDirector({ stateDir });
  const booted = await bootSystem(install, siteFiles(director));
  if (typeof booted === 'string') unable = booted;
  else system = booted;
});

after(async () => {
  await (system as BootedSystem | undefined)?.stop();
  await (director as DirectorHandle | undefined)?.stop();
  directory.remove();
});

function siteFiles(server: DirectorHandle): Parameters<typeof bootSystem>[1] {
  const copy = (path: string, from: string): { path: string; text: string } => ({
    path,
    text: readFileSync(from, 'utf8'),
  });
  return [
    copy('/etc/ota-agent/ca.pem', server.caPath),
    copy('/etc/ota-agent/director-root.json', server.directorRootPath),
    copy('/etc/ota-agent/image-root.json', server.imageRootPath),
    copy('/etc/ota-agent/est-secret', server.enrolSecretPath),
    { path: '/etc/credstore/ota-agent.pin', text: '123456', mode: 0o600 },
    { path: '/etc/credstore/ota-agent.so-pin', text: '12345678', mode: 0o600 },
    {
      path: '/etc/ota-agent/softhsm2.conf',
      text: 'directories.tokendir = /var/lib/ota-agent/tokens\n',
    },
    {
      path: '/etc/systemd/system/ota-agent.service.d/test.conf',
      text: '[Service]\nEnvironment=SOFTHSM2_CONF=/etc/ota-agent/softhsm2.conf\nRestartSec=100ms\n',
    },
    {
      path: '/etc/ota-agent/conf.d/10-site.toml',
      text: `
        gateway = { url = "${server.gatewayUrl}", ca = "/etc/ota-agent/ca.pem" }
        token.module = "/usr/lib/softhsm/libsofthsm2.so"
        device.id = "device-1"
        ecu = { serial = "gw-1", hardware_id = "gateway" }
        installer.path = "/var/lib/ota-agent/app.img"
        [provisioning]
        mode = "est"
        est_url = "${server.enrolUrl}"
        est_secret_file = "/etc/ota-agent/est-secret"
        [uptane]
        roots = ["/etc/ota-agent/director-root.json", "/etc/ota-agent/image-root.json"]
        poll_interval = "1s"
      `,
    },
  ];
}

async function demand(program: string, ...args: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await system.run(program, ...args);
  assert.equal(exit, 0, `${[program, ...args].join(' ')}\n${stdout}${stderr}${await journal()}`);
  return stdout.trim();
}

async function journal(): Promise<string> {
  const { stdout } = await system.run('journalctl', '-o', 'cat', '-n', '40', '--no-pager');
  return stdout;
}

const property = (name: string, unit = 'ota-agent'): Promise<string> =>
  demand('systemctl', 'show', unit, '--value', '-p', name);

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `never happened: ${what}\n${await journal()}`);
    await sleep(100);
  }
}

/** Registered before it is known whether the machine can boot a system, so it asks when it runs. */
function testInside(title: string, act: () => Promise<void>): void {
  test(title, { timeout: 120_000 }, async (t) => {
    if (unable === undefined) await act();
    else t.skip(unable);
  });
}

/** As the agent's user, with both PINs as credentials. */
async function provision(hasPin: boolean): Promise<void> {
  const properties = [
    'User=ota-agent',
    'StateDirectory=ota-agent',
    'StateDirectoryMode=0700',
    'LoadCredential=pin:ota-agent.pin',
    'LoadCredential=so-pin:ota-agent.so-pin',
    'Environment=SOFTHSM2_CONF=/etc/ota-agent/softhsm2.conf',
  ].flatMap((one) => ['-p', one]);
  const argv = [...properties, 'ota-agent', 'provision', '--json'];
  await system.run('install', '-d', '-o', 'ota-agent', '-m', '700', '/var/lib/ota-agent/tokens');
  await system.run('chown', 'ota-agent:', '/var/lib/ota-agent');
  const { exit, stdout, stderr } = await system.run(
    'systemd-run',
    ...['--quiet', '--pipe', '--wait', ...argv],
  );
  assert.equal(exit, hasPin ? 0 : 50, `${stdout}${stderr}`);
  if (!hasPin) assert.match(stdout, /TOKEN_PIN_MISSING/);
}

testInside('systemd makes the user, its groups and a directory it does not own', async () => {
  const groups = await demand('id', '-nG', 'ota-agent');
  assert.deepEqual(groups.split(' ').sort(), ['ota-agent', 'tee', 'teeclnt', 'tss']);
  const format = ['-c', '%U:%G %a', '/run/ota-agent', '/run/ota-agent/conf.d'];
  assert.equal(await demand('stat', ...format), 'root:ota-agent 1775\nroot:root 755');
  const seized = await system.run(
    'runuser',
    ...['-u', 'ota-agent', '--', 'mv', '/run/ota-agent/conf.d', '/run/ota-agent/mine'],
  );
  assert.notEqual(seized.exit, 0);
});

testInside('provisioning without a PIN says which one is missing', async () => {
  await demand('mv', '/etc/credstore/ota-agent.pin', '/etc/credstore/absent');
  await provision(false);
  await demand('mv', '/etc/credstore/absent', '/etc/credstore/ota-agent.pin');
});

testInside('provisions in a transient unit that has both PINs as credentials', async () => {
  await provision(true);
});

testInside(
  'starts under the sandbox: ready, with its status, and without any privilege',
  async () => {
    await demand('systemctl', 'start', 'ota-agent');
    assert.equal(await property('ActiveState'), 'active');
    await until('a first cycle', async () => (await property('StatusText')) === 'up-to-date');
    const status = await demand('cat', `/proc/${await property('MainPID')}/status`);
    for (const line of ['CapEff:\t0000000000000000', 'NoNewPrivs:\t1', 'Seccomp:\t2']) {
      assert.ok(status.includes(line), line);
    }
  },
);

testInside('installs an update that the Director assigns', async () => {
  const path = join(directory.path, 'image');
  writeFileSync(path, 'version 2');
  await director.publish({ path, name: 'app-2', hardwareIds: ['gateway'], version: '2' });
  await director.assign('device-1', 'app-2');
  await until('the update', async () => {
    const { stdout } = await system.run('cat', '/var/lib/ota-agent/app.img');
    return stdout === 'version 2';
  });
});

testInside('the confirming unit asks the daemon, and succeeds', async () => {
  await demand('systemctl', 'start', 'ota-agent-confirm');
  assert.equal(await property('Result', 'ota-agent-confirm'), 'success');
  assert.equal(await property('ActiveState'), 'active');
});

testInside('a daemon that hangs is killed by the watchdog and started again', async () => {
  system.write(
    '/etc/systemd/system/ota-agent.service.d/watchdog.conf',
    '[Service]\nWatchdogSec=2s\n',
  );
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'restart', 'ota-agent');
  const started = await property('WatchdogTimestampMonotonic');
  await until('a ping', async () => (await property('WatchdogTimestampMonotonic')) !== started);
  const hanging = await property('MainPID');
  await demand('kill', '-STOP', hanging);
  await until('a restart', async () => (await property('NRestarts')) === '1');
  await until('another start', async () => (await property('ActiveState')) === 'active');
  assert.notEqual(await property('MainPID'), hanging);
  assert.match(await journal(), /Failed with result 'watchdog'/);
});

testInside('stops when asked, within its grace', async () => {
  await demand('systemctl', 'stop', 'ota-agent');
  assert.equal(await property('Result'), 'success');
  assert.equal(await property('ExecMainStatus'), '0');
});

testInside('reads a PIN that is encrypted at rest', async () => {
  await demand('mkdir', '-p', '/etc/credstore.encrypted');
  await demand(
    'systemd-creds',
    ...['encrypt', '--with-key=host', '--name=pin', '/etc/credstore/ota-agent.pin'],
    '/etc/credstore.encrypted/ota-agent.pin',
  );
  await demand('rm', '/etc/credstore/ota-agent.pin');
  system.write(
    '/etc/systemd/system/ota-agent.service.d/encrypted.conf',
    '[Service]\nLoadCredential=\nLoadCredentialEncrypted=pin:ota-agent.pin\n',
  );
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'start', 'ota-agent');
  assert.equal(await property('ActiveState'), 'active');
});

testInside('the agent asks for a reboot by a file, and only by that', async () => {
  system.write(
    '/etc/systemd/system/ota-agent-reboot.service.d/test.conf',
    '[Service]\nExecStart=\nExecStart=touch /run/would-reboot\nRemainAfterExit=yes\n',
  );
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'start', 'ota-agent-reboot.path');
  assert.equal((await system.run('test', '-e', '/run/would-reboot')).exit, 1);
  await demand('runuser', '-u', 'ota-agent', '--', 'touch', '/run/ota-agent/reboot');
  await until(
    'the reboot',
    async () => (await system.run('test', '-e', '/run/would-reboot')).exit === 0,
  );
});
