/** `ota-agent config import-aktualizr`: what a sota.toml says, in this agent's words, and what it has none for. */
import { readFileSync } from 'node:fs';

import { parse, stringify, TomlError } from 'smol-toml';

import { causeOf, OtaError } from '../errors.ts';
import type { CommandResult } from './result.ts';

type Value = string | number | boolean;
/** Settings by key, or why there is none. */
type Equivalent = ReadonlyMap<string, Value> | string;
type Rule = (value: Value, all: ReadonlyMap<string, Value>) => Equivalent;

/** @throws OtaError FILE_UNREADABLE, CONFIG_INVALID, USAGE */
export function importAktualizr(rest: readonly string[]): CommandResult {
  const [file, ...more] = rest;
  if (file === undefined || more.length > 0) {
    const remedy = 'ota-agent config import-aktualizr FILE';
    throw new OtaError('USAGE', { what: 'import-aktualizr takes one file', remedy });
  }
  const all = readSota(file);
  const settings = new Map<string, Value>();
  const without: { readonly key: string; readonly why: string }[] = [];
  for (const [key, value] of all) {
    // aktualizr writes out what is not set.
    if (value === '') continue;
    const found = (RULES.get(key) ?? (() => NONE))(value, all);
    if (typeof found === 'string') without.push({ key, why: found });
    else for (const [own, set] of found) settings.set(own, set);
  }
  return {
    exit: 0,
    json: { outcome: 'imported', settings: Object.fromEntries(settings), without },
    lines: [...tomlLines(file, settings), ...without.map(({ key, why }) => `# ${key}: ${why}`)],
  };
}

const NONE = 'has no equivalent';

function readSota(file: string): ReadonlyMap<string, Value> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const remedy = 'name the sota.toml of the device';
    const details = {
      path: file,
      what: "aktualizr's configuration",
      cause: causeOf(error),
      remedy,
    };
    throw new OtaError('FILE_UNREADABLE', details, { cause: error });
  }
  try {
    const entries = Object.entries(parse(text)).flatMap(([section, table]) =>
      Object.entries(table).map(([name, value]): [string, unknown] => [
        `${section}.${name}`,
        value,
      ]),
    );
    return new Map(entries.filter((entry): entry is [string, Value] => isValue(entry[1])));
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const problem = error.message.split('\n')[0] ?? '';
    const details = { file, line: error.line, key: '', problem, remedy: 'mend the file' };
    throw new OtaError('CONFIG_INVALID', details, { cause: error });
  }
}

function isValue(value: unknown): value is Value {
  return ['string', 'number', 'boolean'].includes(typeof value);
}

function tomlLines(file: string, settings: ReadonlyMap<string, Value>): readonly string[] {
  const tables = new Map<string, Record<string, Value>>();
  for (const [key, value] of settings) {
    const [table = '', name = ''] = key.split('.');
    tables.set(table, { ...tables.get(table), [name]: value });
  }
  const text = stringify(Object.fromEntries(tables)).trim();
  return [`# From ${JSON.stringify(file)}, for ota-agent.`, ...text.split('\n'), ''];
}

const as =
  (key: string): Rule =>
  (value) =>
    new Map([[key, value]]);
const none =
  (why: string): Rule =>
  () =>
    why;
const chosen =
  (key: string, choices: Readonly<Record<string, Value>>): Rule =>
  (value) => {
    const own = new Map(Object.entries(choices)).get(String(value).toLowerCase());
    return own === undefined ? `${JSON.stringify(value)} has no equivalent` : new Map([[key, own]]);
  };
/** aktualizr writes CKA_ID in hex. */
const object =
  (key: string, type: 'private' | 'cert'): Rule =>
  (value) => {
    const id = String(value);
    if (!/^(?:[\da-f]{2})+$/iu.test(id)) return 'is no hexadecimal CKA_ID';
    const escaped = id.replace(/../gu, (byte) => `%${byte}`);
    return new Map([[key, `pkcs11:id=${escaped};type=${type}`]]);
  };
/** A key source says only where others are. */
const where: Rule = (value) =>
  value === 'pkcs11'
    ? new Map()
    : 'the key was in a file; ota-agent provision makes one in the token, or imports this one with ' +
      'identity.allow_imported (provisioning/README.md)';
