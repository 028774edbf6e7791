/** What `ota-agent doctor` finds about token, keys and TLS, provoked. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { makeLeaf } from '../support/certificates.ts';
import { DoctorBench } from '../support/doctor-bench.ts';

const HEADERS = join(import.meta.dirname, '../tee/normal-world/include');

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
      const unset = await bench.doctor({ token: { pin_file: undefined } });
      unset.finds(
        'token',
        ['fail', 'TOKEN_PIN_MISSING'],
        [/user PIN/u, /systemd-run .*LoadCredential/u],
      );
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

  test('a token that lacks a mechanism, with what it has', async () => {
    const module = compile(
      'fewer',
      `#include <dlfcn.h>
#include <stddef.h>
#include "pkcs11.h"
static CK_FUNCTION_LIST real, ours;
static CK_RV without_ecdsa(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count)
{
	CK_RV rv = real.C_GetMechanismList(slot, list, count);
	for (CK_ULONG i = 0; rv == CKR_OK && list != NULL && i < *count; i++)
		if (list[i] == CKM_ECDSA)
			list[i] = CKM_SHA_1;
	return rv;
}
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	void *library = dlopen("${bench.world.tee.module}", RTLD_NOW);
	CK_FUNCTION_LIST_PTR found = NULL;
	CK_RV (*get)(CK_FUNCTION_LIST_PTR_PTR) = dlsym(library, "C_GetFunctionList");
	CK_RV rv = get(&found);
	real = ours = *found;
	ours.C_GetMechanismList = without_ecdsa;
	*list = &ours;
	return rv;
}
`,
    );
    const report = await bench.doctor({ token: { module } });
    const names =
      /mechanism ECDSA \(256 bit\) for identity.tls_key_type = .*supported rsa-2048, rsa-3072$/u;
    report.finds('mechanisms', ['fail', 'TOKEN_MECHANISM'], [names, /supported key types/u]);
    report.isOk('token', 'tls-key', 'certificate');
    assert.equal(report.exit, 50);
  });

  test('where the library runs, and which keys the token can make', async () => {
    const report = await bench.doctor({ token: { isolation: 'p11-kit' } });
    report.isOk('token-module', 'token', 'mechanisms', 'tls-key', 'tls-backend', 'director');
    const { detail } = report.lines.get('token-module') ?? { detail: '' };
    assert.match(detail, /in a process of its own \(p11-kit\), \d+ tokens/u);
    const mechanisms = report.lines.get('mechanisms')?.detail ?? '';
    const can = /it can do ec-p256, ec-p384, rsa-2048, rsa-3072 \(TLS\), rsa-2048, .*\(Uptane\)$/u;
    assert.match(mechanisms, can);
    assert.equal(report.exit, 0);
  });

  test('keys that are halved, were brought from outside, or are gone, each by itself', async () => {
    token('--delete-object', '--type', 'pubkey', '--label', 'ota-agent-uptane');
    const halved = await bench.doctor();
    const counts = /1 private and 0 public/u;
    halved.finds('uptane-key', ['fail', 'TOKEN_OBJECT'], [counts, /provision/u]);
    halved.isOk('tls-key', 'tls-backend', 'gateway-tls', 'director');
    assert.equal(halved.exit, 50);

    token('--delete-object', '--type', 'privkey', '--label', 'ota-agent-uptane');
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const named = ['--label', 'ota-agent-uptane', '--id', '03', '--usage-sign'];
    const privatePem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const write = (type: string, pem: string): void => {
      token('--write-object', bench.file(`${type}.pem`, pem), '--type', type, ...named);
    };
    write('privkey', privatePem);
    write('pubkey', publicPem);
    const imported = await bench.doctor();
    const attribute = /attribute CKA_/u;
    imported.finds('uptane-key', ['fail', 'TOKEN_KEY_UNSAFE'], [attribute, /delete the key/u]);
    const { device } = bench.world;
    const refused = await device.agent(['check']);
    assert.deepEqual(
      [refused.exit, refused.json['code']],
      [50, 'TOKEN_KEY_UNSAFE'],
      refused.stderr,
    );

    const identity = { allow_imported: true };
    const allowed = await bench.doctor({ identity });
    const copies = /made outside the token, and there may be copies/u;
    allowed.finds('uptane-key', ['warn', 'TOKEN_KEY_UNSAFE'], [copies, /ota-agent rotate/u]);
    device.configure({ identity });
    const used = await device.agent(['check']);
    device.configure({ identity: { allow_imported: false } });
    assert.equal(used.exit, 0, used.stderr);
    assert.match(used.stderr, copies);

    token('--delete-object', '--type', 'pubkey', '--label', 'ota-agent-uptane');
    token('--delete-object', '--type', 'privkey', '--label', 'ota-agent-uptane');
    token('--delete-object', '--type', 'cert', '--label', 'ota-agent-tls');
    const gone = await bench.doctor();
    gone.finds('uptane-key', ['fail', 'NOT_PROVISIONED'], [/ota-agent-uptane/u, /provision/u]);
    gone.finds('certificate', ['fail', 'NOT_PROVISIONED'], [/certificate/u, /provision/u]);
    gone.isSkipped('certificate', 'tls-backend', 'gateway-tls');
    assert.equal(gone.exit, 3);
  });

  test('a PIN of which one try is left, and one that is locked (last: it stays so)', async () => {
    const wrong = (): void => {
      assert.throws(() => {
        token('--pin', '9999-wrong', '--list-objects');
      });
    };
    for (let tries = 0; tries < 20 && !flags().includes('final user PIN try'); tries += 1) wrong();
    const last = await bench.doctor();
    last.finds('token', ['fail', 'TOKEN_PIN_INCORRECT'], [/triesLeft 1/u, /by hand/u]);
    wrong();
    const locked = await bench.doctor();
    locked.finds('token', ['fail', 'TOKEN_LOCKED'], [/ota-agent/u, /--init-pin/u]);
    locked.isOk('token-module', 'gateway-port', 'roots');
    assert.equal(locked.exit, 50);
  });

  const flags = (): string => tool('--list-token-slots');
  const token = (...args: readonly string[]): void => {
    const pin = args.includes('--pin') ? [] : ['--pin', '2718-user'];
    tool('--token-label', 'ota-agent', '--login', ...pin, ...args);
  };
  const tool = (...args: readonly string[]): string => {
    const { env, module } = bench.world.tee;
    const all = { ...process.env, ...env };
    const said = execFileSync('pkcs11-tool', ['--module', module, ...args], {
      env: all,
      stdio: 'pipe',
    });
    return said.toString();
  };
  /** A PKCS#11 library that does `body` when it is asked for its functions. */
  const library = (name: string, body: string): string => {
    const functions = `unsigned long C_GetFunctionList(void **list) { ${body} return 5; }\n`;
    return compile(name, `#include <unistd.h>\n${functions}`);
  };
  const compile = (name: string, source: string): string => {
    const path = bench.path(`${name}.so`);
    const file = bench.file(`${name}.c`, source);
    execFileSync('cc', ['-shared', '-fPIC', `-I${HEADERS}`, '-o', path, file], { stdio: 'pipe' });
    return path;
  };
});
