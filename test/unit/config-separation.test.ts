/** What the settings have to say before the installer can be a service of its own. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

import { readSeparation } from '../../agent/config-separation.ts';
import { loadSettings } from '../../agent/config.ts';
import type { LoadedSettings } from '../../agent/config-problem.ts';
import { isOtaError } from '../../agent/errors.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const COMPLETE = `
separation.installer = true
ecu = { serial = "gw-1", hardware_id = "gateway" }
uptane.roots = ["/d.json", "/i.json"]
installer.path = "/opt/app"
`;

async function load(t: TestContext, text: string): Promise<LoadedSettings> {
  const directory = temporaryDirectory('separation');
  t.after(() => {
    directory.remove();
  });
  const file = join(directory.path, 'a.toml');
  writeFileSync(file, text);
  return loadSettings({ config: [file], roots: [] });
}

test('without separation nothing is asked of the settings', async (t) => {
  assert.equal(readSeparation(await load(t, '')), undefined);
});

test('the installer knows its ECUs and roots by the configuration, the Primary first', async (t) => {
  const component = `
    [[component]]
    serial = "app-1"
    hardware_id = "app"
    installer = { type = "file", path = "/opt/other" }
  `;
  assert.deepEqual(readSeparation(await load(t, COMPLETE + component)), {
    socket: '/run/ota-agent-installer/socket',
    storage: '/var/lib/ota-agent-installer',
    roots: ['/d.json', '/i.json'],
    ecus: [
      { serial: 'gw-1', hardwareId: 'gateway' },
      { serial: 'app-1', hardwareId: 'app' },
    ],
  });
});

for (const [without, key] of [
  [/serial = "gw-1", /u, 'ecu.serial'],
  [/, hardware_id = "gateway"/u, 'ecu.hardware_id'],
  [/uptane.*\n/u, 'uptane.roots'],
] as const) {
  test(`without ${key} it would have to believe the agent: CONFIG_INVALID`, async (t) => {
    const loaded = await load(t, COMPLETE.replace(without, ''));
    assert.throws(
      () => readSeparation(loaded),
      (error) => isOtaError(error) && error.code === 'CONFIG_INVALID' && error.details.key === key,
    );
  });
}

test('an installer that needs the network is CONFIG_INVALID', async (t) => {
  const ostree =
    'installer.type = "ostree"\ninstaller.ostree_os = "os"\ngateway.url = "https://g"\n';
  const loaded = await load(t, COMPLETE + ostree);
  assert.throws(
    () => readSeparation(loaded),
    (error) =>
      isOtaError(error) &&
      error.code === 'CONFIG_INVALID' &&
      error.details.key === 'installer.type' &&
      error.details.problem.includes('the network'),
  );
});
