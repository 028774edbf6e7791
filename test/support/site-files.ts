/** What an administrator puts on a device with SoftHSM2 and the mock Director for a gateway. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import type { DirectorHandle } from '../director/start.ts';
import type { BootedSystem, SystemFile } from './booted-system.ts';
import { PINS } from './marked-secrets.ts';

export function siteFiles(server: DirectorHandle): readonly SystemFile[] {
  const copy = (path: string, from: string): SystemFile => ({
    path,
    text: readFileSync(from, 'utf8'),
  });
  return [
    copy('/etc/ota-agent/ca.pem', server.caPath),
    copy('/etc/ota-agent/director-root.json', server.directorRootPath),
    copy('/etc/ota-agent/image-root.json', server.imageRootPath),
    copy('/etc/ota-agent/est-secret', server.enrolSecretPath),
    { path: '/etc/credstore/ota-agent.pin', text: PINS.user, mode: 0o600 },
    { path: '/etc/credstore/ota-agent.so-pin', text: PINS.so, mode: 0o600 },
    {
      path: '/etc/ota-agent/softhsm2.conf',
      text: 'directories.tokendir = /var/lib/ota-agent/tokens\n',
    },
    {
      path: '/etc/systemd/system/ota-agent.service.d/test.conf',
      text: '[Service]\nEnvironment=SOFTHSM2_CONF=/etc/ota-agent/softhsm2.conf\nRestartSec=100ms\n',
    },
    ...['ota-agent-secrets', 'ota-agent-once'].map((unit) => ({
      path: `/etc/systemd/system/${unit}.service.d/test.conf`,
      text: '[Service]\nEnvironment=SOFTHSM2_CONF=/etc/ota-agent/softhsm2.conf\n',
    })),
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

/** As the agent's user, with both PINs as credentials. */
export async function provision(system: BootedSystem, hasPin: boolean): Promise<void> {
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
