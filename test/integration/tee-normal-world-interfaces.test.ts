import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';

import { DriverSuite, buildDrivers, runDriver } from './support-tee-drivers.ts';
import { u32 } from './support-tee-fake-world.ts';
import { CryptokiSuite, taReply, type TaCall } from './support-tee-ta-calls.ts';

const NAME = `x${Buffer.from('PKCS 11\0').toString('hex')}`;
const V2_40 = 'PKCS 11/2.40/0';
const V3_0 = 'PKCS 11/3.0/0';
const FUNCTION_FAILED = '0x6';
const ARGUMENTS_BAD = '0x7';
const OPERATION_NOT_INITIALIZED = 0x91;
const SESSION_HANDLE_INVALID = 0xb3;

describe('the interfaces of Cryptoki (PKCS#11 v3.0 §5.4)', () => {
  const suite = new DriverSuite('cryptoki-driver');
  const told = async (...script: readonly string[]): Promise<readonly string[]> =>
    (await suite.run(script)).lines;

  test('are listed with the two-call convention, before C_Initialize', async () => {
    assert.deepEqual(
      await told(
        'get_interface_list absent',
        'get_interface_list null',
        'get_interface_list 1',
        'get_interface_list 2',
        'get_interface_list 9',
      ),
      [
        ARGUMENTS_BAD,
        '0x0 count=2',
        '0x150 count=2',
        `0x0 count=2 ${V3_0} ${V2_40}`,
        `0x0 count=2 ${V3_0} ${V2_40}`,
      ],
    );
    assert.deepEqual(suite.world.frames, []);
  });

  const found: readonly (readonly [string, string, string])[] = [
    ['nothing in particular', 'null null 0', V3_0],
    ['a name', `${NAME} null 0`, V3_0],
    ['version 2.40 of any name', 'null x0228 0', V2_40],
    ['name and version 2.40', `${NAME} x0228 0`, V2_40],
    ['name and version 3.0', `${NAME} x0300 0`, V3_0],
  ];
  for (const [what, asked, interfaceFound] of found) {
    test(`are found by ${what}`, async () => {
      assert.deepEqual(await told(`get_interface ${asked}`), [`0x0 ${interfaceFound}`]);
    });
  }

  const missing: readonly (readonly [string, string])[] = [
    ['another name', 'x566e646f7200 null 0'],
    ['a name that only begins alike', 'x504b43532031313100 null 0'],
    ['an empty name', 'x00 null 0'],
    ['a version between the two', `${NAME} x0229 0`],
    ['version 3.1', `${NAME} x0301 0`],
    ['fork safety, which no interface has', 'null null 1'],
    ['a flag that nobody knows', `${NAME} x0300 0x80000000`],
  ];
  for (const [what, asked] of missing) {
    test(`are not found by ${what}`, async () => {
      assert.deepEqual(await told(`get_interface ${asked}`), [FUNCTION_FAILED]);
    });
  }

  test('need a place to be put', async () => {
    assert.deepEqual(await told('get_interface_nowhere'), [ARGUMENTS_BAD]);
  });

  test('have every entry point, the same as C_GetFunctionList but for the version they tell', async () => {
    suite.world.reply = taReply(() => ({}));
    const versions = ['get_info', 'get_info_3_0'];
    assert.deepEqual(await told('entry_points', ...versions, 'initialize', ...versions), [
      'functions=92 missing=0 same=67 list=2.40 one',
      '0x190',
      '0x190',
      '0x0',
      '0x0 cryptoki=2.40 flags=0',
      '0x0 cryptoki=3.0',
    ]);
  });
});

