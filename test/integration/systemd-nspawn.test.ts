/**
 * The installed agent under a real systemd: the sandbox lets it work, the watchdog sees it hang.
 *
 * Everything of the daemon is real here: its token (SoftHSM2), its gateway (the mock Director, over
 * mutual TLS with the token's key), its updates.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import type { RequestLine } from '../director/gateway/traffic.ts';
import { startDirector, type DirectorHandle } from '../director/start.ts';
import { bootSystem, whyNotBootable, type BootedSystem } from '../support/booted-system.ts';
import { provision, siteFiles } from '../support/site-files.ts';
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
  await provision(system, false);
  await demand('mv', '/etc/credstore/absent', '/etc/credstore/ota-agent.pin');
});

testInside('provisions in a transient unit that has both PINs as credentials', async () => {
  await provision(system, true);
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

async function assign(name: string, content: Buffer): Promise<void> {
  const path = join(directory.path, name);
  writeFileSync(path, content);
  await director.publish({ path, name, hardwareIds: ['gateway'], version: name });
  await director.assign('device-1', name);
}

async function untilInstalled(content: Buffer, path = '/var/lib/ota-agent/app.img'): Promise<void> {
  const digest = createHash('sha256').update(content).digest('hex');
  await until('the update', async () => {
    const { stdout } = await system.run('sha256sum', path);
    return stdout.startsWith(digest);
  });
}

testInside('installs an update that the Director assigns', async () => {
  const content = Buffer.from('version 2');
  await assign('app-2', content);
  await untilInstalled(content);
});

testInside(
  'a check before boot-complete.target that fails keeps the image unconfirmed',
  async () => {
    const check = '/etc/systemd/system/site-check.service';
    const unit = (program: string): string => `[Unit]
    DefaultDependencies=no
    Before=boot-complete.target
    [Service]
    Type=oneshot
    ExecStart=${program}
    [Install]
    RequiredBy=boot-complete.target
  `;
    system.write(check, unit('false'));
    await demand('systemctl', 'enable', 'site-check');
    assert.notEqual((await system.run('systemctl', 'start', 'ota-agent-confirm')).exit, 0);
    assert.equal(await property('ExecMainStartTimestampMonotonic', 'ota-agent-confirm'), '0');
    system.write(check, unit('true'));
    await demand('systemctl', 'daemon-reload');
  },
);

testInside(
  'the confirming unit asks the daemon at boot-complete.target, and succeeds',
  async () => {
    await demand('systemctl', 'start', 'ota-agent-confirm');
    assert.equal(await property('ActiveState', 'boot-complete.target'), 'active');
    assert.equal(await property('Result', 'ota-agent-confirm'), 'success');
    assert.equal(await property('ActiveState', 'ota-agent-confirm'), 'active');
  },
);

testInside('a service takes in a secret that the unit of the timer has received', async () => {
  const value = Buffer.from('correct-horse').toString('base64');
  await director.control('PUT', '/devices/device-1/secrets/db-password', { value });
  // Its first run is at the start, which is now.
  await demand('systemctl', 'start', 'ota-agent-secrets.timer');
  const credential = 'LoadCredential=db-password:/run/ota-agent/secrets/db-password';
  const order = ['Wants=ota-agent-secrets.service', 'After=ota-agent-secrets.service'];
  const properties = [credential, ...order].flatMap((one) => ['-p', one]);
  const reader = ['systemd-creds', 'cat', 'db-password'];
  const service = ['--quiet', '--pipe', '--wait', '-p', 'User=nobody', ...properties, ...reader];
  assert.equal(await demand('systemd-run', ...service), 'correct-horse');
  const mode = await demand('stat', '-c', '%U %a', '/run/ota-agent/secrets/db-password');
  assert.equal(mode, 'ota-agent 400');
  await demand('systemctl', 'stop', 'ota-agent-secrets.timer');
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

const SLOW = '/etc/ota-agent/conf.d/20-slow.toml';

/** Bytes of an image that is not there as a whole. */
async function partial(storage: string): Promise<number> {
  const { stdout } = await system.run('sh', '-c', `cat ${storage}/staging/*.part | wc -c`);
  return Number(stdout);
}

testInside('stops in the middle of a download, at once, and loses nothing of it', async () => {
  const content = randomBytes(6 * 1024 * 1024);
  system.write(SLOW, 'download.max_rate = "1MiB"\n');
  await demand('systemctl', 'restart', 'ota-agent');
  await assign('app-3', content);
  await until('a download', async () => (await partial('/var/lib/ota-agent')) > 0);
  await demand('systemctl', 'stop', 'ota-agent');
  assert.equal(await property('Result'), 'success');
  assert.equal(await property('ExecMainStatus'), '0');
  const kept = await partial('/var/lib/ota-agent');
  assert.ok(kept > 0 && kept < content.length, String(kept));

  await demand('systemctl', 'start', 'ota-agent');
  await until('more of it', async () => (await partial('/var/lib/ota-agent')) > kept);
  await demand('rm', SLOW);
  await demand('systemctl', 'kill', '-s', 'KILL', 'ota-agent');
  await untilInstalled(content);
  const lines = (await director.control('GET', '/requests?device=device-1')) as RequestLine[];
  // 206: from where it was, not from its beginning.
  assert.equal(lines.findLast((line) => line.path.endsWith('app-3'))?.status, 206);
});

