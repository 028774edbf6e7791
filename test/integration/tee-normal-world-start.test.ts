import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';

import { BUILD, DriverSuite, buildDrivers, runDriver } from './support-tee-drivers.ts';
import { INVOKE, OPEN_SESSION, u32 } from './support-tee-fake-world.ts';
import { taReply } from './support-tee-ta-calls.ts';

const ROOT = join(import.meta.dirname, '../..');
const NOT_INITIALIZED = '0x190';
const ALREADY_INITIALIZED = '0x191';

describe('C_Initialize and C_Finalize', () => {
  const suite = new DriverSuite('cryptoki-driver');
  /** What the calls print, against a TA that succeeds at everything. */
  const calls = async (
    script: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<readonly string[]> => {
    suite.world.reply = taReply(() => ({ out: u32(1) }));
    return (await suite.run(script, env)).lines;
  };

  test('answer CKR_CRYPTOKI_NOT_INITIALIZED before the first and after the last', async () => {
    const script = [
      'finalize',
      'get_info',
      'get_slot_list absent',
      'open_session 0 6',
      'sign 1 null*1 absent',
      'login 1 1 null*9',
      'unsupported',
    ];
    const lines = await calls([...script, 'initialize', 'finalize', ...script]);
    const first = (list: readonly string[]): unknown[] => list.map((line) => line.split(' ')[0]);
    assert.deepEqual(first(lines.slice(0, 7)), Array(7).fill(NOT_INITIALIZED));
    assert.deepEqual(lines.slice(7, 9), ['0x0', '0x0']);
    assert.deepEqual(lines.slice(9), lines.slice(0, 7));
    // PING alone: nothing was sent without a session.
    assert.equal(suite.sent(INVOKE).length, 1);
  });

  test('know that the library is initialized already, and start again after the end', async () => {
    assert.deepEqual(await calls(['initialize', 'initialize 2', 'finalize', 'initialize']), [
      '0x0',
      ALREADY_INITIALIZED,
      '0x0',
      '0x0',
    ]);
    assert.equal(suite.sent(OPEN_SESSION).length, 2);
  });

  const argumentRows: readonly (readonly [string, string, string])[] = [
    ['the locks of the system', 'initialize 2', '0x0'],
    ['no threads', 'initialize 0', '0x0'],
    ['no threads of our own', 'initialize 3', '0x0'],
    ["the application's locks or the system's", 'initialize 2 callbacks', '0x0'],
    ["the application's locks alone", 'initialize 0 callbacks', '0xa'],
    ['half a set of locks', 'initialize 2 partial', '0x7'],
    ['a reserved argument', 'initialize 2 reserved', '0x7'],
  ];
  for (const [what, line, rv] of argumentRows) {
    test(`answer ${rv} to ${what} (PKCS#11 v2.40 §5.4)`, async () => {
      assert.deepEqual(await calls([line]), [rv]);
      assert.equal(suite.sent(OPEN_SESSION).length, rv === '0x0' ? 1 : 0);
    });
  }

  test('leave a forked child to initialize for itself', async () => {
    const lines = await calls(['initialize', 'fork', 'open_session 0 6', 'finalize']);
    assert.deepEqual(lines, ['0x0', '0x190 0x0 status=0', '0x0 handle=1', '0x0']);
    const opened = suite.world.frames.filter(({ opcode }) => opcode === OPEN_SESSION);
    assert.deepEqual(
      opened.map(({ connection }) => connection),
      [0, 1],
    );
  });

  const GROUP = process.getegid?.() ?? 0;
  const logins: readonly (readonly [Readonly<Record<string, string>>, string, string])[] = [
    [{ CKTEEC_LOGIN_TYPE: 'public' }, '0x0', '0000000000000000'],
    [{ CKTEEC_LOGIN_TYPE: 'user' }, '0x0', '0100000000000000'],
    [
      { CKTEEC_LOGIN_TYPE: 'group', CKTEEC_LOGIN_GID: String(GROUP) },
      '0x0',
      u32(2, GROUP).toString('hex'),
    ],
    [{ CKTEEC_LOGIN_TYPE: 'group', CKTEEC_LOGIN_GID: '4294967295' }, '0x5', ''],
    [{ CKTEEC_LOGIN_TYPE: 'group' }, '0x7', ''],
    [{ CKTEEC_LOGIN_TYPE: 'group', CKTEEC_LOGIN_GID: '' }, '0x7', ''],
    [{ CKTEEC_LOGIN_TYPE: 'group', CKTEEC_LOGIN_GID: '-1' }, '0x7', ''],
    [{ CKTEEC_LOGIN_TYPE: 'group', CKTEEC_LOGIN_GID: '4294967296' }, '0x7', ''],
    [{ CKTEEC_LOGIN_TYPE: 'group', CKTEEC_LOGIN_GID: '10x' }, '0x7', ''],
    [{ CKTEEC_LOGIN_TYPE: 'root' }, '0x7', ''],
  ];
  for (const [env, rv, login] of logins) {
    test(`open the TA for whom the environment says: ${Object.values(env).join(' ')}`, async () => {
      assert.deepEqual(await calls(['initialize'], { ...env, OTA_TEE_QUIET: '1' }), [rv]);
      assert.equal((suite.sent(OPEN_SESSION)[0] ?? '').slice(2 * 28, 2 * 36), login);
    });
  }

  test('fail without a TEE with CKR_GENERAL_ERROR and one line that says why', async () => {
    const missing = `${suite.world.socketPath}-missing`;
    const script = ['initialize', 'initialize', 'get_info'];
    const env = { OTA_TEE_SOCKET: missing };
    const told = await runDriver('cryptoki-driver', 'sanitized', script, { env });
    assert.deepEqual(told.lines, ['0x5', '0x5', NOT_INITIALIZED]);
    assert.equal(told.stderr.split('\n').length, 2);
    assert.ok(told.stderr.includes(`${missing}: No such file or directory`));
    const quiet = await runDriver('cryptoki-driver', 'sanitized', script, {
      env: { ...env, OTA_TEE_QUIET: '1' },
    });
    assert.deepEqual([quiet.lines, quiet.stderr], [told.lines, '']);
  });

  test('say in one line why the TA cannot be opened', async () => {
    suite.world.reply = (asked) =>
      asked.opcode === OPEN_SESSION ? u32(0xffff0008, 3, 0, 0) : u32(1);
    const { lines, stderr } = await runDriver(
      'cryptoki-driver',
      'sanitized',
      ['initialize', 'initialize'],
      { env: { OTA_TEE_SOCKET: suite.world.socketPath } },
    );
    assert.deepEqual(lines, ['0x5', '0x5']);
    assert.equal(
      stderr,
      'libtee-cryptoki: the PKCS#11 TA cannot be opened: 0xffff0008, origin 3\n',
    );
  });
});

describe('the libraries', () => {
  before(() => {
    buildDrivers('plain');
  });
  const NORMAL_WORLD = join(ROOT, 'test/tee/normal-world');
  const exported = (library: string): string[] =>
    execFileSync('nm', ['-D', '--defined-only', '--format=just-symbols', join(BUILD, library)])
      .toString()
      .trim()
      .split('\n')
      .sort();
  const dynamic = (library: string): string =>
    execFileSync('readelf', ['-dW', join(BUILD, library)]).toString();

  test('export the functions of their interfaces and nothing else', () => {
    const table = readFileSync(join(NORMAL_WORLD, 'include/pkcs11_functions.h'), 'utf8');
    const functions = [...table.matchAll(/FUNCTION\((C_\w+)/g)].map(([, name]) => name);
    assert.equal(functions.length, 92);
    assert.deepEqual(exported('libtee-cryptoki.so'), functions.sort());
    for (const library of ['libteec.so.2', 'libteec.so.1'])
      assert.deepEqual(exported(library), [
        'TEEC_AllocateSharedMemory',
        'TEEC_CloseSession',
        'TEEC_FinalizeContext',
        'TEEC_InitializeContext',
        'TEEC_InvokeCommand',
        'TEEC_OpenSession',
        'TEEC_RegisterSharedMemory',
        'TEEC_ReleaseSharedMemory',
        'TEEC_RequestCancellation',
        '_dprintf',
        'dump_buffer',
      ]);
  });

  test('have the names that are looked for, find each other, and bind at once', () => {
    assert.match(dynamic('libteec.so.2'), /SONAME.*\[libteec\.so\.2\]/);
    assert.match(dynamic('libteec.so.1'), /SONAME.*\[libteec\.so\.1\]/);
    const cryptoki = dynamic('libtee-cryptoki.so');
    for (const wanted of [/NEEDED.*\[libteec\.so\.2\]/, /RUNPATH.*\[\$ORIGIN\]/, /BIND_NOW/]) {
      assert.match(cryptoki, wanted);
    }
    // No OpenSSL: two of them in one Node.js process mix their symbols.
    assert.deepEqual(
      [...cryptoki.matchAll(/NEEDED.*\[(.*)\]/g)].map(([, name]) => name),
      ['libteec.so.2', 'libc.so.6'],
    );
  });

  test('number everything as the header of OASIS that pkcs11js carries', () => {
    const values = (path: string): Map<string, string> => {
      const lines = readFileSync(path, 'utf8').matchAll(
        /^#define\s+(CK[A-Z]?_\w+)\s+\(?(?:CKF_ARRAY_ATTRIBUTE\s*\|\s*)?(0x[0-9A-Fa-f]+|\d+)(?:UL)?\)?/gm,
      );
      return new Map([...lines].map(([, name = '', value = '']) => [name, value.toLowerCase()]));
    };
    const oasis = values(join(ROOT, 'node_modules/pkcs11js/includes/pkcs11/pkcs11t.h'));
    const ours = ['pkcs11_values.h', 'pkcs11_mechanisms.h'].flatMap((name) => [
      ...values(join(NORMAL_WORLD, 'include', name)),
    ]);
    const known = ours.filter(([name]) => oasis.has(name));
    assert.deepEqual(
      known.filter(([name, value]) => Number(oasis.get(name)) !== Number(value)),
      [],
    );
    // What v2.40 lacks: Edwards curves, and what v3.0 adds.
    assert.deepEqual(
      ours.map(([name]) => name).filter((name) => !oasis.has(name)),
      [
        ...['ENCRYPT', 'DECRYPT', 'SIGN', 'VERIFY'].map((name) => `CKF_MESSAGE_${name}`),
        ...['CKF_MULTI_MESSAGE', 'CKF_FIND_OBJECTS', 'CKF_INTERFACE_FORK_SAFE', 'CKK_EC_EDWARDS'],
        'CKR_AEAD_DECRYPT_FAILED',
        'CKR_TOKEN_RESOURCE_EXCEEDED',
        'CKR_OPERATION_CANCEL_FAILED',
        ...['CKM_EC_EDWARDS_KEY_PAIR_GEN', 'CKM_EDDSA'],
      ],
    );
  });
});
