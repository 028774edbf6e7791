/**
 * The installed agent under a real systemd: the sandbox lets it work, the watchdog sees it hang.
 *
 * Everything of the daemon is real here: its token (SoftHSM2), its gateway (the mock Director, over
 * mutual TLS with the token's key), its updates.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before } from 'node:test';

import type { RequestLine } from '../director/gateway/traffic.ts';
import { isCacheTaken } from '../support/code-cache.ts';
import { faultyModule } from '../support/faulty-module.ts';
import { InstalledAgent } from '../support/installed-agent.ts';
import { OTHERS } from '../support/marked-secrets.ts';
import { SecrecyOfSystem } from '../support/secrecy-of-system.ts';
import { provision } from '../support/site-files.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const directory = temporaryDirectory('nspawn');
const agent = new InstalledAgent(directory.path);
const { assign, demand, demandStopped, journal, partial, property, until, untilInstalled } = agent;

let seen: SecrecyOfSystem | undefined;
/** What of this system is searched in the end. */
const secrecy = (): SecrecyOfSystem => (seen ??= new SecrecyOfSystem(agent.system, agent.director));

before(() => agent.boot());
after(async () => {
  await agent.close();
  directory.remove();
});

agent.test('systemd makes the user, its groups and a directory it does not own', async () => {
  const groups = await demand('id', '-nG', 'ota-agent');
  assert.deepEqual(groups.split(' ').sort(), ['ota-agent', 'tee', 'teeclnt', 'tss']);
  const format = ['-c', '%U:%G %a', '/run/ota-agent', '/run/ota-agent/conf.d'];
  assert.equal(await demand('stat', ...format), 'root:ota-agent 1775\nroot:root 755');
  const seized = await agent.system.run(
    'runuser',
    ...['-u', 'ota-agent', '--', 'mv', '/run/ota-agent/conf.d', '/run/ota-agent/mine'],
  );
  assert.notEqual(seized.exit, 0);
});

agent.test('provisioning without a PIN says which one is missing', async () => {
  await demand('mv', '/etc/credstore/ota-agent.pin', '/etc/credstore/absent');
  await provision(agent.system, false);
  await demand('mv', '/etc/credstore/absent', '/etc/credstore/ota-agent.pin');
});

agent.test('provisions in a transient unit that has both PINs as credentials', async () => {
  await provision(agent.system, true);
});

agent.test(
  'starts under the sandbox: ready, with its status, and without any privilege',
  async () => {
    await demand('systemctl', 'start', 'ota-agent');
    assert.equal(await property('ActiveState'), 'active');
    await until('a first cycle', async () => (await property('StatusText')) === 'up-to-date');
    const status = await demand('cat', `/proc/${await property('MainPID')}/status`);
    for (const line of ['CapEff:\t0000000000000000', 'NoNewPrivs:\t1', 'Seccomp:\t2']) {
      assert.ok(status.includes(line), line);
    }
    secrecy().addProcesses();
    secrecy().demandSeen('/cmdline', 'worker-main');
  },
);

agent.test('its V8 takes what was compiled for the worker when it was installed', async () => {
  const main = await property('MainPID');
  // Asked for that, it has a worker for a while.
  await demand('runuser', '-u', 'ota-agent', '--', 'ota-agent', 'history');
  const worker = `for pid in $(cat /proc/${main}/task/${main}/children); do
    grep -q worker-main /proc/$pid/cmdline && break
  done`;
  const flags = `tr '\\0' '\\n' </proc/$pid/cmdline | sed '/worker-main.js$/,$d'`;
  const question = `${worker}; exec $(${flags}) -p "$0"`;
  assert.equal(
    await demand('sh', '-c', question, isCacheTaken('/usr/lib/ota-agent/agent')),
    'true',
  );
});

agent.test('installs an update that the Director assigns', async () => {
  const content = Buffer.from('version 2');
  await assign('app-2', content);
  await untilInstalled(content);
});

agent.test(
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
    agent.system.write(check, unit('false'));
    await demand('systemctl', 'enable', 'site-check');
    assert.notEqual((await agent.system.run('systemctl', 'start', 'ota-agent-confirm')).exit, 0);
    assert.equal(await property('ExecMainStartTimestampMonotonic', 'ota-agent-confirm'), '0');
    agent.system.write(check, unit('true'));
    await demand('systemctl', 'daemon-reload');
  },
);

agent.test(
  'the confirming unit asks the daemon at boot-complete.target, and succeeds',
  async () => {
    await demand('systemctl', 'start', 'ota-agent-confirm');
    assert.equal(await property('ActiveState', 'boot-complete.target'), 'active');
    assert.equal(await property('Result', 'ota-agent-confirm'), 'success');
    assert.equal(await property('ActiveState', 'ota-agent-confirm'), 'active');
  },
);

