import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';

import type { LoadedSettings } from '../../agent/config-problem.ts';
import { loadSettings } from '../../agent/config.ts';
import type { FailureDetails } from '../../agent/errors.ts';
import { settingsSchema } from '../../agent/settings.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Writes files, by name, below a directory of their own. */
function place(t: TestContext, files: Readonly<Record<string, string | Uint8Array>>): string {
  const { path, ...directory } = temporaryDirectory('config');
  t.after(() => {
    directory.remove();
  });
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return path;
}

/** Loads one file, `site.toml`, and nothing of the machine's own. */
function loadOne(t: TestContext, text: string): { file: string; loaded: Promise<LoadedSettings> } {
  const file = join(place(t, { 'site.toml': text }), 'site.toml');
  return { file, loaded: loadSettings({ config: [file], roots: [] }) };
}

async function refuses(
  t: TestContext,
  text: string,
  details: Omit<FailureDetails['CONFIG_INVALID'], 'file'>,
): Promise<void> {
  const { file, loaded } = loadOne(t, text);
  await rejectsCode(loaded, 'CONFIG_INVALID', { file, ...details });
}

const SEE = 'See ota-agent config reference';

test('without any file, every setting has its default', async () => {
  const absent = ['/nonexistent/a', '/nonexistent/b'];
  const { settings, origins, files } = await loadSettings({ config: [], roots: absent });
  assert.deepEqual(settings, settingsSchema.parse({}));
  assert.deepEqual([...origins], []);
  assert.deepEqual(files, []);
});

test('decodes durations to milliseconds and sizes to bytes', async (t) => {
  const { loaded } = loadOne(
    t,
    '[uptane]\npoll_interval = "15m"\n[download]\nreserve = "64MiB"\nminimum_rate = "512"\n',
  );
  const { settings } = await loaded;
  assert.equal(settings.uptane.poll_interval, 900_000);
  assert.equal(settings.download.reserve, 64 * 1024 * 1024);
  assert.equal(settings.download.minimum_rate, 512);
});

test('later fragments win key by key, and each value knows where it was written', async (t) => {
  const dir = place(t, {
    'lib/10-a.toml': '[log]\nlevel = "debug"\nformat = "json"\n',
    'lib/20-b.toml': 'log.level = "warn"\n',
    'etc/05-c.toml': '[api]\nsocket = "/s"\n\n[log]\nlevel = "error"\n',
    'last.toml': '\n\nstorage = { path = "/data" }\n',
  });
  const roots = [join(dir, 'lib'), join(dir, 'etc'), join(dir, 'run')];
  const { settings, origins, files } = await loadSettings({
    config: [join(dir, 'last.toml')],
    roots,
  });
  assert.deepEqual(settings.log, { level: 'error', format: 'json' });
  assert.deepEqual(
    [...origins],
    [
      ['log.format', { file: join(dir, 'lib/10-a.toml'), line: 3 }],
      ['api.socket', { file: join(dir, 'etc/05-c.toml'), line: 2 }],
      ['log.level', { file: join(dir, 'etc/05-c.toml'), line: 5 }],
      ['storage.path', { file: join(dir, 'last.toml'), line: 3 }],
    ],
  );
  assert.deepEqual(
    files.map((file) => file.slice(dir.length + 1)),
    ['lib/10-a.toml', 'lib/20-b.toml', 'etc/05-c.toml', 'last.toml'],
  );
});

test('a file replaces the whole file of the same name in an earlier directory', async (t) => {
  const dir = place(t, {
    'lib/10-a.toml': '[log]\nlevel = "debug"\nformat = "json"\n',
    'lib/20-b.toml': '[storage]\npath = "/vendor"\n',
    'etc/10-a.toml': '[log]\nformat = "pretty"\n',
    'etc/20-b.toml': '',
    'given/10-a.toml': '[log]\nformat = "journal"\n',
    'given.toml/ignored': 'not = TOML',
  });
  const roots = [join(dir, 'lib'), join(dir, 'etc')];
  const fromRoots = await loadSettings({ config: [], roots });
  assert.deepEqual(fromRoots.settings.log, { level: 'info', format: 'pretty' });
  assert.equal(fromRoots.settings.storage.path, '/var/lib/ota-agent');

  const config = [join(dir, 'given'), join(dir, 'given.toml')];
  const withGiven = await loadSettings({ config, roots });
  assert.deepEqual(withGiven.settings.log, { level: 'info', format: 'journal' });
});