testInside('starts without any network: ready, and says what it waits for', async () => {
  const cut = '/etc/systemd/system/ota-agent.service.d/no-network.conf';
  system.write(cut, '[Service]\nPrivateNetwork=yes\n');
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'restart', 'ota-agent');
  assert.equal(await property('ActiveState'), 'active');
  await until('a cycle', async () => (await property('StatusText')) === 'GATEWAY_UNREACHABLE');
  assert.equal(await property('NRestarts'), '0');
  await demand('rm', cut);
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'stop', 'ota-agent');
  assert.equal(await property('Result'), 'success');
});

testInside('reads a PIN that is encrypted at rest', async () => {
  await demand('mkdir', '-p', '/etc/credstore.encrypted');
  await demand(
    'systemd-creds',
    ...['encrypt', '--with-key=host', '--name=pin', '/etc/credstore/ota-agent.pin'],
    '/etc/credstore.encrypted/ota-agent.pin',
  );
  await demand('rm', '/etc/credstore/ota-agent.pin');
  for (const unit of ['ota-agent', 'ota-agent-once']) {
    system.write(
      `/etc/systemd/system/${unit}.service.d/encrypted.conf`,
      '[Service]\nLoadCredential=\nLoadCredentialEncrypted=pin:ota-agent.pin\n',
    );
  }
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'start', 'ota-agent');
  assert.equal(await property('ActiveState'), 'active');
});

testInside(
  'what only root may write is installed by the installer, for an agent that may not',
  async () => {
    await demand('mkdir', '-p', '/opt/app');
    system.write(
      '/etc/ota-agent/conf.d/30-separate.toml',
      'installer.path = "/opt/app/app.img"\nseparation.installer = true\n',
    );
    system.write(
      '/etc/systemd/system/ota-agent-installer@.service.d/app.conf',
      '[Service]\nReadWritePaths=/opt/app\n',
    );
    await demand('systemctl', 'daemon-reload');
    await demand('systemctl', 'start', 'ota-agent-installer.socket');
    system.write(SLOW, 'download.max_rate = "1MiB"\n');
    await demand('systemctl', 'restart', 'ota-agent');
    const content = randomBytes(6 * 1024 * 1024);
    await assign('app-4', content);
    await until('a download', async () => (await partial('/var/lib/ota-agent-installer')) > 0);
    // Killed in the middle of it: the agent has another one started.
    await demand('systemctl', 'kill', '-s', 'KILL', 'ota-agent-installer@*.service');
    await untilInstalled(content, '/opt/app/app.img');
    await demand('rm', SLOW);
    assert.equal(await demand('stat', '-c', '%U', '/opt/app/app.img'), 'root');
    const staged = await demand('stat', '-c', '%U %a', '/var/lib/ota-agent-installer');
    assert.equal(staged, 'root 700');
  },
);

testInside('the installer serves the agent and root, and nobody else', async () => {
  const listen = `require('node:net').connect('/run/ota-agent-installer/socket')
    .on('error', ({ code }) => console.log(code)).on('data', (said) => console.log(String(said)))`;
  const node = ['/usr/lib/ota-agent/bin/node', '-e', listen];
  assert.equal(await demand('runuser', '-u', 'nobody', '--', ...node), 'EACCES');
  const inGroup = await demand('runuser', '-u', 'nobody', '-g', 'ota-agent', '--', ...node);
  assert.match(inGroup, /"code":"USAGE".*may not install/u);
});

testInside('whoever asks the API has the daemon started, and no restart refuses them', async () => {
  await demand('systemctl', 'stop', 'ota-agent');
  await demand('systemctl', 'start', 'ota-agent.socket');
  const status = ['runuser', '-u', 'ota-agent', '--', 'ota-agent', 'status', '--json'] as const;
  const answer = JSON.parse(await demand(...status)) as Record<string, unknown>;
  assert.equal(
    answer['tlsBackend'] === undefined,
    false,
    'the daemon has answered, not the storage',
  );
  assert.equal(await property('ActiveState'), 'active');
  const socket = await demand('stat', '-c', '%F %U %a', '/run/ota-agent/api.sock');
  await demand('systemctl', 'restart', 'ota-agent');
  assert.equal(await demand('stat', '-c', '%F %U %a', '/run/ota-agent/api.sock'), socket);
  assert.equal(socket, 'socket ota-agent 600');
  await demand('systemctl', 'stop', 'ota-agent.socket', 'ota-agent');
});

testInside('the timer does without a daemon what the daemon does', async () => {
  system.write(
    '/etc/systemd/system/ota-agent-once.timer.d/now.conf',
    '[Timer]\nOnBootSec=0\nRandomizedDelaySec=0\nAccuracySec=1ms\n',
  );
  await demand('systemctl', 'daemon-reload');
  const content = Buffer.from('without a daemon');
  await assign('app-5', content);
  await demand('systemctl', 'start', 'ota-agent-once.timer');
  await untilInstalled(content, '/opt/app/app.img');
  await until(
    'its end',
    async () => (await property('ActiveState', 'ota-agent-once')) === 'inactive',
  );
  assert.equal(await property('Result', 'ota-agent-once'), 'success');
  await demand('systemctl', 'stop', 'ota-agent-once.timer');
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