/** Relative to `import.base_path`, as aktualizr reads it. */
const imported =
  (key: string): Rule =>
  (value, all) => {
    const path = String(value);
    const base = String(all.get('import.base_path') ?? '/var/sota/import');
    return new Map([[key, path.startsWith('/') ? path : `${base.replace(/\/+$/u, '')}/${path}`]]);
  };
const SECRET = 'is a secret, and not printed: write it into a file of mode 0600 and name that in';

const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['tls.server', as('gateway.url')],
  ['tls.server_url_path', none('is a file with the URL: write that into gateway.url')],
  ['tls.ca_source', () => new Map()],
  ['tls.pkey_source', where],
  ['tls.cert_source', where],
  ['provision.server', none('is tls.server of aktualizr: gateway.url has it')],
  [
    'provision.mode',
    chosen('provisioning.mode', {
      sharedcred: 'shared-cred',
      sharedcredreuse: 'shared-cred',
      devicecred: 'device-cred',
    }),
  ],
  ['provision.provision_path', as('provisioning.credentials_file')],
  ['provision.p12_password', none(`${SECRET} provisioning.credentials_password_file`)],
  ['provision.expiry_days', as('provisioning.shared_days')],
  ['provision.device_id', as('device.id')],
  ['provision.primary_ecu_serial', as('ecu.serial')],
  ['provision.primary_ecu_hardware_id', as('ecu.hardware_id')],
  ['uptane.director_server', as('gateway.director_url')],
  ['uptane.repo_server', as('gateway.image_url')],
  ['uptane.polling_sec', (value) => new Map([['uptane.poll_interval', `${String(value)}s`]])],
  ['uptane.key_source', where],
  [
    'uptane.key_type',
    chosen('identity.uptane_key_type', {
      rsa2048: 'rsa-2048',
      rsa3072: 'rsa-3072',
      rsa4096: 'rsa-4096',
      ed25519: 'ed25519',
    }),
  ],
  ['uptane.force_install_completion', none('set installer.reboot_command: without, others reboot')],
  ['uptane.secondary_config_file', none('write a [[component]] for each Secondary by hand')],
  ['p11.module', as('token.module')],
  [
    'p11.label',
    (value) => new Map([['token.uri', `pkcs11:token=${encodeURIComponent(String(value))}`]]),
  ],
  ['p11.pass', none(`${SECRET} token.pin_file, or make it the systemd credential "pin"`)],
  ['p11.uptane_key_id', object('identity.uptane_key', 'private')],
  ['p11.tls_pkey_id', object('identity.tls_key', 'private')],
  ['p11.tls_clientcert_id', object('identity.tls_certificate', 'cert')],
  ['p11.tls_cacert_id', object('gateway.ca', 'cert')],
  ['p11.tls_ca_id', object('gateway.ca', 'cert')],
  ['import.base_path', () => new Map()],
  ['import.tls_cacert_path', imported('gateway.ca')],
  ['import.tls_clientcert_path', imported('provisioning.certificate_file')],
  ['import.tls_pkey_path', none('a key in a file: provisioning/README.md says how it is imported')],
  [
    'pacman.type',
    chosen('installer.type', { ostree: 'ostree', none: 'file', 'ostree+compose_apps': 'ostree' }),
  ],
  ['pacman.sysroot', as('installer.ostree_sysroot')],
  ['pacman.os', as('installer.ostree_os')],
  ['pacman.packages_file', as('telemetry.packages_file')],
  ['pacman.ostree_server', as('installer.ostree_url')],
  [
    'pacman.images_path',
    none('is a directory of images: set installer.path to the file that runs'),
  ],
  [
    'storage.path',
    none('stays aktualizr’s own; this agent has storage.path = "/var/lib/ota-agent"'),
  ],
  [
    'bootloader.rollback_mode',
    none('is what installer.type and its keys say: agent/INSTALLERS.md'),
  ],
  [
    'bootloader.reboot_command',
    none('is a list of program and arguments here: installer.reboot_command'),
  ],
  [
    'logger.loglevel',
    chosen('log.level', {
      0: 'debug',
      1: 'debug',
      2: 'info',
      3: 'warn',
      4: 'error',
      5: 'error',
    }),
  ],
  ['telemetry.report_network', as('telemetry.network')],
  ['telemetry.report_config', none('is not reported: a configuration may hold secrets')],
]);
