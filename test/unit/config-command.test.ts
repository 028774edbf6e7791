import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { configCommand } from '../../agent/commands/config.ts';
import { KEYS } from '../../agent/config-keys.ts';
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
