/**
 * Programs that know nothing of OP-TEE, on the emulator and on SoftHSM2: the same commands, the same
 * outcomes. What they make is judged by programs that have no token.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { endChild } from '../support/end-child.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { emulator, softHsm, type TokenKind, type TokenWorld } from '../support/token-world.ts';
import { SecureWorld } from './tee-secure-world-process.ts';

const LIBRARY = join(import.meta.dirname, '../tee/build/libtee-cryptoki.so');
const SO_PIN = '12345678';
const PIN = '1234';
const TOKEN = 'pkcs11:token=demo';
const MESSAGE = 'a message\n';
/** More than any of them needs on a busy machine. */
const TIMEOUT_MS = 60_000;
const AGENT_START_MS = 20_000;

interface Outcome {
  readonly code: number;
  /** Standard output, then standard error. */
  readonly text: string;
}

type Environment = Readonly<Record<string, string>>;

function run(env: Environment, file: string, ...args: readonly string[]): Promise<Outcome> {
  const options = {
    env: { ...process.env, ...env },
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  } as const;
  return new Promise((resolve, reject) => {
    execFile(file, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      if (typeof code === 'number') resolve({ code, text: stdout + stderr });
      else reject(new Error(`${file} did not end: ${stdout}${stderr}`, { cause: error }));
    });
  });
}

async function succeeds(
  env: Environment,
  file: string,
  ...args: readonly string[]
): Promise<string> {
  const { code, text } = await run(env, file, ...args);
  assert.equal(code, 0, `${file} ${args.join(' ')}: ${text}`);
  return text;
}

/** A token with both PINs, and on it an RSA and an EC pair that pkcs11-tool made. */
async function prepare(env: Environment, module: string): Promise<void> {
  const tool = (...args: readonly string[]): Promise<string> =>
    succeeds(env, 'pkcs11-tool', '--module', module, ...args);
  await tool('--init-token', '--slot-index', '0', '--label', 'demo', '--so-pin', SO_PIN);
  const user = ['--token-label', 'demo', '--login'];
  await tool(...user, '--init-pin', '--so-pin', SO_PIN, '--pin', PIN);
  for (const [type, label, id] of [
    ['rsa:1024', 'r', '01'],
    ['EC:prime256v1', 'e', '02'],
  ] as const) {
    await tool(
      ...user,
      '--pin',
      PIN,
      '--keypairgen',
      '--key-type',
      type,
      '--label',
      label,
      '--id',
      id,
    );
  }
}

for (const kind of [softHsm, emulator]) tools(kind);

function tools(kind: TokenKind): void {
  describe(`${kind.name} serves outside tools`, () => {
    let world: TokenWorld;
    let env: Environment;
    let module: string;
    const at = (name: string): string => join(world.directory, name);

    before(async () => {
      world = await kind.open();
      ({ module } = world.settings);
      env = { ...world.env, GNUTLS_PIN: PIN, PKCS11_MODULE_PATH: module };
      await prepare(env, module);
      writeFileSync(at('message'), MESSAGE);
    });

    after(() => world.close());

    const p11tool = (...args: readonly string[]): Promise<string> =>
      succeeds(env, 'p11tool', '--provider', module, '--login', ...args);

    test('p11tool lists both halves of each pair, the private ones sensitive', async () => {
      const listed = await p11tool('--list-all', TOKEN);

      const objects = listed
        .split(/^Object \d+:$/mu)
        .slice(1)
        .map(describeObject)
        .sort();
      assert.deepEqual(objects, [
        'Private key (EC/ECDSA-SECP256R1), e, 02, sensitive',
        'Private key (RSA-1024), r, 01, sensitive',
        'Public key (EC/ECDSA-SECP256R1), e, 02',
        'Public key (RSA-1024), r, 01',
      ]);
    });

    test('p11tool makes pairs, and signs and verifies with them', async () => {
      const made = [
        ['--generate-ecc', '--curve', 'secp256r1', '--label', 'gec', '--id', '0a'],
        ['--generate-rsa', '--bits', '2048', '--label', 'grsa', '--id', '0b'],
      ];
      for (const args of made) await p11tool(...args, '--outfile', at('generated.pem'), TOKEN);
      assert.match(readFileSync(at('generated.pem'), 'utf8'), /^-----BEGIN PUBLIC KEY-----/u);
      for (const [label, ...how] of [
        ['gec'],
        ['grsa'],
        ['grsa', '--sign-params=RSA-PSS', '--hash', 'sha256'],
      ] as const) {
        const said = await p11tool('--test-sign', ...how, `${TOKEN};object=${label};type=private`);
        assert.deepEqual(said.match(/\.\.\. ok$/gmu), ['... ok', '... ok', '... ok'], said);
      }
    });

    test('p11tool makes no Ed25519 pair: it names the curve in another way', async () => {
      const args = ['--generate-ecc', '--curve', 'ed25519', '--label', 'ged', TOKEN];
      const { code, text } = await run(env, 'p11tool', '--provider', module, '--login', ...args);
      assert.equal(code, 1, text);
    });

    test('ssh-keygen lists the keys, and ssh-agent signs with them', async () => {
      const listed = await succeeds(env, 'ssh-keygen', '-D', module);
      const keys = listed.split('\n').filter((line) => /^(?:ssh-rsa|ecdsa-sha2)/u.test(line));
      assert.ok(
        keys.some((key) => key.startsWith('ssh-rsa ')),
        listed,
      );
      assert.ok(
        keys.some((key) => key.startsWith('ecdsa-sha2-nistp256 ')),
        listed,
      );

      await using agent = await startAgent(env, module, at('agent'));
      for (const [index, key] of keys.entries()) {
        const file = at(`key${String(index)}`);
        writeFileSync(`${file}.pub`, `${key}\n`);
        writeFileSync(at('allowed'), `me ${key}\n`);
        writeFileSync(file, MESSAGE);
        await succeeds(
          agent.env,
          'ssh-keygen',
          '-Y',
          'sign',
          '-f',
          `${file}.pub`,
          '-n',
          'file',
          file,
        );
        const verify = `ssh-keygen -Y verify -f "$1" -I me -n file -s "$2.sig" <"$2"`;
        const said = await succeeds({}, 'sh', '-c', verify, 'verify', at('allowed'), file);
        assert.match(said, /^Good "file" signature for me/u);
      }
    });

    test('openssl signs, verifies, decrypts and requests certificates through the engine', async () => {
      const engine = ['-engine', 'pkcs11', '-keyform', 'engine'];
      const [signature, message] = [at('signature'), at('message')];
      for (const label of ['e', 'r']) {
        const key = `${TOKEN};object=${label};type=private;pin-value=${PIN}`;
        const open = `${TOKEN};object=${label};type=public`;
        const pem = at(`${label}.pem`);
        await succeeds(
          env,
          'openssl',
          'pkey',
          '-engine',
          'pkcs11',
          '-inform',
          'engine',
          '-pubin',
          '-in',
          open,
          '-pubout',
          '-out',
          pem,
        );
        await succeeds(
          env,
          'openssl',
          'dgst',
          ...engine,
          '-sha256',
          '-sign',
          key,
          '-out',
          signature,
          message,
        );
        const judged = ['-sha256', '-signature', signature];
        await succeeds({}, 'openssl', 'dgst', ...judged, '-verify', pem, message);
        await succeeds(env, 'openssl', 'dgst', ...engine, ...judged, '-verify', open, message);
        const request = at('request.pem');
        await succeeds(
          env,
          'openssl',
          'req',
          '-new',
          ...engine,
          '-key',
          key,
          '-subj',
          '/CN=x',
          '-out',
          request,
        );
        await succeeds({}, 'openssl', 'req', '-verify', '-noout', '-in', request);
      }
      const encrypted = at('encrypted');
      await succeeds(
        {},
        'openssl',
        'pkeyutl',
        '-encrypt',
        '-pubin',
        '-inkey',
        at('r.pem'),
        '-in',
        message,
        '-out',
        encrypted,
      );
      const key = `${TOKEN};object=r;type=private;pin-value=${PIN}`;
      const text = await succeeds(
        env,
        'openssl',
        'pkeyutl',
        '-decrypt',
        ...engine,
        '-inkey',
        key,
        '-in',
        encrypted,
      );
      assert.ok(text.includes(MESSAGE), text);
    });
  });
}

