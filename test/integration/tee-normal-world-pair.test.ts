/** Both worlds together, judged by programs that know neither: pkcs11-tool and OpenSSL. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { startTee, type Tee } from '../support/tee.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { buildDrivers, runDriver, startDriver, type Run } from './support-tee-drivers.ts';

const run = promisify(execFile);
const SO_PIN = '12345678';
const PIN = '1234';
const USER = ['--token-label', 'device', '--login', '--pin', PIN];

describe('pkcs11-tool on both worlds', () => {
  const directory = temporaryDirectory('tee-pair');
  const file = (name: string): string => join(directory.path, name);
  let tee: Tee;

  before(async () => {
    buildDrivers('sanitized');
    buildDrivers('plain');
    tee = await startTee(directory.path);
    writeFileSync(file('data'), 'to be signed');
    await tool('--init-token', '--slot-index', '1', '--label', 'device', '--so-pin', SO_PIN);
    await tool(
      ...['--init-pin', '--token-label', 'device', '--login', '--login-type', 'so'],
      ...['--so-pin', SO_PIN, '--new-pin', PIN],
    );
  });
  after(async () => {
    await tee.stop();
    directory.remove();
  });

  const execute = async (program: string, args: readonly string[]): Promise<string> => {
    const { stdout, stderr } = await run(program, [...args], {
      env: { ...process.env, ...tee.env },
      timeout: 60_000,
    });
    return stdout + stderr;
  };
  const tool = (...args: readonly string[]): Promise<string> =>
    execute('pkcs11-tool', ['--module', tee.module, ...args]);
  const drive = (script: readonly string[]): Promise<Run> =>
    runDriver('cryptoki-driver', 'sanitized', script, { env: tee.env });
  const makeKeyPair = (keyType: string, id: string): Promise<string> =>
    tool(...USER, '--keypairgen', '--key-type', keyType, '--id', id, '--usage-sign');

  test('lists three slots, one of them with the token', async () => {
    const listed = await tool('--list-slots');
    assert.equal(listed.match(/^Slot /gm)?.length, 3);
    assert.match(listed, /Slot 1 [\s\S]*token label\s*: device[\s\S]*PIN initialized/);
  });

  for (const [keyType, id, mechanism, options] of [
    ['EC:prime256v1', '01', 'ECDSA-SHA256', ['--signature-format', 'openssl']],
    ['rsa:2048', '02', 'SHA256-RSA-PKCS', []],
  ] as const) {
    test(`makes a pair of ${keyType}, and OpenSSL verifies what it signs`, async () => {
      const made = await makeKeyPair(keyType, id);
      assert.match(made, /sensitive, always sensitive, never extractable, local/);
      await tool(
        ...[...USER, '--sign', '--mechanism', mechanism, '--id', id, ...options],
        ...['-i', file('data'), '-o', file(`${id}.sig`)],
      );
      await tool(...USER, '-r', '--type', 'pubkey', '--id', id, '-o', file(`${id}.der`));
      const publicKey = ['-pubin', '-inform', 'DER', '-in', file(`${id}.der`)];
      await execute('openssl', ['pkey', ...publicKey, '-out', file(`${id}.pem`)]);
      const verify = ['-verify', file(`${id}.pem`), '-signature', file(`${id}.sig`)];
      assert.match(await execute('openssl', ['dgst', '-sha256', ...verify, file('data')]), /OK/);
      const other = ['dgst', '-sha256', ...verify, file(`${id}.der`)];
      await assert.rejects(execute('openssl', other), {
        code: 1,
        stdout: 'Verification failure\n',
      });
    });
  }

  test('hides private keys from those who do not log in', async () => {
    await tool(...USER, '--keypairgen', '--key-type', 'EC:secp384r1', '--id', '03', '--private');
    const [seen, all] = [await tool('--token-label', 'device', '-O'), await tool(...USER, '-O')];
    assert.doesNotMatch(seen, /Private Key Object/);
    assert.match(all, /Private Key Object; EC[\s\S]*ID:\s+03/);
  });

  test('works in a child that is forked and initializes again', async () => {
    const told = await tool(...USER, '--test-fork');
    assert.match(told, /Calling C_Initialize in forked child process/);
    assert.doesNotMatch(told, /error|fail/i);
  });

  test('serves several processes at once, each with sessions and a login of its own', async () => {
    const script = ['initialize', 'open_session 1 6', 'get_session_info 1'];
    const login = [`login 1 1 x${Buffer.from(PIN).toString('hex')}`, 'get_session_info 1'];
    const [first, second] = await Promise.all([drive([...script, ...login]), drive(script)]);
    const info = (state: number): string => `0x0 slot=1 state=${String(state)} flags=0x6 error=0`;
    assert.deepEqual(first.lines, ['0x0', '0x0 handle=1', info(2), '0x0', info(3)]);
    assert.deepEqual(second.lines, ['0x0', '0x0 handle=1', info(2)]);
  });

  test('digests in eight threads over one connection', async () => {
    const sessions = Array.from({ length: 8 }, () => 'open_session 0 4');
    const { lines, stderr } = await drive(['initialize', ...sessions, 'threads 8']);
    assert.deepEqual([lines.at(-1), stderr], [' failures=0', '']);
  });

  test('sees the death of the secure world as CKR_GENERAL_ERROR, and a new one when it starts again', async () => {
    const other = temporaryDirectory('tee-pair-death');
    const doomed = await startTee(other.path);
    const driver = startDriver('cryptoki-driver', { ...doomed.env, OTA_TEE_QUIET: '1' });
    try {
      assert.equal(await driver.call('initialize'), '0x0');
      assert.equal(await driver.call('get_slot_list null'), '0x0 count=3');
      process.kill(doomed.pid, 'SIGKILL');
      await doomed.stop();
      assert.equal(await driver.call('get_slot_list null'), '0x5 count=0');
      assert.equal(await driver.call('finalize'), '0x0');
      assert.equal(await driver.call('initialize'), '0x5');
      const reborn = await startTee(other.path);
      assert.equal(await driver.call('initialize'), '0x0');
      assert.equal(await driver.call('get_slot_list null'), '0x0 count=3');
      await reborn.stop();
    } finally {
      await driver.end();
      await doomed.stop();
      other.remove();
    }
  });
});
