/** What is shipped in config/ says what the code says. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

import { parse } from 'smol-toml';

import { configCommand } from '../../agent/commands/config.ts';
import { defaultValues, KEYS } from '../../agent/config-keys.ts';
import { requireInstaller } from '../../agent/config-installer.ts';
import { requireGateway } from '../../agent/config-rules.ts';
import { loadSettings } from '../../agent/config.ts';

const CONFIG = resolve(import.meta.dirname, '../../config');
const DEFAULTS = join(CONFIG, 'conf.d/00-defaults.toml');

const read = (name: string): string => readFileSync(join(CONFIG, name), 'utf8');
const print = async (action: string): Promise<string> => {
  const { lines } = await configCommand([action], () => assert.fail('reads no configuration'));
  return `${lines.join('\n')}\n`;
};

test('config/schema.json is what `config schema` prints', async () => {
  assert.equal(read('schema.json'), await print('schema'));
});

test('the table of config/README.md is what `config reference` prints', async () => {
  const readme = read('README.md');
  assert.equal(readme.slice(readme.lastIndexOf('\n| Key ') + 1), await print('reference'));
});

test('every key has a type for people and a meaning', async () => {
  for (const row of (await print('reference')).trim().split('\n').slice(2)) {
    const cells = row.split('|').map((cell) => cell.trim());
    assert.equal(cells.length, 6, row);
    assert.ok(
      cells.slice(1, 5).every((cell) => cell !== '' && cell !== 'undefined'),
      row,
    );
  }
});

test('the schema refuses unknown keys and knows every default', () => {
  const schema = JSON.parse(read('schema.json')) as {
    properties: Record<
      string,
      { additionalProperties: boolean; properties: Record<string, { default?: unknown }> }
    >;
  };
  for (const { key, table, name } of KEYS.values()) {
    const properties = schema.properties[table];
    assert.equal(properties?.additionalProperties, false);
    assert.deepEqual(properties.properties[name]?.default, defaultValues().get(key), key);
  }
});

test('the shipped defaults change nothing', async () => {
  const { origins, settings } = await loadSettings({ config: [DEFAULTS], roots: [] });
  assert.deepEqual([...origins], []);
  assert.deepEqual(settings, (await loadSettings({ config: [], roots: [] })).settings);
});

test('the shipped defaults show every setting, with its default where it has one', () => {
  const uncommented = readFileSync(DEFAULTS, 'utf8').replace(/^#(?! )/gm, '');
  const shown = new Map<string, unknown>();
  for (const [table, keys] of Object.entries(parse(uncommented))) {
    for (const [name, value] of Object.entries(keys)) shown.set(`${table}.${name}`, value);
  }
  assert.deepEqual([...shown.keys()], [...KEYS.keys()]);
  for (const [key, value] of defaultValues()) assert.deepEqual(shown.get(key), value, key);
  for (const [key, { schema }] of KEYS) assert.ok(schema.safeParse(shown.get(key)).success, key);
});

const EXAMPLES = readdirSync(join(CONFIG, 'examples'));

test('there is an example of each platform, and of each installer that needs a tool', () => {
  assert.deepEqual(EXAMPLES, [
    'debian-softhsm.toml',
    'debian-tpm-grub.toml',
    'development.toml',
    'optee-ab-slot.toml',
    'ostree.toml',
    'rauc.toml',
    'swupdate.toml',
  ]);
});

for (const name of EXAMPLES) {
  test(`the example ${name} is enough to talk to a gateway and to install`, async () => {
    const file = join(CONFIG, 'examples', name);
    const loaded = await loadSettings({ config: [DEFAULTS, file], roots: [] });
    assert.match(requireGateway(loaded).director, /^https:\/\/.+\/director$/);
    assert.equal(requireInstaller(loaded).type, loaded.settings.installer.type);
    assert.ok(loaded.settings.uptane.roots, 'an example never trusts on first use');
    assert.ok([...loaded.origins.values()].every((origin) => origin.file === file));
  });
}