agent.test('a service takes in a secret that the unit of the timer has received', async () => {
  const value = Buffer.from(OTHERS.deviceSecret).toString('base64');
  await agent.director.control('PUT', '/devices/device-1/secrets/db-password', { value });
  // Its first run is at the start, which is now.
  await demand('systemctl', 'start', 'ota-agent-secrets.timer');
  const credential = 'LoadCredential=db-password:/run/ota-agent/secrets/db-password';
  const order = ['Wants=ota-agent-secrets.service', 'After=ota-agent-secrets.service'];
  const properties = [credential, ...order].flatMap((one) => ['-p', one]);
  const reader = ['systemd-creds', 'cat', 'db-password'];
  const service = ['--quiet', '--pipe', '--wait', '-p', 'User=nobody', ...properties, ...reader];
  assert.equal(await demand('systemd-run', ...service), OTHERS.deviceSecret);
  const mode = await demand('stat', '-c', '%U %a', '/run/ota-agent/secrets/db-password');
  assert.equal(mode, 'ota-agent 400');
  await demand('systemctl', 'stop', 'ota-agent-secrets.timer');
});

agent.test('a daemon that hangs is killed by the watchdog and started again', async () => {
  agent.system.write(
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

agent.test(
  'while a call of the PKCS#11 library hangs, it stops in 2 s; left alone, the watchdog ends it and another one goes on',
  async () => {
    const [module, hangs, hung] = [
      '/usr/lib/faulty-module.so',
      '/etc/hangs',
      '/run/ota-agent/hung',
    ];
    const [site, dropIn] = [
      '/etc/ota-agent/conf.d/20-faulty.toml',
      '/etc/systemd/system/ota-agent.service.d/faulty.conf',
    ];
    agent.system.write(module, readFileSync(faultyModule()));
    agent.system.write(site, `token.module = "${module}"\n`);
    agent.system.write(
      dropIn,
      `[Service]
Environment=FAULTY_MODULE=/usr/lib/softhsm/libsofthsm2.so FAULTY_CALL=C_Sign FAULTY_HOW=hang
Environment=FAULTY_FILE=${hangs} FAULTY_HUNG=${hung}
`,
    );
    await demand('systemctl', 'daemon-reload');
    const hang = async (): Promise<void> => {
      await demand('systemctl', 'restart', 'ota-agent');
      await until('a cycle', async () => (await property('StatusText')) === 'up-to-date');
      await demand('touch', hangs);
      await until('the call', () => agent.exists(hung));
      await demand('rm', hangs, hung);
    };
    await hang();
    await demandStopped();
    await hang();
    secrecy().addProcesses();
    await until('a restart', async () => (await property('NRestarts')) === '1');
    await until('a cycle', async () => (await property('StatusText')) === 'up-to-date');
    await demand('rm', site, dropIn);
    await demand('systemctl', 'daemon-reload');
  },
);

const SLOW = '/etc/ota-agent/conf.d/20-slow.toml';

agent.test('stops in the middle of a download, at once, and loses nothing of it', async () => {
  const content = randomBytes(6 * 1024 * 1024);
  agent.system.write(SLOW, 'download.max_rate = "1MiB"\n');
  await demand('systemctl', 'restart', 'ota-agent');
  await assign('app-3', content);
  await until('a download', async () => (await partial('/var/lib/ota-agent')) > 0);
  await demandStopped();
  const kept = await partial('/var/lib/ota-agent');
  assert.ok(kept > 0 && kept < content.length, String(kept));

  await demand('systemctl', 'start', 'ota-agent');
  await until('more of it', async () => (await partial('/var/lib/ota-agent')) > kept);
  await demand('rm', SLOW);
  // Of a whole group systemd may say EIO when one of it ends in that instant.
  await demand('systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', 'ota-agent');
  await untilInstalled(content);
  const lines = (await agent.director.control('GET', '/requests?device=device-1')) as RequestLine[];
  // From where it was, not from its beginning.
  const last = lines.findLast((line) => line.path.endsWith('app-3'));
  assert.match(last?.range ?? '', /^bytes=[1-9]\d*-$/u);
});

agent.test('starts without any network: ready, and says what it waits for', async () => {
  const cut = '/etc/systemd/system/ota-agent.service.d/no-network.conf';
  agent.system.write(cut, '[Service]\nPrivateNetwork=yes\n');
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'restart', 'ota-agent');
  assert.equal(await property('ActiveState'), 'active');
  await until('a cycle', async () => (await property('StatusText')) === 'GATEWAY_UNREACHABLE');
  assert.equal(await property('NRestarts'), '0');
  await demand('rm', cut);
  await demand('systemctl', 'daemon-reload');
  await demandStopped();
});

agent.test('reads a PIN that is encrypted at rest', async () => {
  await demand('mkdir', '-p', '/etc/credstore.encrypted');
  await demand(
    'systemd-creds',
    ...['encrypt', '--with-key=host', '--name=pin', '/etc/credstore/ota-agent.pin'],
    '/etc/credstore.encrypted/ota-agent.pin',
  );
  await demand('rm', '/etc/credstore/ota-agent.pin');
  for (const unit of ['ota-agent', 'ota-agent-once']) {
    agent.system.write(
      `/etc/systemd/system/${unit}.service.d/encrypted.conf`,
      '[Service]\nLoadCredential=\nLoadCredentialEncrypted=pin:ota-agent.pin\n',
    );
  }
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'start', 'ota-agent');
  assert.equal(await property('ActiveState'), 'active');
});

agent.test('whoever asks the API has the daemon started, and no restart refuses them', async () => {
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
  const connect = `require('node:net').connect('/run/ota-agent/api.sock')
    .on('error', ({ code }) => console.log(code)).on('connect', () => console.log('served'))`;
  const stranger = ['-u', 'nobody', '--', '/usr/lib/ota-agent/bin/node', '-e', connect];
  assert.equal(await demand('runuser', ...stranger), 'EACCES');
  const socket = await demand('stat', '-c', '%F %U %a', '/run/ota-agent/api.sock');
  await demand('systemctl', 'restart', 'ota-agent');
  assert.equal(await demand('stat', '-c', '%F %U %a', '/run/ota-agent/api.sock'), socket);
  assert.equal(socket, 'socket ota-agent 600');
  await demand('systemctl', 'stop', 'ota-agent.socket', 'ota-agent');
});

agent.test('whatever is executed from its start on is told no secret', async () => {
  const [trace, site] = ['/var/tmp/executed', '/etc/ota-agent/conf.d/20-health.toml'];
  agent.system.write(site, 'health.commands = [["/usr/bin/test", "-e", "/"]]\n');
  const what = ['-f', '-v', '-s', '65536', '-e', 'trace=execve', '-o', trace, '-p', '1'];
  const strace = agent.system.start('strace', ...what);
  await once(strace.stderr, 'data');
  await demand('systemctl', 'restart', 'ota-agent');
  const content = Buffer.from('version 6');
  await assign('app-6', content);
  await untilInstalled(content);
  await until('its end', async () => (await property('StatusText')) === 'up-to-date');
  const ended = once(strace, 'exit');
  await demand('pkill', '-x', 'strace');
  await ended;
  secrecy().add('executed', readFileSync(join(agent.system.root, trace)));
  for (const program of [
    'main.js',
    'worker-main',
    'probe-module-main',
    'systemd-notify',
    '"-e", "/"',
  ])
    secrecy().demandSeen('executed', program);
  secrecy().demandSeen('executed', 'CREDENTIALS_DIRECTORY=');
  await demand('rm', site);
  await demand('systemctl', 'stop', 'ota-agent');
});

agent.test('the timer does without a daemon what the daemon does', async () => {
  agent.system.write(
    '/etc/systemd/system/ota-agent-once.timer.d/now.conf',
    '[Timer]\nOnBootSec=0\nRandomizedDelaySec=0\nAccuracySec=1ms\n',
  );
  await demand('systemctl', 'daemon-reload');
  const content = Buffer.from('without a daemon');
  await assign('app-5', content);
  await demand('systemctl', 'start', 'ota-agent-once.timer');
  await untilInstalled(content);
  await until(
    'its end',
    async () => (await property('ActiveState', 'ota-agent-once')) === 'inactive',
  );
  assert.equal(await property('Result', 'ota-agent-once'), 'success');
  await demand('systemctl', 'stop', 'ota-agent-once.timer');
});

agent.test('the agent asks for a reboot by a file, and only by that', async () => {
  agent.system.write(
    '/etc/systemd/system/ota-agent-reboot.service.d/test.conf',
    '[Service]\nExecStart=\nExecStart=touch /run/would-reboot\nRemainAfterExit=yes\n',
  );
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'start', 'ota-agent-reboot.path');
  assert.equal((await agent.system.run('test', '-e', '/run/would-reboot')).exit, 1);
  await demand('runuser', '-u', 'ota-agent', '--', 'touch', '/run/ota-agent/reboot');
  await until('the reboot', () => agent.exists('/run/would-reboot'));
});

agent.test(
  'no secret is in the journal, a unit, a core, a file, or what the Director has received',
  async () => {
    await demand('systemctl', 'start', 'ota-agent');
    await until('a cycle', async () => (await property('StatusText')) === 'up-to-date');
    secrecy().addProcesses();
    await secrecy().demandNone();
  },
);
