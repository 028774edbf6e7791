import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { requireInstaller } from '../../agent/config-installer.ts';
import { loadSettings } from '../../agent/config.ts';
import { isOtaError } from '../../agent/errors.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const directory = temporaryDirectory('config-swupdate');
after(() => {
  directory.remove();
});

const WHOLE = {
  type: '"swupdate"',
  swupdate_mode_a: '"copy-a"',
  swupdate_mode_b: '"copy-b"',
  swupdate_devices_a: '["/dev/p2", "/dev/boot-a"]',
  swupdate_devices_b: '["/dev/p3"]',
  swupdate_booted_a: '"root=/dev/p2"',
  swupdate_booted_b: '"root=/dev/p3"',
  swupdate_try_a: '["slot=a", "left=3"]',
  swupdate_try_b: '["slot=b", "left=3"]',
  swupdate_keep_a: '["slot=a", "left="]',
  swupdate_keep_b: '["left=", "slot=b"]',
};

async function read(changes: Partial<Record<keyof typeof WHOLE, string>>): Promise<unknown> {
  const file = join(directory.path, 'config.toml');
  const lines = Object.entries({ ...WHOLE, ...changes }).filter(([, value]) => value !== '');
  const installer = lines.map(([key, value]) => `${key} = ${value}\n`).join('');
  writeFileSync(file, `[storage]\npath = "/data"\n[installer]\n${installer}`);
  return requireInstaller(await loadSettings({ config: [file], roots: [] }));
}

test('swupdate: what is not set has the defaults of SWUpdate and of the kernel', async () => {
  const { a, b, ...others } = (await read({})) as Record<'a' | 'b', Record<string, unknown>>;
  assert.deepEqual(others, {
    type: 'swupdate',
    socket: '/tmp/sockinstctrl',
    quietMs: 600_000,
    softwareSet: 'stable',
    bootedFile: '/proc/cmdline',
    fwEnv: '/etc/fw_env.config',
    recordPath: '/data/swupdate-slots',
  });
  assert.deepEqual(a['devices'], ['/dev/p2', '/dev/boot-a']);
  assert.deepEqual(
    b['keep'],
    new Map([
      ['left', ''],
      ['slot', 'b'],
    ]),
  );
});

for (const [changes, key, problem] of [
  [
    { swupdate_mode_b: '' },
    'swupdate_mode_b',
    /^is not set, and installer\.type = "swupdate" needs it$/u,
  ],
  [{ swupdate_devices_a: '' }, 'swupdate_devices_a', /^is not set/u],
  [{ swupdate_keep_b: '[]' }, 'swupdate_keep_b', /^is not set/u],
  [{ swupdate_mode_b: '"copy-a"' }, 'swupdate_mode_b', /^does not tell slot b from slot a/u],
  [{ swupdate_booted_b: '"root=/dev/p2"' }, 'swupdate_booted_b', /^does not tell/u],
  [{ swupdate_devices_b: '["/dev/p3", "/dev/boot-a"]' }, 'swupdate_devices_b', /^does not tell/u],
  [{ swupdate_keep_b: '["slot=a", "left="]' }, 'swupdate_keep_b', /^does not tell/u],
  [{ swupdate_try_b: '["slot=a", "left=3"]' }, 'swupdate_try_b', /^does not tell/u],
  [{ swupdate_try_b: '["slot=b"]' }, 'swupdate_try_b', /^does not set the same variables/u],
] as const) {
  test(`swupdate: ${key} = ${Object.values(changes)[0] ?? ''} is refused`, async () => {
    await assert.rejects(read(changes), (error) => {
      assert.ok(isOtaError(error) && error.code === 'CONFIG_INVALID', String(error));
      assert.equal(error.details.key, `installer.${key}`);
      assert.match(error.details.problem, problem);
      return true;
    });
  });
}
