/**
 * Installers of the installed agent under a real systemd: programs that hang when it stops, and the
 * installer with privileges apart from the network.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before } from 'node:test';

import { InstalledAgent } from '../support/installed-agent.ts';
import { SecrecyOfSystem } from '../support/secrecy-of-system.ts';
import { provision } from '../support/site-files.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const SYSTEMD = resolve(import.meta.dirname, '../../systemd');
const directory = temporaryDirectory('installers');
const agent = new InstalledAgent(directory.path);
const { assign, demand, demandStopped, partial, property, until, untilInstalled } = agent;

let seen: SecrecyOfSystem | undefined;
/** What of this system is searched in the end. */
const secrecy = (): SecrecyOfSystem => (seen ??= new SecrecyOfSystem(agent.system, agent.director));

before(() => agent.boot());
after(async () => {
  await agent.close();
  directory.remove();
});

/** A component of the device, which runs its image after a reboot: when somebody moves `next`. */
const COMPONENT = '/opt/app/component.sh';

agent.test('provisions a device of two ECUs', async () => {
  agent.system.write('/etc/ota-agent/boot-id', 'first boot');
  agent.system.write(
    '/etc/ota-agent/conf.d/15-component.toml',
    `boot.boot_id_file = "/etc/ota-agent/boot-id"
    [[component]]
    serial = "app-1"
    hardware_id = "app"
    installer = { type = "command", command = ["${COMPONENT}"] }
`,
  );
  await provision(agent.system, true);
});

const SLOW = '/etc/ota-agent/conf.d/20-slow.toml';

agent.test(
  'stops within 2 s while programs that it has started heed no signal, and goes on afterwards',
  async () => {
    const program = '/var/lib/ota-agent/install.sh';
    agent.system.write(
      program,
      `#!/bin/sh
      for verb; do :; done
      cd /var/lib/ota-agent
      if test "$(cat hang)" = "$verb"; then
        trap '' TERM INT HUP
        touch hung
        while :; do sleep 1; done
      fi
      case $verb in
        describe) echo '{"reboot":false}' ;;
        write) cp "$OTA_IMAGE_PATH" next; sha256sum < next | sed 's/ .*/"}/; s/^/{"sha256":"/' ;;
        activate) test ! -e next || mv next app.img ;;
        booted) sha256sum < app.img | sed 's/ .*/"}/; s/^/{"sha256":"/' ;;
      esac
`,
      0o755,
    );
    const site = '/etc/ota-agent/conf.d/20-program.toml';
    agent.system.write(
      site,
      `installer.type = "command"
      installer.command = [${JSON.stringify(program)}]
      health.commands = [[${JSON.stringify(program)}, "healthy"]]
`,
    );
    const content = Buffer.from('in spite of all');
    await assign('app-stopped', content);
    for (const verb of ['write', 'healthy']) {
      agent.system.write('/var/lib/ota-agent/hang', verb);
      await demand('systemctl', 'start', 'ota-agent');
      await until(verb, () => agent.exists('/var/lib/ota-agent/hung'));
      secrecy().addProcesses();
      await demandStopped();
      await demand('rm', '/var/lib/ota-agent/hung');
    }
    agent.system.write('/var/lib/ota-agent/hang', 'nothing');
    await demand('systemctl', 'start', 'ota-agent');
    await untilInstalled(content);
    await until('its end', async () => (await property('StatusText')) === 'up-to-date');
    await demand('rm', site);
    await demandStopped();
  },
);

agent.test(
  'what only root may write is installed by the installer, for an agent that may not',
  async () => {
    await demand('mkdir', '-p', '/opt/app');
    agent.system.write(
      '/etc/ota-agent/conf.d/30-separate.toml',
      'installer.path = "/opt/app/app.img"\nseparation.installer = true\n',
    );
    agent.system.write(
      '/etc/systemd/system/ota-agent-installer@.service.d/app.conf',
      '[Service]\nReadWritePaths=/opt/app\n',
    );
    await demand('systemctl', 'daemon-reload');
    await demand('systemctl', 'start', 'ota-agent-installer.socket');
    agent.system.write(SLOW, 'download.max_rate = "1MiB"\n');
    await demand('systemctl', 'restart', 'ota-agent');
    const content = randomBytes(6 * 1024 * 1024);
    await assign('app-4', content);
    await until('a download', async () => (await partial('/var/lib/ota-agent-installer')) > 0);
    // Killed in the middle of it: the agent has another one started.
    await demand(
      'systemctl',
      'kill',
      '--kill-whom=main',
      '-s',
      'KILL',
      'ota-agent-installer@*.service',
    );
    await untilInstalled(content, '/opt/app/app.img');
    await demand('rm', SLOW);
    assert.equal(await demand('stat', '-c', '%U', '/opt/app/app.img'), 'root');
    const staged = await demand('stat', '-c', '%U %a', '/var/lib/ota-agent-installer');
    assert.equal(staged, 'root 700');
  },
);