describe('what PKCS#11 v3.0 adds to Cryptoki', () => {
  const suite = new CryptokiSuite();

  test('logs in a user without a name as C_Login does, and none with a name', async () => {
    const { lines, commands } = await suite.calls([
      'login_user 2 1 x3132 null',
      'login_user 2 1 x3132 x',
      'login_user 2 1 x3132 x616263',
      'login_user 2 1 x3132 null*3',
    ]);
    assert.deepEqual(lines, ['0x0', '0x0', ARGUMENTS_BAD, ARGUMENTS_BAD]);
    const sent = '13 0200000001000000020000003132 - -';
    assert.deepEqual(commands, [sent, sent]);
  });

  const SESSION_INFO = { out: u32(0, 3, 6, 0) };
  const FIND_OBJECTS_FINAL = 36;
  const RELEASE_ACTIVE_PROCESSING = 44;
  /** A session with one active operation, that was begun by command `active`. */
  const during =
    (active: number) =>
    ({ command, params }: TaCall) => {
      if (command === 9) return SESSION_INFO;
      const released =
        command === FIND_OBJECTS_FINAL ? FIND_OBJECTS_FINAL : params[0]?.bytes.readUInt32LE(4);
      return { rv: released === active ? 0 : OPERATION_NOT_INITIALIZED };
    };

  test('cancels the operations that the flags name, active or not (C_SessionCancel)', async () => {
    const { lines, commands } = await suite.calls(
      ['session_cancel 5 0x100', 'session_cancel 5 0xffffffff'],
      during(25),
    );
    assert.deepEqual(lines, ['0x0', '0x0']);
    const info = '9 05000000 - out:16';
    const released = (command: number): string =>
      `${String(RELEASE_ACTIVE_PROCESSING)} 05000000${u32(command).toString('hex')} - -`;
    assert.deepEqual(commands, [
      info,
      released(17),
      info,
      `${String(FIND_OBJECTS_FINAL)} 05000000 - -`,
      ...[17, 18, 45, 25, 26].map(released),
    ]);
  });

  test('cancels nothing in a session that is not there, whatever the flags', async () => {
    const { lines, commands } = await suite.calls(
      ['session_cancel 5 0', 'session_cancel 5 0x900'],
      () => ({ rv: SESSION_HANDLE_INVALID }),
    );
    assert.deepEqual(lines, ['0xb3', '0xb3']);
    assert.deepEqual(commands, ['9 05000000 - out:16', '9 05000000 - out:16']);
  });

  test('stops at the first operation that the TA fails to cancel', async () => {
    const { lines, commands } = await suite.calls(['session_cancel 5 0x900'], ({ command }) =>
      command === 9 ? SESSION_INFO : { rv: 0x30 },
    );
    assert.deepEqual(lines, ['0x30']);
    assert.equal(commands.length, 2);
  });

  test('answers CKR_FUNCTION_NOT_SUPPORTED to every function on messages', async () => {
    const { lines, commands } = await suite.calls(['messages', 'finalize', 'messages']);
    assert.deepEqual(lines, [' 0x54'.repeat(20), '0x0', ' 0x190'.repeat(20)]);
    assert.deepEqual(commands, []);
  });
});

describe('debug builds of Cryptoki', () => {
  before(() => {
    buildDrivers('debug');
  });
  const suite = new DriverSuite('cryptoki-driver');
  const sign = async (rv: number, env: Readonly<Record<string, string>> = {}) => {
    suite.world.reply = taReply(() => ({ rv }));
    return runDriver('cryptoki-driver', 'debug', ['initialize', 'sign_update 1 x01'], {
      env: { OTA_TEE_SOCKET: suite.world.socketPath, ...env },
    });
  };

  test('abort at a code that the function may not return, and name both', async () => {
    const { lines, stderr, signal } = await sign(0x13);
    assert.deepEqual([lines, signal], [['0x0'], 'SIGABRT']);
    assert.match(stderr, /^libtee-cryptoki: C_SignUpdate may not return 0x13 /);
    assert.equal(stderr.split('\n').length, 2);
  });

  test('pass a code on that the function may return', async () => {
    const { lines, stderr, exitCode } = await sign(0x21);
    assert.deepEqual([lines, stderr, exitCode], [['0x0', '0x21'], '', 0]);
  });

  test('pass every code on when a test of lies says so', async () => {
    const { lines, exitCode } = await sign(0x13, { OTA_TEE_ANY_RETURN: '1' });
    assert.deepEqual([lines, exitCode], [['0x0', '0x13'], 0]);
  });
});
