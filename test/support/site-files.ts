/** What an administrator puts on a device with SoftHSM2 and the mock Director for a gateway. */
import { readFileSync } from 'node:fs';

import type { DirectorHandle } from '../director/start.ts';
import type { SystemFile } from './booted-system.ts';

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
      path: '/etc/systemd/system/ota-agent-secrets.service.d/test.conf',
      text: '[Service]\nEnvironment=SOFTHSM2_CONF=/etc/ota-agent/softhsm2.conf\n',
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