agent.test('an agent that stops in the middle of a step has the installer stop, too', async () => {
  const site = '/etc/ota-agent/conf.d/40-program.toml';
  const program = '/opt/app/hangs.sh';
  agent.system.write(
    program,
    `#!/bin/sh
    test "$1" = check || exec echo '{"reboot":false}'
    trap '' TERM HUP
    touch /opt/app/hung
    while :; do sleep 1; done
`,
    0o755,
  );
  agent.system.write(
    site,
    `installer.type = "command"\ninstaller.command = [${JSON.stringify(program)}]\n`,
  );
  await assign('app-hangs', Buffer.from('never written'));
  await demand('systemctl', 'restart', 'ota-agent');
  await until('a step', () => agent.exists('/opt/app/hung'));
  secrecy().addProcesses();
  secrecy().demandSeen('/cmdline', program);
  await demandStopped();
  const instances = ['list-units', '--plain', '--no-legend', 'ota-agent-installer@*.service'];
  await until('its end', async () => (await demand('systemctl', ...instances)) === '');
  const { stdout } = await agent.system.run('pgrep', '-f', program);
  assert.equal(stdout, '');
  await demand('rm', site);
  await demand('systemctl', 'start', 'ota-agent');
});

agent.test('the installer serves the agent and root, and nobody else', async () => {
  const listen = `require('node:net').connect('/run/ota-agent-installer/socket')
    .on('error', ({ code }) => console.log(code)).on('data', (said) => console.log(String(said)))`;
  const node = ['/usr/lib/ota-agent/bin/node', '-e', listen];
  assert.equal(await demand('runuser', '-u', 'nobody', '--', ...node), 'EACCES');
  const inGroup = await demand('runuser', '-u', 'nobody', '-g', 'ota-agent', '--', ...node);
  assert.match(inGroup, /"code":"USAGE".*may not install/u);
});

agent.test(
  'several ECUs and their reboot: all of it is done by the installer, as root',
  async () => {
    agent.system.write(
      COMPONENT,
      `#!/bin/sh
    cd /opt/app
    digest() { printf '{"sha256":"%s"}\n' "$(sha256sum < "$1" | cut -d' ' -f1)"; }
    case $1 in
      describe) echo '{"reboot":true}' ;;
      write) cp "$OTA_IMAGE_PATH" next && digest next ;;
      booted) test -e current || exit 64; digest current ;;
    esac
`,
      0o755,
    );
    agent.system.write(
      '/etc/ota-agent/conf.d/50-reboot.toml',
      'installer.reboot_command = ["touch", "/opt/app/would-reboot"]\n',
    );
    await demand('systemctl', 'restart', 'ota-agent');
    const [whole, part] = [Buffer.from('the whole'), Buffer.from('a part')];
    await agent.publish('whole-1', whole, 'gateway');
    await agent.publish('part-1', part, 'app');
    const targets = [
      { image: 'whole-1', ecu: 'gw-1' },
      { image: 'part-1', ecu: 'app-1' },
    ];
    await agent.director.control('POST', '/assignments', { device: 'device-1', targets });
    await until('the reboot', () => agent.exists('/opt/app/would-reboot'));
    assert.equal(await demand('stat', '-c', '%U', '/opt/app/would-reboot'), 'root');
    await demandStopped();

    await demand('mv', '/opt/app/next', '/opt/app/current');
    agent.system.write('/etc/ota-agent/boot-id', 'second boot');
    await demand('systemctl', 'start', 'ota-agent');
    await untilInstalled(whole, '/opt/app/app.img');
    await until('the report', async () => {
      const device = await agent.director.control('GET', '/devices/device-1');
      const { installed } = device as {
        readonly installed: Record<string, { readonly filename: string }>;
      };
      return installed['gw-1']?.filename === 'whole-1' && installed['app-1']?.filename === 'part-1';
    });
  },
);

/** What the installer of that name does on a disk, by ostree itself. */
const DEPLOY = `set -e
tree=/sysroot/tree
mkdir -p $tree/usr/lib/modules/1 $tree/usr/etc $tree/usr/bin
echo kernel > $tree/usr/lib/modules/1/vmlinuz
echo initramfs > $tree/usr/lib/modules/1/initramfs.img
echo ID=test > $tree/usr/lib/os-release
cp /bin/true $tree/usr/bin/of-another
chown 1234:1234 $tree/usr/bin/of-another
chmod 4755 $tree/usr/bin/of-another
ostree admin init-fs /sysroot
ostree admin --sysroot=/sysroot os-init test
ostree --repo=/sysroot/ostree/repo config set sysroot.bootloader none
ostree --repo=/sysroot/ostree/repo commit -b test --tree=dir=$tree
ostree admin --sysroot=/sysroot deploy --os=test test
found=$(find /sysroot/ostree/deploy/test/deploy -name of-another -perm -4000 -uid 1234)
test -n "$found"
unshare -m mount -o remount,bind,rw /sysroot
`;