test('a file named on the command line adds to one of the same name', async (t) => {
  const dir = place(t, {
    'etc/10-a.toml': '[log]\nlevel = "debug"\n',
    '10-a.toml': '[log]\nformat = "json"\n',
  });
  const config = [join(dir, '10-a.toml')];
  const { settings } = await loadSettings({ config, roots: [join(dir, 'etc')] });
  assert.deepEqual(settings.log, { level: 'debug', format: 'json' });
});

test('reads only visible .toml files of a directory', async (t) => {
  const dir = place(t, {
    'a.toml': 'log.level = "debug"\n',
    '.#a.toml': 'no',
    'a.toml~': 'no',
    'README.md': 'no',
  });
  const { files } = await loadSettings({ config: [dir], roots: [] });
  assert.deepEqual(files, [join(dir, 'a.toml')]);
});

test('settings cannot be changed after loading', async (t) => {
  const { loaded } = loadOne(t, '[installer]\nreboot_command = ["reboot"]\n');
  const { settings } = await loaded;
  for (const part of [settings, settings.log, settings.installer.reboot_command]) {
    assert.ok(Object.isFrozen(part));
  }
});

test('an unknown key is refused with its line and the nearest known key', async (t) => {
  const problem = 'is not a known key';
  const cases = [
    ['[gateway]\n\nulr = "https://x"\n', 3, 'gateway.ulr', 'gateway.url'],
    ['poll_interval = "1h"\n', 1, 'poll_interval', 'uptane.poll_interval'],
    ['[token]\npin = "1234"\n', 2, 'token.pin', 'token.pin_file'],
    ['[gatway]\nurl = "https://x"\n', 1, 'gatway', 'gateway'],
    ['"__proto__" = { path = "/x" }\n', 1, '__proto__', 'uptane'],
    ['[log]\n"lev el" = "info"\n', 2, 'log."lev el"', 'log.level'],
  ] as const;
  for (const [text, line, key, nearest] of cases) {
    await refuses(t, text, { line, key, problem, remedy: `did you mean ${nearest}? ${SEE}` });
  }
});

test('a value of the wrong kind is refused with what is wanted, and is not repeated', async (t) => {
  const cases = [
    ['gateway.timeout = 60', 'gateway.timeout', 'got a whole number'],
    ['gateway.timeout = "60"', 'gateway.timeout', 'got another text'],
    ['gateway.timeout = "0s"', 'gateway.timeout', 'got another text'],
    ['gateway.timeout = "25d"', 'gateway.timeout', 'got another text'],
    ['gateway.ca = "ca.pem"', 'gateway.ca', 'got another text'],
    ['gateway.ca = "/a\\u0000b"', 'gateway.ca', 'got another text'],
    ['gateway.url = "http://x"', 'gateway.url', 'got another text'],
    ['gateway.url = "https:x"', 'gateway.url', 'got another text'],
    ['download.reserve = "9999999999GiB"', 'download.reserve', 'got another text'],
    ['download.attempts = 1.5', 'download.attempts', 'got a number'],
    ['download.attempts = 101', 'download.attempts', 'got a whole number'],
    ['token.login = true', 'token.login', 'got true'],
    ['uptane.trust_on_first_use = "yes"', 'uptane.trust_on_first_use', 'got another text'],
    ['uptane.roots = ["/director.json"]', 'uptane.roots', 'got a list'],
    ['installer.reboot_command = 1979-05-27', 'installer.reboot_command', 'got a date'],
    ['storage.path.x = 1', 'storage.path', 'got a table'],
  ] as const;
  const wanted = new Map([
    ['gateway.timeout', 'duration from "1ms" to "24d", such as "15m"'],
    ['gateway.ca', 'absolute path, or PKCS#11 URI (RFC 7512) of a certificate'],
    ['gateway.url', 'https URL'],
    ['download.reserve', 'size such as "64MiB"'],
    ['download.attempts', 'whole number from 1 to 100'],
    ['token.login', '"pin" or "tee-user" or "tee-group" or "none"'],
    ['uptane.trust_on_first_use', 'true or false'],
    ['uptane.roots', 'list of two absolute paths'],
    ['installer.reboot_command', 'list of texts such as ["systemctl", "reboot"]'],
    ['storage.path', 'absolute path'],
  ]);
  for (const [text, key, got] of cases) {
    const problem = `wants ${wanted.get(key) ?? ''}, ${got}`;
    await refuses(t, text, { line: 1, key, problem, remedy: `correct ${key}` });
  }
});

