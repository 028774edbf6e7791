import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

import type { LoadedSettings } from '../../agent/config-problem.ts';
import { requireInstaller } from '../../agent/config-installer.ts';
import { requireGateway } from '../../agent/config-rules.ts';
import { loadSettings } from '../../agent/config.ts';
import { rejectsCode, throwsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

function load(t: TestContext, text: string): { file: string; loaded: Promise<LoadedSettings> } {
  const directory = temporaryDirectory('config-rules');
  t.after(() => {
    directory.remove();
  });
  const file = join(directory.path, 'site.toml');
  writeFileSync(file, text);
  return { file, loaded: loadSettings({ config: [file], roots: [] }) };
}

const AB_SLOT = `[installer]
type = "ab-slot"
slot_a = "/dev/a"
slot_b = "/dev/b"
marker = "/boot/marker"
booted_file = "/run/booted"
`;

test('an installer that is asked for by name must have all its paths', async (t) => {
  const { loaded } = load(t, AB_SLOT);
  assert.deepEqual(requireInstaller(await loaded), {
    type: 'ab-slot',
    slotA: '/dev/a',
    slotB: '/dev/b',
    slotBytes: undefined,
    choice: { at: 'marker', path: '/boot/marker' },
    bootedFile: '/run/booted',
    tries: 3,
    record: '/var/lib/ota-agent/slots',
  });
  for (const name of ['slot_a', 'slot_b', 'marker']) {
    const { file, loaded: without } = load(t, AB_SLOT.replace(new RegExp(`^${name}.*\n`, 'm'), ''));
    await rejectsCode(without, 'CONFIG_INVALID', {
      file,
      line: 5,
      key: `installer.${name}`,
      problem: 'is not set, and installer.type = "ab-slot" needs it',
      remedy: `add ${name} = "…" to [installer]`,
    });
  }
});

test('each boot loader has its own place where it is told the slot', async (t) => {
  const choiceOf = async (lines: string): Promise<unknown> => {
    const installer = requireInstaller(await load(t, `${AB_SLOT}${lines}`).loaded);
    return installer.type === 'ab-slot' ? installer.choice : undefined;
  };
  assert.deepEqual(await choiceOf('boot_choice = "uboot"\nuboot_convention = "bootcount"\n'), {
    at: 'uboot',
    config: '/etc/fw_env.config',
    convention: 'bootcount',
  });
  assert.deepEqual(await choiceOf('boot_choice = "grub"\ngrub_environment = "/b/grubenv"\n'), {
    at: 'grub',
    environment: '/b/grubenv',
  });
  assert.deepEqual(await choiceOf('boot_choice = "systemd-boot"\n'), {
    at: 'systemd-boot',
    entries: '/boot/loader/entries',
  });
});

test('one path for two slots would overwrite the running image, and is refused', async (t) => {
  const { file, loaded } = load(t, AB_SLOT.replace('/dev/b', '/dev/a'));
  await rejectsCode(loaded, 'CONFIG_INVALID', {
    file,
    line: 4,
    key: 'installer.slot_b',
    problem: 'is the same path as installer.slot_a',
    remedy: 'give each its own',
  });
});

test('the default installer needs its path only when something is to be installed', async (t) => {
  const { file, loaded } = load(t, '[installer]\ntype = "file"\n');
  const settings = await loaded;
  throwsCode(() => requireInstaller(settings), 'CONFIG_INVALID', {
    file,
    line: 2,
    key: 'installer.path',
    problem: 'is not set, and installer.type = "file" needs it',
    remedy: 'add path = "…" to [installer]',
  });
  const { loaded: whole } = load(t, 'installer.path = "/opt/app"\n');
  assert.deepEqual(requireInstaller(await whole), { type: 'file', path: '/opt/app' });
});

test('the treehub is below the gateway, unless it has a URL of its own', async (t) => {
  const installer = '[installer]\ntype = "ostree"\nostree_os = "vendor-os"\n';
  const urlOf = async (more: string, gateway: string): Promise<string | undefined> => {
    const { loaded } = load(t, `${installer}${more}${gateway}`);
    const rules = requireInstaller(await loaded);
    return rules.type === 'ostree' ? rules.url : undefined;
  };
  const gateway = '[gateway]\nurl = "https://gateway/"\n';
  assert.equal(await urlOf('', gateway), 'https://gateway/treehub');
  const own = 'ostree_url = "https://other/repo/"\n';
  assert.equal(await urlOf(own, gateway), 'https://other/repo');
  const { file, loaded } = load(t, installer);
  await rejectsCode(loaded, 'CONFIG_INVALID', {
    file,
    line: 3,
    key: 'installer.ostree_url',
    problem: 'is not set, and there is no gateway.url for it to be below',
    remedy: 'add ostree_url = "…" to [installer]',
  });
});

test('an installing program is named by its absolute path, because no shell looks for it', async (t) => {
  const text = (command: string): string => `[installer]\ntype = "command"\ncommand = ${command}\n`;
  const { loaded: whole } = load(t, text('["/usr/lib/install", "mcu"]'));
  const command = ['/usr/lib/install', 'mcu'];
  const expected = { type: 'command', command, timeoutMs: 600_000 };
  assert.deepEqual(requireInstaller(await whole), expected);
  const { file, loaded } = load(t, text('["install"]'));
  await rejectsCode(loaded, 'CONFIG_INVALID', {
    file,
    line: 3,
    key: 'installer.command',
    problem: 'does not begin with the absolute path of a program',
    remedy: 'write it out, as in ["/usr/lib/my-installer"]: no shell looks for it',
  });
});

test('enrolment over EST needs a server', async (t) => {
  const { file, loaded } = load(t, '\nprovisioning.mode = "est"\n');
  await rejectsCode(loaded, 'CONFIG_INVALID', {
    file,
    line: 2,
    key: 'provisioning.est_url',
    problem: 'is not set, and provisioning.mode = "est" needs it',
    remedy: 'add est_url = "…" to [provisioning]',
  });
});

test('a key file is used as one, or imported where that is allowed, and nothing else', async (t) => {
  const files = 'tls_key_file = "/k"\ntls_certificate_file = "/c"\n';
  const settings = (mode: string, isAllowed: boolean): string =>
    `[provisioning]\nmode = "${mode}"\nest_url = "https://e"\n` +
    `[identity]\nallow_imported = ${String(isAllowed)}\n${files}`;
  await load(t, settings('device-cred', true)).loaded;
  for (const text of [settings('device-cred', false), settings('est', true)]) {
    const { file, loaded } = load(t, text);
    await rejectsCode(loaded, 'CONFIG_INVALID', {
      ...{ file, line: 6, key: 'identity.tls_key_file' },
      problem: 'contradicts token.tls_backend = "auto", which uses the token',
      remedy:
        'remove tls_key_file; or set token.tls_backend = "file" (development only); or have the key ' +
        'imported: provisioning.mode = "device-cred", identity.allow_imported = true',
    });
  }
});

test('pinned roots and trust on first use contradict each other', async (t) => {
  const text = '[uptane]\nroots = ["/d.json", "/i.json"]\ntrust_on_first_use = true\n';
  const { file, loaded } = load(t, text);
  await rejectsCode(loaded, 'CONFIG_INVALID', {
    file,
    line: 3,
    key: 'uptane.trust_on_first_use',
    problem:
      'contradicts uptane.roots: either the roots are pinned or the first contact is trusted',
    remedy: 'remove one of them',
  });
});

test('trust has one beginning: roots, a complete set, or the first contact', async (t) => {
  const remedy = 'remove one of them';
  const set = '[uptane]\ninitial_metadata = "/set"\n';
  const both = load(t, `${set}roots = ["/d.json", "/i.json"]\n`);
  await rejectsCode(both.loaded, 'CONFIG_INVALID', {
    ...{ file: both.file, line: 2, key: 'uptane.initial_metadata', remedy },
    problem: 'contradicts uptane.roots: the complete set has roots of its own',
  });
  const chance = load(t, `${set}trust_on_first_use = true\n`);
  await rejectsCode(chance.loaded, 'CONFIG_INVALID', {
    ...{ file: chance.file, line: 3, key: 'uptane.trust_on_first_use', remedy },
    problem:
      'contradicts uptane.initial_metadata: either the roots are pinned or the first contact is trusted',
  });
});

for (const [set, unset, value] of [
  ['url', 'keys', 'https://t'],
  ['keys', 'url', '/t.json'],
] as const) {
  test(`uptane.time_${set} without uptane.time_${unset} would be no signed time, and is refused`, async (t) => {
    const { file, loaded } = load(t, `[uptane]\ntime_${set} = "${value}"\n`);
    await rejectsCode(loaded, 'CONFIG_INVALID', {
      file,
      line: 2,
      key: `uptane.time_${unset}`,
      problem: `is not set, and uptane.time_${set} needs it`,
      remedy: `add time_${unset} = "…" to [uptane]`,
    });
  });
}

test('both repositories, events and secrets lie below gateway.url unless they are named', async (t) => {
  const { loaded } = load(t, 'gateway.url = "https://gw/ota//"\n');
  assert.deepEqual(requireGateway(await loaded), {
    director: 'https://gw/ota/director',
    image: 'https://gw/ota/repo',
    events: 'https://gw/ota/events',
    telemetry: 'https://gw/ota',
    secrets: 'https://gw/ota/secrets',
  });
  const own = 'director_url = "https://d/"\nimage_url = "https://i/x/"\n';
  const { loaded: named } = load(t, `[gateway]\n${own}`);
  assert.deepEqual(requireGateway(await named), {
    director: 'https://d',
    image: 'https://i/x',
    events: undefined,
    telemetry: undefined,
    secrets: undefined,
  });
  const { loaded: mixed } = load(t, '[gateway]\nurl = "https://gw"\nimage_url = "https://i"\n');
  assert.deepEqual(requireGateway(await mixed), {
    director: 'https://gw/director',
    image: 'https://i',
    events: 'https://gw/events',
    telemetry: 'https://gw',
    secrets: 'https://gw/secrets',
  });
});

test('a missing gateway is refused only by what needs one, and says where to add it', async (t) => {
  const nothing = await loadSettings({ config: [], roots: [] });
  throwsCode(() => requireGateway(nothing), 'CONFIG_INVALID', {
    file: '/etc/ota-agent/conf.d',
    line: 0,
    key: 'gateway.url',
    problem: 'is not set, and the gateway is needed here',
    remedy: 'add url = "…" to [gateway]',
  });
  const { file, loaded } = load(t, '\ngateway.image_url = "https://i"\n');
  const half = await loaded;
  throwsCode(() => requireGateway(half), 'CONFIG_INVALID', {
    file,
    line: 2,
    key: 'gateway.director_url',
    problem: 'is not set, and gateway.image_url alone is half a gateway',
    remedy: 'add director_url = "…" to [gateway]',
  });
});

for (const [what, contradicts] of [
  ['uptane.dialect = "tuf"', 'uptane.dialect = "tuf": media have the Uptane dialect'],
  [
    'separation.installer = true',
    'separation.installer = true: that installer takes nothing offline',
  ],
] as const) {
  test(`media that nobody could take are refused with ${what}`, async (t) => {
    const { file, loaded } = load(t, `offline.sources = ["/media/update"]\n${what}\n`);
    await rejectsCode(loaded, 'CONFIG_INVALID', {
      file,
      line: 1,
      key: 'offline.sources',
      problem: `contradicts ${contradicts}`,
      remedy: 'remove one of them; agent/OFFLINE.md says why',
    });
  });
}
