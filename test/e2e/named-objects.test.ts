/** A token that somebody else has filled, as factories and aktualizr do: everything is named by URI. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { startDirector, type DirectorHandle } from '../director/start.ts';
import { standBetween } from '../support/between.ts';
import { Device, type AgentResult } from '../support/device.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { softHsm, SO_PIN, USER_PIN, type TokenWorld } from '../support/token-world.ts';
import { describe as said } from '../support/world.ts';

const TLS_KEY = 'pkcs11:token=factory;id=%02;type=private';
const UPTANE_KEY = 'pkcs11:object=uptane%20key;type=private';

describe('a token that somebody else has filled', () => {
  let world: TokenWorld;
  let director: DirectorHandle;
  let device: Device;

  const tool = (...args: readonly string[]): string =>
    execFileSync('pkcs11-tool', ['--module', world.settings.module, ...args], {
      env: { ...process.env, ...world.env },
      stdio: 'pipe',
      encoding: 'utf8',
    });
  const loggedIn = ['--token-label', 'factory', '--login', '--pin', USER_PIN];

  before(async () => {
    world = await softHsm.open();
    director = await startDirector({ stateDir: join(world.directory, 'director') });
    tool('--init-token', '--slot-index', '0', '--label', 'factory', '--so-pin', SO_PIN);
    const officer = ['--token-label', 'factory', '--login', '--login-type', 'so'];
    tool(...officer, '--so-pin', SO_PIN, '--init-pin', '--new-pin', USER_PIN);
    // A key without a label, as aktualizr's instructions make them.
    tool(...loggedIn, '--keypairgen', '--key-type', 'EC:prime256v1', '--id', '02');
    const rsa = ['--keypairgen', '--key-type', 'RSA:2048', '--id', '03', '--label', 'uptane key'];
    tool(...loggedIn, ...rsa);
    const der = join(world.directory, 'ca.der');
    execFileSync('openssl', ['x509', '-in', director.caPath, '-outform', 'DER', '-out', der]);
    const ca = ['--write-object', der, '--type', 'cert', '--id', '09', '--label', 'gateway CA'];
    tool(...loggedIn, ...ca);
    device = new Device({
      directory: join(world.directory, 'device'),
      id: 'device-1',
      hardwareId: 'test-board',
      gateway: {
        url: director.gatewayUrl,
        enrolUrl: director.enrolUrl,
        caPath: director.caPath,
        enrolSecretPath: director.enrolSecretPath,
        roots: [director.directorRootPath, director.imageRootPath],
      },
      token: { module: world.settings.module, env: world.env },
    });
  });
  beforeEach(() => {
    const { module, pin_file: pin = '' } = world.settings;
    const source = `module-path=${module}&pin-source=file:${pin}`;
    device.configure({
      token: {
        module: undefined,
        pin_file: undefined,
        so_pin_file: undefined,
        uri: `pkcs11:token=factory;manufacturer=SoftHSM%20project?${source}`,
      },
      gateway: { ca: 'pkcs11:object=gateway%20CA;type=cert' },
      provisioning: { est_ca: undefined },
      identity: { tls_key: TLS_KEY, uptane_key: UPTANE_KEY, tls_certificate: undefined },
    });
  });
  after(async () => {
    await director.stop();
    await world.close();
  });

  const refused = (result: AgentResult): Record<string, unknown> => {
    assert.equal(result.exit, 50, said(result));
    assert.equal(result.json['code'], 'TOKEN_OBJECT');
    return result.json['details'] as Record<string, unknown>;
  };

  test('is provisioned with its keys, and with the CA that is in it', async () => {
    const result = await device.agent(['provision']);
    assert.equal(result.exit, 0, said(result));
    const steps = result.json['steps'] as { step: string; outcome: string; facts: string }[];
    assert.deepEqual(
      steps.filter(({ step }) => step === 'keys').map(({ outcome, facts }) => [outcome, facts]),
      [
        ['found done', ' (ec-p256), named in [identity]'],
        ['found done', 'uptane key (rsa-2048), named in [identity]'],
      ],
    );
    const checked = await device.agent(['check']);
    assert.equal(checked.exit, 0, said(checked));
    const keys = tool(...loggedIn, '--list-objects', '--type', 'privkey');
    assert.equal(keys.match(/Private Key Object/gu)?.length, 2, keys);
  });

  test('keeps what the settings name: nothing of it is rotated, on command or by age', async () => {
    for (const [of, setting] of [
      ['tls', 'identity.tls_key'],
      ['certificate', 'identity.tls_key'],
      ['uptane', 'identity.uptane_key'],
    ] as const) {
      const result = await device.agent(['rotate', of]);
      assert.equal(result.exit, 2, said(result));
      assert.equal(result.json['code'], 'USAGE');
      const { what } = result.json['details'] as { what: string };
      assert.equal(
        what,
        `${setting} names an object that others made: the agent does not replace it`,
      );
    }
    device.configure({ identity: { tls_key_max_age: '1m', uptane_key_max_age: '1m' } });
    // An age counts from the first cycle that sees the key.
    const first = await device.agent(['once']);
    assert.equal(first.exit, 0, said(first));
    const later = await device.agent(['once'], fakeClock('+2d'));
    device.configure({ identity: { tls_key_max_age: undefined, uptane_key_max_age: undefined } });
    assert.equal(later.exit, 0, said(later));
    const keys = tool(...loggedIn, '--list-objects', '--type', 'privkey');
    assert.equal(keys.match(/Private Key Object/gu)?.length, 2, keys);
  });

  test('is used with the certificate that is named in it', async () => {
    device.configure({ identity: { tls_certificate: 'pkcs11:id=%02;type=cert' } });
    const result = await device.agent(['provision']);
    assert.equal(result.exit, 0, said(result));
    const steps = result.json['steps'] as { outcome: string }[];
    assert.deepEqual(new Set(steps.map(({ outcome }) => outcome)), new Set(['found done']));
    const checked = await device.agent(['once']);
    assert.equal(checked.exit, 0, said(checked));
  });

  test('is refused with a certificate of somebody else', async () => {
    device.configure({ identity: { tls_certificate: 'pkcs11:id=%09' } });
    const result = await device.agent(['once']);
    assert.equal(result.exit, 50, said(result));
    assert.equal(result.json['code'], 'CERTIFICATE_INVALID');
  });

  test('names what is there when a key is not', async () => {
    device.configure({ identity: { tls_key: 'pkcs11:id=%07;type=private' } });
    assert.deepEqual(refused(await device.agent(['check'])), {
      uri: 'pkcs11:id=%07;type=private',
      problem:
        'the token has no such private key; private keys that are there: ' +
        '"" (id 02), "uptane key" (id 03)',
      remedy: 'correct identity.tls_key, or put the private key into the token',
    });
    const { uri } = refused(await device.agent(['provision']));
    assert.equal(uri, 'pkcs11:id=%07;type=private');
  });

  test('does not choose between two keys that match', async () => {
    device.configure({ identity: { uptane_key: 'pkcs11:type=private' } });
    const { problem, remedy } = refused(await device.agent(['check']));
    assert.equal(problem, 'several match: "" (id 02), "uptane key" (id 03)');
    assert.equal(remedy, 'add object= or id= to identity.uptane_key');
  });

  test('names the certificates that are there when the CA is not', async () => {
    device.configure({ gateway: { ca: 'pkcs11:object=gateway-ca' } });
    const { problem, remedy } = refused(await device.agent(['check']));
    assert.match(
      String(problem),
      /^the token has no such certificate; certificates that are there: .*"gateway CA" \(id 09\)/u,
    );
    assert.match(String(remedy), /^correct gateway\.ca/u);
  });

  test('is one token: a key of another one is refused', async () => {
    device.configure({ identity: { tls_key: 'pkcs11:token=other;id=%02' } });
    const { problem } = refused(await device.agent(['check']));
    assert.match(
      String(problem),
      /^it names another token than token\.uri, which is "factory" \(serial \w+, slot \d+\)$/u,
    );
  });

  test('is told from others by its library and slot, as well', async () => {
    const uri = `pkcs11:library-description=Implementation%20of%20PKCS11;slot-manufacturer=SoftHSM%20project;token=factory`;
    const { module, pin_file } = world.settings;
    device.configure({ token: { uri, module, pin_file } });
    const found = await device.agent(['check']);
    assert.equal(found.exit, 0, said(found));
    device.configure({ token: { uri: `${uri};library-version=99` } });
    const absent = await device.agent(['check']);
    assert.equal(absent.exit, 50, said(absent));
    assert.equal(absent.json['code'], 'TOKEN_ABSENT');
  });

  test('shows no PIN in its configuration, where one was written by mistake', async () => {
    device.configure({ token: { uri: `pkcs11:token=factory?pin-value=${USER_PIN}` } });
    for (const args of [['config', 'show'], ['config', 'check'], ['check']]) {
      const result = await device.agent(args);
      assert.equal(result.exit, 2, said(result));
      assert.equal(result.json['code'], 'CONFIG_INVALID');
      assert.ok(!said(result).includes(USER_PIN));
    }
  });

  test('that goes away in the middle of a TLS handshake is not the gateway’s fault', async () => {
    const tokens = join(world.directory, 'tokens');
    const wire = await standBetween(director.gatewayUrl, () => {
      renameSync(tokens, `${tokens}.gone`);
      return Promise.resolve();
    });
    try {
      device.configure({ gateway: { url: wire.url } });
      const result = await device.agent(['once']);
      assert.equal(result.exit, 50, said(result));
      assert.equal(result.json['code'], 'TOKEN_FAILED');
    } finally {
      await wire.close();
      device.configure({ gateway: { url: director.gatewayUrl } });
      if (existsSync(`${tokens}.gone`)) renameSync(`${tokens}.gone`, tokens);
    }
  });

  test('is not confused with another one of its label: both are named, and exit 50', async () => {
    tool('--init-token', '--slot-index', '1', '--label', 'factory', '--so-pin', SO_PIN);
    const { problem, remedy } = refused(await device.agent(['once']));
    const two = /^several tokens match: "factory" \(serial (\w+), slot \d+\), "factory" \(/u;
    assert.match(String(problem), two);
    assert.equal(remedy, 'add serial= or slot-id= to token.uri');
  });
});