/** Runs a program once in the daemon's sandbox, with a drop-in or without; `well`, or what it said. */
async function inSandbox(program: readonly string[], dropIn: string | undefined): Promise<string> {
  const sandbox = readFileSync(join(SYSTEMD, 'ota-agent.service'), 'utf8')
    .replace('Type=notify', 'Type=oneshot')
    .replace(/ExecStart=.*/u, `ExecStart=${program.map((word) => JSON.stringify(word)).join(' ')}`)
    .replace(/(?:Restart|WatchdogSec|LoadCredential)=.*/gu, '');
  agent.system.write('/etc/systemd/system/probe.service', sandbox);
  const given = dropIn === undefined ? '' : readFileSync(join(SYSTEMD, 'drop-ins', dropIn), 'utf8');
  agent.system.write('/etc/systemd/system/probe.service.d/drop-in.conf', given);
  await demand('systemctl', 'daemon-reload');
  const { exit } = await agent.system.run('systemctl', 'start', 'probe');
  return exit === 0 ? 'well' : (await agent.system.run('journalctl', '-u', 'probe')).stdout;
}

agent.test(
  'ostree deploys in the sandbox that its drop-in leaves, and not without it',
  async () => {
    agent.system.write('/etc/deploy.sh', DEPLOY);
    await demand('mkdir', '-p', '/sysroot');
    assert.notEqual(await inSandbox(['sh', '/etc/deploy.sh'], undefined), 'well');
    assert.equal(await inSandbox(['sh', '/etc/deploy.sh'], 'ostree.conf'), 'well');
  },
);

agent.test('RAUC answers on the system bus to whoever is in the sandbox', async () => {
  const slot = (index: number, name: string): string =>
    `[slot.rootfs.${String(index)}]\ndevice=/var/tmp/${name}\ntype=raw\nbootname=${name}\n`;
  agent.system.write(
    '/etc/rauc/system.conf',
    `[system]\ncompatible=test\nbootloader=noop\nstatusfile=/var/tmp/rauc.status
[keyring]\npath=/etc/ota-agent/ca.pem\n${slot(0, 'A')}${slot(1, 'B')}`,
  );
  agent.system.write(
    '/etc/systemd/system/rauc.service',
    `[Service]\nType=dbus\nBusName=de.pengutronix.rauc
ExecStart=rauc --mount=/run/rauc --override-boot-slot=A service\n`,
  );
  // As agent/INSTALLERS.md has it: root and the agent, and nobody else.
  agent.system.write(
    '/etc/dbus-1/system.d/ota-agent-rauc.conf',
    `<busconfig>
  <policy context="default"><deny send_destination="de.pengutronix.rauc"/></policy>
  <policy user="root"><allow own="de.pengutronix.rauc"/>
    <allow send_destination="de.pengutronix.rauc"/></policy>
  <policy user="ota-agent"><allow send_destination="de.pengutronix.rauc"/></policy>
</busconfig>
`,
  );
  await demand('systemctl', 'restart', 'dbus');
  await demand('touch', '/var/tmp/A', '/var/tmp/B');
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'start', 'dbus.socket', 'rauc');
  const rauc = ['de.pengutronix.rauc', '/', 'de.pengutronix.rauc.Installer'];
  assert.equal(await inSandbox(['busctl', 'call', ...rauc, 'GetSlotStatus'], 'rauc.conf'), 'well');
});

agent.test('SWUpdate’s socket is there for its group, which the drop-in gives', async () => {
  agent.system.write(
    '/etc/systemd/system/swupdate.service.d/ota-agent.conf',
    `[Service]\nGroup=swupdate\nEnvironment=TMPDIR=/run/swupdate\nRuntimeDirectory=swupdate
RuntimeDirectoryMode=0750\nExecStart=\nExecStart=swupdate -l 3 -B none -k /etc/ota-agent/ca.pem -H gateway:1\n`,
  );
  await demand('systemctl', 'mask', 'swupdate.socket');
  await demand('systemctl', 'daemon-reload');
  await demand('systemctl', 'start', 'swupdate');
  await until('the socket', () => agent.exists('/run/swupdate/sockinstctrl'));
  const connect = `require('node:net').connect('/run/swupdate/sockinstctrl', () => process.exit(0))`;
  const program = ['/usr/lib/ota-agent/bin/node', '-e', connect];
  assert.match(await inSandbox(program, undefined), /EACCES/u);
  assert.equal(await inSandbox(program, 'swupdate.conf'), 'well');
});

agent.test(
  'no secret is in the journal, a unit, a core, a file, or what the Director has received',
  async () => {
    await secrecy().demandNone();
  },
);