function describeObject(listing: string): string {
  const field = (name: string): string =>
    new RegExp(`^\\s*${name}: (.*)$`, 'mu').exec(listing)?.[1] ?? '';
  const isSensitive = field('Flags').includes('CKA_SENSITIVE');
  return [field('Type'), field('Label'), field('ID'), ...(isSensitive ? ['sensitive'] : [])].join(
    ', ',
  );
}

interface Agent extends AsyncDisposable {
  readonly env: Environment;
}

/** An ssh-agent with the token's keys in it. */
async function startAgent(env: Environment, module: string, path: string): Promise<Agent> {
  const askpass = `${path}-askpass`;
  writeFileSync(askpass, `#!/bin/sh\necho ${PIN}\n`, { mode: 0o700 });
  // It compares the module with this after following links.
  const args = ['-D', '-P', realpathSync(module), '-a', path];
  const child = spawn('ssh-agent', args, { env: { ...process.env, ...env }, stdio: 'ignore' });
  const agent = { ...env, SSH_AUTH_SOCK: path, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force' };
  try {
    await listening(path);
    await succeeds(agent, 'ssh-add', '-s', module);
  } catch (failure) {
    await endChild(child, 'SIGTERM');
    throw failure;
  }
  return { env: agent, [Symbol.asyncDispose]: () => endChild(child, 'SIGTERM') };
}

async function listening(path: string): Promise<void> {
  for (const end = Date.now() + AGENT_START_MS; !existsSync(path);) {
    assert.ok(Date.now() < end, 'ssh-agent did not start');
    await sleep(20);
  }
}

describe('pkcs11-tool --test', () => {
  const testedBy = async (...options: readonly string[]): Promise<Outcome> => {
    const directory = temporaryDirectory('pkcs11-tool');
    const socket = join(directory.path, 'socket');
    const world = await SecureWorld.start(
      '--storage',
      join(directory.path, 's'),
      '--socket',
      socket,
      ...options,
    );
    try {
      const env = { OTA_TEE_SOCKET: socket };
      await prepare(env, LIBRARY);
      const login = ['--token-label', 'demo', '--login', '--pin', PIN];
      return await run(env, 'pkcs11-tool', '--module', LIBRARY, ...login, '--test');
    } finally {
      await world.end();
      directory.remove();
    }
  };

  test('completes by default', async () => {
    const { code, text } = await testedBy();
    assert.equal(code, 0, text);
    assert.match(text, /^No errors$/mu);
  });

  test('stops in strict mode where it stops on OP-TEE: at OAEP without a label', async () => {
    const { code, text } = await testedBy('--strict');
    assert.equal(code, 1, text);
    assert.match(text, /\(Label\) not present\n.*C_DecryptInit failed: rv = CKR_FUNCTION_FAILED/u);
  });
});