test('a table written as a value is refused', async (t) => {
  await refuses(t, 'log = "debug"\n', {
    line: 1,
    key: 'log',
    problem: 'wants a table, got another text',
    remedy: 'write [log] above its keys',
  });
});

test('a secret in a URL is refused and does not appear in the refusal', async (t) => {
  await refuses(t, '\n[gateway]\nurl = "https://me:hunter2@x"\n', {
    line: 3,
    key: 'gateway.url',
    problem: 'must have neither user name, password, query nor fragment',
    remedy: 'correct gateway.url',
  });
  await refuses(t, 'token.uri = "pkcs11:token=a?pin-value=1234"\n', {
    line: 1,
    key: 'token.uri',
    problem:
      'character 16: pin-value is not taken: a PIN in the configuration is shown to whoever reads ' +
      'it; remove it; name a file in pin-source or token.pin_file, or use the systemd credential "pin"',
    remedy: 'correct token.uri',
  });
});

test('the library and the PIN file may be written in token.uri (RFC 7512 §2.4)', async (t) => {
  for (const source of ['/run/my%2520pin', 'file:/run/my%252520pin', 'file:///run/my%252520pin']) {
    const uri = `pkcs11:token=a?module-path=/lib/x.so&pin-source=${source}`;
    const { file, loaded } = loadOne(t, `log.level = "info"\ntoken.uri = "${uri}"\n`);
    const { settings, origins } = await loaded;
    assert.equal(settings.token.module, '/lib/x.so');
    assert.equal(settings.token.pin_file, '/run/my%20pin', source);
    for (const key of ['token.uri', 'token.module', 'token.pin_file']) {
      assert.deepEqual(origins.get(key), { file, line: 2 });
    }
  }
});

test('what token.uri and another setting say about the same has to be the same', async (t) => {
  const module = 'token.module = "/lib/x.so"\n';
  const { loaded } = loadOne(t, `${module}token.uri = "pkcs11:?module-path=/lib/x.so"\n`);
  assert.equal((await loaded).settings.token.module, '/lib/x.so');
  await refuses(t, `${module}token.uri = "pkcs11:?module-path=/lib/y.so"\n`, {
    line: 2,
    key: 'token.uri',
    problem: 'module-path is another than token.module',
    remedy: 'remove module-path, or set token.module to the same',
  });
  const key = 'identity.tls_key = "pkcs11:object=a?pin-source=/run/pin"\n';
  await refuses(t, key, {
    line: 1,
    key: 'identity.tls_key',
    problem: 'pin-source is another than token.pin_file',
    remedy: 'remove it: token.pin_file says it for all of them',
  });
  const both = loadOne(t, `${key}token.uri = "pkcs11:?pin-source=file:/run/pin"\n`);
  assert.equal((await both.loaded).settings.token.pin_file, '/run/pin');
});

