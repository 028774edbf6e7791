/** `[[component]]`: several of one table, over several files, each mistake with its line. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

import { configCommand } from '../../agent/commands/config.ts';
import { requireComponents } from '../../agent/config-installer.ts';
import { loadSettings } from '../../agent/config.ts';
import type { LoadedSettings } from '../../agent/config-problem.ts';
import type { FailureDetails } from '../../agent/errors.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

let directory: ReturnType<typeof temporaryDirectory>;
let files: string[];
beforeEach(() => {
  directory = temporaryDirectory('config-components');
  files = [];
});
afterEach(() => {
  directory.remove();
});

const load = (...texts: readonly string[]): Promise<LoadedSettings> => {
  files = texts.map((text, index) => {
    const path = join(directory.path, `${String(index)}.toml`);
    writeFileSync(path, text);
    return path;
  });
  return loadSettings({ config: files, roots: [] });
};

const table = (serial: string, path: string): string =>
  `[[component]]\nserial = "${serial}"\nhardware_id = "hw"\n[component.installer]\npath = "${path}"\n`;

const refuses = async (
  text: string,
  details: Omit<FailureDetails['CONFIG_INVALID'], 'file'>,
): Promise<void> => {
  await rejectsCode(load(text), 'CONFIG_INVALID', {
    file: join(directory.path, '0.toml'),
    ...details,
  });
};

test('components stay in the order of their tables, over files; a later file replaces one in place', async () => {
  const loaded = await load(
    table('a', '/a') + table('b', '/b'),
    table('c', '/c') + table('a', '/x'),
  );
  assert.deepEqual(requireComponents(loaded), [
    { serial: 'a', hardwareId: 'hw', installer: { type: 'file', path: '/x' } },
    { serial: 'b', hardwareId: 'hw', installer: { type: 'file', path: '/b' } },
    { serial: 'c', hardwareId: 'hw', installer: { type: 'file', path: '/c' } },
  ]);
});

test('what `config show` prints of components reads back as it was', async () => {
  const loaded = await load(table('a', '/a') + table('b', '/b'));
  const { lines } = await configCommand(['show'], () => Promise.resolve(loaded));
  assert.deepEqual((await load(lines.join('\n'))).settings, loaded.settings);
});

test('a mistake is named with the line of the very component', async () => {
  await refuses(`${table('a', '/a')}[[component]]\nserial = "b"\nhardware_id = 3\n`, {
    line: 8,
    key: 'component[1].hardware_id',
    problem: 'wants text of 1 to 200 characters, got a whole number',
    remedy: 'correct component.hardware_id',
  });
  await refuses(table('a', '/a').replace('path', 'paht'), {
    line: 5,
    key: 'component[0].installer.paht',
    problem: 'is not a known key',
    remedy: 'did you mean component.installer.path? See ota-agent config reference',
  });
});

test('a component without serial, or with one that is taken, is refused', async () => {
  await refuses('[[component]]\nhardware_id = "hw"\n', {
    line: 1,
    key: 'component[0]',
    problem: 'has no serial',
    remedy: 'add serial = "…" to it',
  });
  await refuses(table('a', '/a') + table('a', '/b'), {
    line: 7,
    key: 'component.serial',
    problem: 'is the serial of another component, too',
    remedy: 'give each its own',
  });
  await refuses(`${table('a', '/a')}[ecu]\nserial = "a"\n`, {
    line: 2,
    key: 'component[0].serial',
    problem: 'is the serial of the Primary, too',
    remedy: 'give each its own',
  });
});

test('an installer that lacks what its type needs is refused, and told from that of the device', async () => {
  await refuses(
    '[[component]]\nserial = "a"\nhardware_id = "hw"\n[component.installer]\ntype = "file"\n',
    {
      line: 5,
      key: 'component[0].installer.path',
      problem: 'is not set, and installer.type = "file" needs it',
      remedy: 'add path = "…" to [component.installer]',
    },
  );
});

test('rebooting is for the whole device', async () => {
  await refuses(`${table('a', '/a')}reboot_command = ["reboot"]\n`, {
    line: 6,
    key: 'component[0].installer.reboot_command',
    problem: 'is for the whole device',
    remedy: 'move it to [installer]',
  });
});

test('a component that is no list of tables is refused', async () => {
  await refuses('[component]\nserial = "a"\n', {
    line: 1,
    key: 'component',
    problem: 'wants a list of tables, got a table',
    remedy: 'write [[component]] above its keys',
  });
});
