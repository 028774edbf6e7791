/** A device of aktualizr's kind: from a key in a file that a server made to one that is made in the token. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { startDirector, type DirectorHandle } from '../director/start.ts';
import { Device, type AgentResult } from '../support/device.ts';
import { writeCredentials } from '../support/shared-credentials.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { softHsm, type TokenWorld } from '../support/token-world.ts';
import { describe as said, DEVICE, HARDWARE } from '../support/world.ts';

let director: DirectorHandle;
let token: TokenWorld;
let device: Device;
const state = temporaryDirectory('director');

before(async () => {
  director = await startDirector({ stateDir: state.path });
  token = await softHsm.open();
  device = new Device({
    directory: join(token.directory, 'device'),
    id: DEVICE,
    hardwareId: HARDWARE,
    gateway: {
      url: director.gatewayUrl,
      enrolUrl: director.enrolUrl,
      caPath: director.caPath,
      enrolSecretPath: director.enrolSecretPath,
      roots: [director.directorRootPath, director.imageRootPath],
    },
    token: { module: token.settings.module, env: token.env },
  });
});
after(async () => {
  await token.close();
  await director.stop();
  state.remove();
});

const at = (name: string): string => join(device.options.directory, name);

async function ok(...args: string[]): Promise<AgentResult> {
  const result = await device.agent(args);
  assert.equal(result.exit, 0, said(result));
  return result;
}

const facts = ({ json }: AgentResult): string =>
  (json['steps'] as { step: string; outcome: string; facts: string }[])
    .map(({ step, outcome, facts: text }) => `${step} ${outcome}: ${text}`)
    .join('\n');
const warnings = ({ json }: AgentResult): string => (json['warnings'] as string[]).join('\n');

test('a server’s key is used as a file, imported, and left behind for one made in the token', async () => {
  const files = { tls_key_file: at('tls.key'), tls_certificate_file: at('tls.pem') };
  device.configure({
    token: { tls_backend: 'file' },
    identity: { ...files, allow_imported: true },
    provisioning: {
      mode: 'shared-cred',
      credentials_file: await writeCredentials({ director }, at('credentials.zip')),
      est_secret_file: undefined,
    },
  });
  const first = await ok('provision');
  assert.match(facts(first), /^certificate done now: device /mu);
  assert.match(warnings(first), /the TLS key is a file/u);
  assert.match(warnings(first), /THE SERVER MADE THE PRIVATE KEY/u);
  assert.equal(statSync(files.tls_key_file).mode & 0o777, 0o600);
  const [key, certificate] = Object.values(files).map((path) => readFileSync(path, 'utf8'));
  assert.match((await ok('once')).stderr, /the TLS key is a file/u);
  assert.match(facts(await ok('provision')), /^certificate found done/mu);
  assert.equal(readFileSync(files.tls_key_file, 'utf8'), key);

  device.configure({
    token: { tls_backend: undefined },
    provisioning: { mode: 'device-cred', credentials_file: undefined, est_url: undefined },
  });
  const imported = await ok('provision');
  assert.match(facts(imported), /^keys done now: ota-agent-tls \(ec-p256\), IMPORTED$/mu);
  assert.match(facts(imported), /^keys noted: .*tls\.key holds a copy of the key: remove it$/mu);
  assert.match(facts(imported), /^registration found done/mu);
  assert.match(warnings(imported), /key "ota-agent-tls" was made outside the token/u);
  assert.match((await ok('once')).stderr, /key "ota-agent-tls" was made outside the token/u);
  rmSync(files.tls_key_file);
  assert.equal(readFileSync(files.tls_certificate_file, 'utf8'), certificate);
  assert.match(facts(await ok('provision')), /^keys found done: ota-agent-tls \(ec-p256\)$/mu);
  const doctor = await device.agent(['doctor']);
  const checks = doctor.json['checks'] as { name: string; status: string; remedy: string }[];
  const line = checks.find(({ name }) => name === 'tls-key');
  assert.equal(line?.status, 'warn');
  assert.match(line.remedy, /^rotate it \(ota-agent rotate\)/u);

  device.configure({
    identity: { tls_key_file: undefined, tls_certificate_file: undefined },
    provisioning: { mode: 'est', est_url: director.enrolUrl },
  });
  // The gateway knows the root alone: from here on, the CA between has to come with the certificate.
  await director.control('PUT', '/enrolment', { issuingCa: true });
  await ok('rotate', 'tls');
  device.configure({ identity: { allow_imported: undefined } });
  assert.equal(warnings(await ok('provision')), '');
  assert.equal((await ok('once')).json['outcome'], 'up-to-date');
});

test('a key file of somebody is not written over by the server’s', async () => {
  const files = { tls_key_file: at('pin'), tls_certificate_file: at('nowhere.pem') };
  const before = readFileSync(files.tls_key_file);
  device.configure({
    token: { tls_backend: 'file' },
    identity: { ...files, allow_imported: true },
    provisioning: { mode: 'shared-cred', credentials_file: at('credentials.zip') },
  });
  const { exit, json } = await device.agent(['provision']);
  assert.deepEqual([exit, json['code']], [2, 'FILE_UNREADABLE']);
  assert.equal((json['details'] as { path: string }).path, files.tls_key_file);
  assert.deepEqual(readFileSync(files.tls_key_file), before);
});