test('a pin-source that is a command or no file of this machine is refused', async (t) => {
  const problems = [
    ['|/bin/cat%20/run/pin', 'pin-source is a command: it could do anything with the PIN'],
    ['pin', 'pin-source is not an absolute path'],
    ['https://x/pin', 'pin-source is not an absolute path'],
    ['/run/%00', 'pin-source is not an absolute path'],
    [
      'file://elsewhere/pin',
      'pin-source is no file of this machine (ERR_INVALID_FILE_URL_HOST: File URL host must be ' +
        '"localhost" or empty on linux)',
    ],
  ] as const;
  for (const [source, problem] of problems) {
    await refuses(t, `token.uri = "pkcs11:?pin-source=${source}"\n`, {
      line: 1,
      key: 'token.uri',
      problem,
      remedy: 'name a file by its absolute path, such as pin-source=file:/etc/ota-agent/pin',
    });
  }
});

test('a CA is a file, or a certificate in the token', async (t) => {
  const { loaded } = loadOne(t, 'gateway.ca = "pkcs11:object=ca;type=cert"\n');
  assert.equal((await loaded).settings.gateway.ca, 'pkcs11:object=ca;type=cert');
  await refuses(t, 'gateway.ca = "pkcs11:object=ca;type=public"\n', {
    line: 1,
    key: 'gateway.ca',
    problem:
      'character 18: type is not "cert", which a certificate has; write it as ' +
      'pkcs11:object=LABEL;id=%02',
    remedy: 'correct gateway.ca',
  });
});

test('a syntax error is refused with its line, without the text around it', async (t) => {
  const { file, loaded } = loadOne(t, '[token]\nuri = pkcs11:pin-value=hunter2\n');
  await assert.rejects(loaded, (error: Error & { details?: object }) => {
    assert.ok(!JSON.stringify([error.message, error.details, error.cause]).includes('hunter2'));
    return true;
  });
  await rejectsCode(loaded, 'CONFIG_INVALID', {
    file,
    line: 2,
    key: '',
    problem: 'not TOML: invalid value',
    remedy: 'correct the syntax; https://toml.io shows it',
  });
});

test('a value is checked even where a later file overrides it', async (t) => {
  const dir = place(t, { 'a.toml': 'log.level = "loud"\n', 'b.toml': 'log.level = "info"\n' });
  await rejectsCode(loadSettings({ config: [dir], roots: [] }), 'CONFIG_INVALID', {
    file: join(dir, 'a.toml'),
    line: 1,
    key: 'log.level',
    problem: 'wants "debug" or "info" or "warn" or "error", got another text',
    remedy: 'correct log.level',
  });
});

test('a file that is named but absent is refused', async () => {
  await rejectsCode(
    loadSettings({ config: ['/nonexistent/x.toml'], roots: [] }),
    'FILE_UNREADABLE',
    {
      path: '/nonexistent/x.toml',
      what: 'configuration named by --config',
      cause: "ENOENT: no such file or directory, stat '/nonexistent/x.toml'",
      remedy: 'create it, or correct the path',
    },
  );
});

test('a fragment that cannot be read is refused, not skipped', async (t) => {
  const remedy = 'make it a UTF-8 text file that this user can read';
  const dir = place(t, { 'bytes/a.toml': Uint8Array.of(0x61, 0xff), 'folder/a.toml/x': '' });
  await rejectsCode(loadSettings({ config: [], roots: [join(dir, 'bytes')] }), 'FILE_UNREADABLE', {
    path: join(dir, 'bytes/a.toml'),
    what: 'configuration file',
    cause: 'ERR_ENCODING_INVALID_ENCODED_DATA: The encoded data was not valid for encoding utf-8',
    remedy,
  });
  await rejectsCode(loadSettings({ config: [], roots: [join(dir, 'folder')] }), 'FILE_UNREADABLE', {
    path: join(dir, 'folder/a.toml'),
    what: 'configuration file',
    cause: 'EISDIR: illegal operation on a directory, read',
    remedy,
  });
});
