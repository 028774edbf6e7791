import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import * as z from 'zod';

import { configCommand } from '../../agent/commands/config.ts';
import { KEYS } from '../../agent/config-keys.ts';
import { shownValue } from '../../agent/config-shown.ts';
import { loadSettings } from '../../agent/config.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const SITE = `[gateway]
url = "https://gw"
timeout = "90s"

[uptane]
roots = ["/d.json", "/i.json"]
`;

test('`config check` counts what was read, and names the files', async (t) => {
  const directory = temporaryDirectory('config-command');
  t.after(() => {
    directory.remove();
  });
  const file = join(directory.path, 'site.toml');
  writeFileSync(file, SITE);
  const result = await configCommand(['check'], () => loadSettings({ config: [file], roots: [] }));
  assert.deepEqual(result, {
    exit: 0,
    json: { outcome: 'valid', files: [file], settings: 3 },
    lines: ['valid: 3 settings in 1 file, everything else has its default', `  ${file}`],
  });
});

test('`config show` says where each value is from, and reads back as the same settings', async (t) => {
  const directory = temporaryDirectory('config-command');
  t.after(() => {
    directory.remove();
  });
  const file = join(directory.path, 'site\nlevel = "x".toml');
  writeFileSync(file, SITE);
  const loaded = await loadSettings({ config: [file], roots: [] });
  const { exit, lines, json } = await configCommand(['show'], () => Promise.resolve(loaded));
  assert.equal(exit, 0);
  assert.ok(lines.includes(`timeout = "90s"  # ${JSON.stringify(file)}:3`), lines.join('\n'));
  assert.ok(lines.includes('poll_interval = "1h"  # default'));
  assert.ok(lines.includes('# ca is not set: the CAs of the system'));
  assert.ok(lines.includes('# path is not set'));

  const again = join(directory.path, 'again.toml');
  writeFileSync(again, lines.join('\n'));
  const { settings } = await loadSettings({ config: [again], roots: [] });
  assert.deepEqual(settings, loaded.settings);

  const { settings: shown } = json as { settings: Record<string, unknown> };
  assert.deepEqual(Object.keys(shown), [...KEYS.keys()]);
  assert.deepEqual(shown['gateway.timeout'], { value: '90s', origin: { file, line: 3 } });
  assert.deepEqual(shown['log.level'], { value: 'info', origin: null });
  assert.deepEqual(shown['device.id'], { value: null, origin: null });
});

test('an action that does not exist is refused before any file is read', async () => {
  const load = (): never => assert.fail('reads no configuration');
  const remedy = 'config check | show | schema | reference | import-aktualizr FILE';
  const what = 'config needs an action';
  await rejectsCode(configCommand([], load), 'USAGE', { what, remedy });
  await rejectsCode(configCommand(['chek'], load), 'USAGE', {
    what: 'config knows no action chek',
    remedy,
  });
  await rejectsCode(configCommand(['check', 'x'], load), 'USAGE', {
    what: 'config check takes no arguments',
    remedy,
  });
});

test('`config show` prints programs without their arguments, and each list is known to be one or none', async (t) => {
  const directory = temporaryDirectory('config-command');
  t.after(() => {
    directory.remove();
  });
  const file = join(directory.path, 'site.toml');
  const lists = [...KEYS.values()].filter(({ schema }) => isList(schema));
  // A list that nobody has decided about is in neither of them.
  const programs = lists
    .map(({ key }) => key)
    .filter((key) => !isDeepStrictEqual(shownValue(key, ['x', 'y']), ['x', 'y']));
  assert.deepEqual(programs, [
    'update.inhibitors',
    'update.download_inhibitors',
    'installer.command',
    'installer.compose_command',
    'installer.reboot_command',
    'secrets.on_change',
    'health.commands',
  ]);
  writeFileSync(
    file,
    `update.inhibitors = [["/bin/a", "MARK", "MARK"], ["/bin/b"]]
secrets.on_change = ["/bin/c", "MARK"]
installer.reboot_command = ["/bin/d"]
[[component]]
serial = "app"
hardware_id = "app"
installer = { type = "command", command = ["/bin/e", "MARK"] }
`,
  );
  const { json, lines } = await configCommand(['show'], () =>
    loadSettings({ config: [file], roots: [] }),
  );
  assert.doesNotMatch(JSON.stringify({ json, lines }), /MARK/u);
  const { settings } = json as { settings: Record<string, { value: unknown }> };
  const hidden = [['/bin/a', '(2 arguments)'], ['/bin/b']];
  assert.deepEqual(settings['update.inhibitors']?.value, hidden);
  const at = `${file}:2; arguments are not shown`;
  assert.ok(
    lines.includes(`# on_change = [ "/bin/c", "(1 arguments)" ]  # ${at}`),
    lines.join('\n'),
  );
  assert.ok(lines.includes(`reboot_command = [ "/bin/d" ]  # ${file}:3`), lines.join('\n'));
});

function isList(schema: z.ZodType): boolean {
  return z.toJSONSchema(schema, { io: 'input' }).type === 'array';
}
