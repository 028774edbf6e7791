/** How TLS reaches its key: what is tried, in which order, and what survives a provider that does not. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createSecureContext } from 'node:tls';

import { isOtaError, OtaError } from '../../agent/errors.ts';
import { chooseInToken } from '../../agent/io/tls-backends.ts';
import { readFileIdentity } from '../../agent/io/tls-file.ts';
import { probeProvider, providerPem } from '../../agent/io/tls-provider.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { makeAuthority, makeLeaf, type Leaf } from '../support/certificates.ts';
import { throwsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const MODULE = '/usr/lib/softhsm/libsofthsm2.so';
/** After the certificates have been made, however slow that was. */
const NOW = (Date.now() + 60_000) as Instant;

describe('TLS backends', () => {
  const directory = temporaryDirectory('backends');
  let device: Leaf;
  before(() => {
    const authority = makeAuthority(directory.path, 'devices');
    device = makeLeaf(directory.path, authority, { commonName: 'device-1' });
  });
  after(() => {
    directory.remove();
  });
  const file = (name: string, content: string): string => {
    const path = join(directory.path, name);
    writeFileSync(path, content);
    return path;
  };

  describe('auto', () => {
    const context = createSecureContext();
    const works = (): typeof context => context;
    const fails = (problem: string) => (): never => {
      throw new OtaError('TOKEN_MODULE', {
        module: 'm',
        cause: problem,
        remedy: `mend ${problem}`,
      });
    };

    test('takes the engine and asks no provider', () => {
      const { choice } = chooseInToken('auto', { engine: works, provider: fails('asked') });
      assert.equal(choice.backend, 'engine');
    });

    test('takes the provider where the engine does not work, and says why', () => {
      const chosen = chooseInToken('auto', { engine: fails('no engine'), provider: works });
      assert.equal(chosen.context, context);
      assert.equal(chosen.choice.backend, 'provider');
      assert.match(chosen.choice.reason, /no engine/u);
    });

    test('says of both why they do not work', () => {
      const act = (): unknown =>
        chooseInToken('auto', { engine: fails('no engine'), provider: fails('it crashed') });
      throwsCode(act, 'TOKEN_MODULE', {
        module: 'm',
        cause: 'engine: no engine; provider: it crashed',
        remedy: 'mend no engine',
      });
    });

    test('a backend that is configured is not replaced by the other', () => {
      for (const wanted of ['engine', 'provider'] as const) {
        const backends = { engine: works, provider: works, [wanted]: fails('broken') };
        assert.throws(() => chooseInToken(wanted, backends), /broken/u);
      }
    });
  });

  describe('the probe of a provider', () => {
    const probe = (keyPem: string, certificatePem = device.certificatePem): string | undefined =>
      probeProvider({ module: MODULE, key: keyPem, certificate: certificatePem });
    const withConfiguration = (path: string, act: () => void): void => {
      const before = process.env['OPENSSL_CONF'];
      process.env['OPENSSL_CONF'] = path;
      try {
        act();
      } finally {
        if (before === undefined) Reflect.deleteProperty(process.env, 'OPENSSL_CONF');
        else process.env['OPENSSL_CONF'] = before;
      }
    };
    const activating = (name: string, module: string): string =>
      file(
        `${name}.cnf`,
        `nodejs_conf = init\n[init]\nproviders = all\n[all]\ndefault = base\n${name} = own\n` +
          `[base]\nactivate = 1\n[own]\nmodule = ${module}\nactivate = 1\n`,
      );
    /** A provider in C whose activation does what `body` says. */
    const provider = (name: string, body: string): string => {
      const source = file(
        `${name}.c`,
        `#include <stdlib.h>\n#include <unistd.h>\n` +
          `int OSSL_provider_init(const void *h, const void *in, const void **out, void **ctx)\n` +
          `{ ${body} return 0; }\n`,
      );
      const library = join(directory.path, `${name}.so`);
      execFileSync('cc', ['-shared', '-fPIC', '-o', library, source], { stdio: 'pipe' });
      return library;
    };

    test('a key that signs what its certificate verifies passes', () => {
      assert.equal(probe(device.keyPem), undefined);
    });

    test('a key of another certificate does not', () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const foreign = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      assert.match(probe(foreign) ?? '', /^the probe ended with 1: the key is not that/u);
    });

    test('a token’s key that no provider reads is a problem, and its PIN is in no message', () => {
      const pem = providerPem('pkcs11:token=ota-agent;type=private?pin-value=secret-4711');
      const problem = probe(pem) ?? '';
      assert.match(problem, /^the probe ended with 1: /u);
      assert.ok(!problem.includes('secret-4711'));
    });

    test('a PKCS#11 library that does not load is a problem', () => {
      const missing = { module: '/nonexistent.so', key: '', certificate: '' };
      assert.match(probeProvider(missing) ?? '', /nonexistent/u);
    });

    test('a provider that is not there', () => {
      withConfiguration(activating('absent', '/nonexistent/pkcs11.so'), () => {
        assert.match(probe(providerPem('pkcs11:token=t')) ?? '', /^the probe ended with /u);
      });
    });

    test('a provider that crashes takes its probe with it, and nothing else', () => {
      const crash = provider('crash', 'volatile int *nowhere = 0; *nowhere = 1;');
      withConfiguration(activating('crash', crash), () => {
        assert.match(probe(device.keyPem) ?? '', /^the probe crashed with SIGSEGV$/u);
      });
    });

    test('a provider that hangs is ended', () => {
      const hang = provider('hang', 'for (;;) sleep(1);');
      withConfiguration(activating('hang', hang), () => {
        const start = performance.now();
        const key = device.keyPem;
        const problem = probeProvider(
          { module: MODULE, key, certificate: device.certificatePem },
          500,
        );
        assert.equal(problem, 'the probe did not end within 500 ms');
        assert.ok(performance.now() - start < 5000);
      });
    });

    test('the key is written as pkcs11-provider reads it', () => {
      const uri = `pkcs11:token=${'x'.repeat(300)}`;
      const args = ['asn1parse', '-inform', 'PEM'];
      const parsed = execFileSync('openssl', args, { input: providerPem(uri) }).toString();
      assert.match(
        parsed,
        /SEQUENCE[^]*VISIBLESTRING *:PKCS#11 Provider URI v1\.0\n[^]*UTF8STRING/u,
      );
      assert.ok(parsed.includes(uri));
    });
  });

  describe('file', () => {
    test('key and certificate that belong together are an identity, with a warning', () => {
      const tls_key_file = file('tls.key', device.keyPem);
      const tls_certificate_file = file('tls.pem', device.certificatePem);
      const { certificate, open } = readFileIdentity({ tls_key_file, tls_certificate_file }, NOW);
      assert.equal(certificate.commonName, 'device-1');
      const { choice } = open({});
      assert.equal(choice.backend, 'file');
      assert.match(choice.reason, /whoever reads the disk/u);
    });

    test('a key of another certificate, and files that are missing or no keys, are named', () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const foreign = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      const tls_certificate_file = file('tls.pem', device.certificatePem);
      const refused = (tls_key_file: string): [unknown, string] => {
        try {
          readFileIdentity({ tls_key_file, tls_certificate_file }, NOW);
        } catch (error) {
          if (isOtaError(error)) return [error.code, JSON.stringify(error.details)];
        }
        return [undefined, ''];
      };
      const foreignKey = file('foreign.key', foreign);
      const [code, details] = refused(foreignKey);
      assert.equal(code, 'CERTIFICATE_INVALID');
      assert.ok(details.includes(foreignKey));
      for (const path of [join(directory.path, 'absent'), file('no.key', 'secret text')]) {
        const [unread, said] = refused(path);
        assert.equal(unread, 'FILE_UNREADABLE');
        assert.ok(said.includes(path) && said.includes('identity.tls_key_file'));
        assert.ok(!said.includes('secret text'));
      }
    });
  });
});
