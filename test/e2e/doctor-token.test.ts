/** What `ota-agent doctor` finds about token, keys and TLS, provoked. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';

import { makeLeaf } from '../support/certificates.ts';
import { DoctorBench } from '../support/doctor-bench.ts';

describe('ota-agent doctor on tokens', () => {
  let bench: DoctorBench;
  before(async () => {
    bench = await DoctorBench.open();
  });
  after(() => bench.close());

  describe('token', () => {
    test('no library, and one that does not load', async () => {
      const module = bench.path('no-module.so');
      const report = await bench.doctor({ token: { module } });
      report.finds('token-module', ['fail', 'TOKEN_MODULE'], [/no such file/u, /token\.module/u]);
      report.isSkipped('token-module', 'token', 'certificate', 'gateway-tls');
      assert.equal(report.exit, 50);
      const text = await bench.doctor({ token: { module: bench.file('text.so', 'no library') } });
      text.finds('token-module', ['fail', 'TOKEN_MODULE'], [/text\.so/u, /this machine/u]);
    });

    test('a library that crashes takes its own check with it, and nothing else', async () => {
      const module = library('crash', 'volatile int *nowhere = 0; *nowhere = 1;');
      const report = await bench.doctor({ token: { module } });
      report.finds(
        'token-module',
        ['fail', 'TOKEN_MODULE'],
        [/crashed \(SIGSEGV\)/u, /replace it/u],
      );
      report.isSkipped('token-module', 'token', 'gateway-tls');
      report.isOk('database', 'gateway-port', 'roots', 'installer');
      assert.equal(report.exit, 50);
    });

    test('a library that hangs is ended', async () => {
      const module = library('hang', 'for (;;) sleep(1);');
      const report = await bench.doctor({ token: { module } }, {}, { stuckMs: 4000 });
      const hung = /did not come back within 4 s/u;
      report.finds('token-module', ['fail', 'TOKEN_MODULE'], [hung, /replace it/u]);
      report.isOk('installer');
      assert.equal(report.exit, 50);
    });

    test('no PIN; a wrong one; and after the right one, that somebody has tried', async () => {
      const none = await bench.doctor({ token: { pin_file: bench.path('no-pin') } });
      none.finds('token', ['fail', 'FILE_UNREADABLE'], [/no-pin/u, /pin_file/u]);
      const wrong = await bench.doctor({ token: { pin_file: bench.file('wrong', '0000-wrong') } });
      wrong.finds('token', ['fail', 'TOKEN_PIN_INCORRECT'], [/triesLeft/u, /correct the PIN/u]);
      wrong.isOk('token-module', 'gateway-port');
      assert.equal(wrong.exit, 50);
      const right = await bench.doctor();
      right.finds('token', ['warn', null], [/tried a wrong PIN/u, /set the count of tries back/u]);
      (await bench.doctor()).isOk('token');
    });

    test('a key of another type than the settings say', async () => {
      const report = await bench.doctor({ identity: { tls_key_type: 'rsa-2048' } });
      report.finds('tls-key', ['warn', null], [/is ec-p256/u, /tls_key_type = "ec-p256"/u]);
    });
  });

  describe('TLS', () => {
    test('neither engine nor provider: both reasons', async () => {
      const report = await bench.doctor({}, { OPENSSL_ENGINES: '/nonexistent' });
      const reasons = /engine: no pkcs11\.so in \/nonexistent; provider: .*OPENSSL_CONF/u;
      report.finds('tls-backend', ['fail', 'TOKEN_MODULE'], [reasons, /apt-get install/u]);
      report.isOk('tls-key', 'certificate', 'gateway-port');
      assert.equal(report.exit, 50);
    });

    test('a key in a file works, and is a warning', async () => {
      const ca = bench.path('director/device-ca');
      const authority = {
        certificatePath: `${ca}.pem`,
        certificatePem: '',
        keyPath: `${ca}-key.pem`,
      };
      const leaf = makeLeaf(bench.world.directory, authority, { commonName: 'device-1' });
      const report = await bench.doctor({
        token: { tls_backend: 'file' },
        identity: {
          tls_key_file: bench.file('tls.key', leaf.keyPem),
          tls_certificate_file: bench.file('tls.pem', leaf.certificatePem),
        },
      });
      report.finds('tls-backend', ['warn', null], [/whoever reads the disk/u, /"auto"/u]);
      report.isOk('gateway-tls', 'director');
      assert.equal(report.exit, 0);
    });

    test('a gateway with other keys than those that are pinned', async () => {
      const pins = ['A', 'B'].map((letter) => `sha256/${letter.repeat(43)}=`);
      const report = await bench.doctor({ gateway: { pins } });
      report.finds('gateway-tls', ['fail', 'GATEWAY_TLS'], [/gateway\.pins/u, /add sha256\//u]);
      report.isSkipped('gateway-tls', 'director', 'image-repository', 'gateway-time');
      assert.equal(report.exit, 21);
    });

    test('repositories that are somewhere else', async () => {
      const url = bench.setting('gateway', 'url');
      const elsewhere = { director_url: `${url}/no-director`, image_url: `${url}/no-repo` };
      const report = await bench.doctor({ gateway: elsewhere });
      for (const name of ['director', 'image-repository']) {
        report.finds(name, ['fail', 'METADATA_MISSING'], [/1\.root\.json/u, /publish/u]);
      }
      report.isOk('gateway-tls', 'gateway-time');
      assert.equal(report.exit, 20);
    });
  });

  test('keys that are gone or halved, each by itself (last: it spoils the token)', async () => {
    const remove = (type: string, label: string): void => {
      const login = ['--token-label', 'ota-agent', '--login', '--pin', '2718-user'];
      const object = ['--delete-object', '--type', type, '--label', label];
      const env = { ...process.env, ...bench.world.tee.env };
      const args = ['--module', bench.world.tee.module, ...login, ...object];
      execFileSync('pkcs11-tool', args, { env, stdio: 'pipe' });
    };
    remove('pubkey', 'ota-agent-uptane');
    const halved = await bench.doctor();
    halved.finds('uptane-key', ['fail', 'TOKEN_OBJECT'], [/1 private and 0 public/u, /provision/u]);
    halved.isOk('tls-key', 'tls-backend', 'gateway-tls', 'director');
    assert.equal(halved.exit, 50);
    remove('privkey', 'ota-agent-uptane');
    remove('cert', 'ota-agent-tls');
    const report = await bench.doctor();
    report.finds('uptane-key', ['fail', 'NOT_PROVISIONED'], [/ota-agent-uptane/u, /provision/u]);
    report.finds('certificate', ['fail', 'NOT_PROVISIONED'], [/certificate/u, /provision/u]);
    report.isSkipped('certificate', 'tls-backend', 'gateway-tls');
    assert.equal(report.exit, 3);
  });

  /** A PKCS#11 library that does `body` when it is asked for its functions. */
  const library = (name: string, body: string): string => {
    const functions = `unsigned long C_GetFunctionList(void **list) { ${body} return 5; }\n`;
    const source = bench.file(`${name}.c`, `#include <unistd.h>\n${functions}`);
    const path = bench.path(`${name}.so`);
    execFileSync('cc', ['-shared', '-fPIC', '-o', path, source], { stdio: 'pipe' });
    return path;
  };
});
