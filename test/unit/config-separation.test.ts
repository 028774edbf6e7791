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
  [/installer.path.*\n/u, 'installer.path'],
] as const) {
  test(`without ${key} it cannot be: CONFIG_INVALID as soon as it is read`, async (t) => {
    await assert.rejects(load(t, COMPLETE.replace(without, '')), (error) => refuses(error, key));
  });
}

const refuses = (error: unknown, key: string, problem = ''): boolean =>
  isOtaError(error) &&
  error.code === 'CONFIG_INVALID' &&
  error.details.key === key &&
  error.details.problem.includes(problem);

const OSTREE = 'type = "ostree", ostree_os = "os", ostree_url = "https://g/treehub"';
const PODMAN = 'type = "compose", engine = "podman", path = "/opt/containers", project = "p"';
for (const [what, rules, key, problem] of [
  ['ostree', OSTREE, 'type', 'over the network'],
  ['compose with podman', PODMAN, 'engine', 'no privileges'],
] as const) {
  test(`${what} cannot be installed by it: CONFIG_INVALID, for the Primary and for a component`, async (t) => {
    const primary = COMPLETE.replace(/installer.path.*/u, `installer = { ${rules} }`);
    await assert.rejects(load(t, primary), (error) => refuses(error, `installer.${key}`, problem));
    const component = `
      [[component]]
      serial = "app-1"
      hardware_id = "app"
      installer = { ${rules} }
    `;
    await assert.rejects(load(t, COMPLETE + component), (error) =>
      refuses(error, `component[0].installer.${key}`, problem),
    );
  });
}

test('compose with docker can: its daemon has the privileges', async (t) => {
  const docker = PODMAN.replace('podman', 'docker');
  const loaded = await load(t, COMPLETE.replace(/installer.path.*/u, `installer = { ${docker} }`));
  assert.equal(readSeparation(loaded)?.ecus.length, 1);
});
