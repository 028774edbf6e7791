/** aktualizr's configuration, in this agent's words. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { importAktualizr } from '../../../agent/commands/config-import.ts';
import { loadSettings } from '../../../agent/config.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

let directory: ReturnType<typeof temporaryDirectory>;
before(() => {
  directory = temporaryDirectory('import');
});
after(() => {
  directory.remove();
});

function sota(text: string): string {
  const path = join(directory.path, 'sota.toml');
  writeFileSync(path, text);
  return path;
}

interface Imported {
  readonly settings: Record<string, unknown>;
  readonly without: readonly { readonly key: string; readonly why: string }[];
}

/** A device with its keys in a token, as in aktualizr's `config/sota-device-cred-hsm.toml`. */
const HSM = `
[tls]
server = "https://ota.example:30443"
server_url_path = ""
ca_source = "file"
pkey_source = "pkcs11"
cert_source = "pkcs11"

[provision]
provision_path = ""
p12_password = ""
mode = "DeviceCred"
device_id = "truck-17"
primary_ecu_hardware_id = "imx8"

[uptane]
polling_sec = 86400
director_server = "https://ota.example:30443/director"
repo_server = "https://ota.example:30443/repo"
key_source = "pkcs11"
key_type = "RSA2048"

[p11]
module = "/usr/lib/softhsm/libsofthsm2.so"
pass = "MARKED-PIN-1234"
label = "device token"
uptane_key_id = "03"
tls_pkey_id = "02"
tls_clientcert_id = "01"

[import]
base_path = "/var/sota/import"
tls_cacert_path = "root.crt"

[pacman]
type = "ostree"
os = "torizon"
sysroot = "/"
ostree_server = "https://ota.example:30443/treehub"

[storage]
path = "/var/sota/"

[logger]
loglevel = 3

[bootloader]
rollback_mode = "uboot_generic"

[telemetry]
report_network = false
`;

test('what is printed is a configuration that this agent takes', async () => {
  const { lines } = importAktualizr([sota(HSM)]);
  const path = join(directory.path, 'own.toml');
  writeFileSync(path, `${lines.join('\n')}\n`);
  const { settings } = await loadSettings({ config: [path], roots: [] });
  assert.equal(settings.gateway.url, 'https://ota.example:30443');
  assert.equal(settings.gateway.director_url, 'https://ota.example:30443/director');
  assert.equal(settings.gateway.ca, '/var/sota/import/root.crt');
  assert.equal(settings.uptane.poll_interval, 86_400_000);
  assert.equal(settings.identity.uptane_key_type, 'rsa-2048');
  assert.equal(settings.identity.tls_key, 'pkcs11:id=%02;type=private');
  assert.equal(settings.identity.tls_certificate, 'pkcs11:id=%01;type=cert');
  assert.equal(settings.identity.uptane_key, 'pkcs11:id=%03;type=private');
  assert.equal(settings.token.module, '/usr/lib/softhsm/libsofthsm2.so');
  assert.equal(settings.device.id, 'truck-17');
  assert.equal(settings.ecu.hardware_id, 'imx8');
  assert.equal(settings.provisioning.mode, 'device-cred');
  assert.equal(settings.installer.type, 'ostree');
  assert.equal(settings.log.level, 'warn');
});

test('what has no equivalent is said, with what to do', () => {
  const { without } = importAktualizr([sota(HSM)]).json as Imported;
  const why = new Map(without.map(({ key, why: words }) => [key, words]));
  assert.deepEqual([...why.keys()].sort(), [
    'bootloader.rollback_mode',
    'p11.pass',
    'storage.path',
  ]);
  assert.match(why.get('p11.pass') ?? '', /token\.pin_file/u);
});

test('a secret is printed nowhere', () => {
  const result = importAktualizr([sota(HSM)]);
  assert.doesNotMatch(JSON.stringify(result), /MARKED-PIN/u);
});

test('keys that nobody knows are said, and so are values that have no equivalent', () => {
  const text = '[pacman]\ntype = "fake"\n[p11]\nuptane_key_id = "3"\n[torizon]\nlock = "/run/x"\n';
  const { settings, without } = importAktualizr([sota(text)]).json as Imported;
  assert.deepEqual(settings, {});
  assert.deepEqual(without, [
    { key: 'pacman.type', why: '"fake" has no equivalent' },
    { key: 'p11.uptane_key_id', why: 'is no hexadecimal CKA_ID' },
    { key: 'torizon.lock', why: 'has no equivalent' },
  ]);
});

test('a file that is no TOML is refused with its line', () => {
  const file = sota('[tls]\nserver = https\n');
  assert.throws(() => importAktualizr([file]), { code: 'CONFIG_INVALID' });
  const details = {
    what: 'import-aktualizr takes one file',
    remedy: 'ota-agent config import-aktualizr FILE',
  };
  throwsCode(() => importAktualizr([]), 'USAGE', details);
});
