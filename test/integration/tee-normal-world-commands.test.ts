import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { CLOSE_SESSION, INVOKE, OPEN_SESSION, u32 } from './support-tee-fake-world.ts';
import { taReply, CryptokiSuite } from './support-tee-ta-calls.ts';

describe('Cryptoki calls as commands of the PKCS#11 TA', () => {
  const suite = new CryptokiSuite();

  test('opens the PKCS#11 TA publicly, pings it, and closes its session', async () => {
    suite.drivers.world.reply = taReply(() => ({}));
    const { lines } = await suite.drivers.run(['initialize', 'get_info', 'finalize']);
    assert.deepEqual(lines, ['0x0', '0x0 cryptoki=2.40 flags=0', '0x0']);
    assert.deepEqual(suite.drivers.sent(OPEN_SESSION), [
      '1c000000' +
        '02000000' +
        '0200' +
        '0000' +
        'fd02c9da306c48c7a49cbbd827ae86ee' +
        '00000000' +
        '00000000' +
        '00000000',
    ]);
    assert.deepEqual(suite.drivers.sent(INVOKE), [
      '20000000' +
        '03000000' +
        '0400' +
        '0000' +
        '07000000' +
        '00000000' +
        '07060000' +
        '01000000' +
        '04000000' +
        '00000000' +
        '01000000' +
        '0c000000',
    ]);
    assert.deepEqual(suite.drivers.sent(CLOSE_SESSION), [
      '04000000' + '04000000' + '0300' + '0000' + '07000000',
    ]);
  });

  test('sends C_Login as OP-TEE documents it, in one INVOKE frame', async () => {
    await suite.calls(['login 1 1 x3132333435']);
    assert.equal(
      suite.drivers.sent(INVOKE)[1],
      '25000000' +
        '04000000' +
        '0400' +
        '0000' +
        '07000000' +
        '0d000000' +
        '07000000' +
        '01000000' +
        '11000000' +
        '01000000' +
        '01000000' +
        '05000000' +
        '3132333435',
    );
  });

  test('sends C_GenerateKeyPair for P-256 with both templates', async () => {
    const { lines, commands } = await suite.calls(
      [
        'generate_key_pair 1 0x1040 0x180=x06082a8648ce3d030107,0x1=x01 0x1=x01,0x102=x2a,0x108=x01',
      ],
      () => ({ out: u32(3, 4) }),
    );
    assert.deepEqual(lines, ['0x0 handle=3 private=4']);
    assert.deepEqual(commands, [
      '50 ' +
        '01000000' +
        '40100000' +
        '00000000' +
        '1b000000' +
        '02000000' +
        '80010000' +
        '0a000000' +
        '06082a8648ce3d030107' +
        '01000000' +
        '01000000' +
        '01' +
        '1b000000' +
        '03000000' +
        '01000000' +
        '01000000' +
        '01' +
        '02010000' +
        '01000000' +
        '2a' +
        '08010000' +
        '01000000' +
        '01' +
        ' - out:8',
    ]);
  });

  const serialized: readonly (readonly [string, string])[] = [
    ['get_slot_info 2', '2 02000000 - out:104'],
    ['get_token_info 2', '3 02000000 - out:160'],
    ['get_mechanism_info 1 0x1041', '5 0100000041100000 - out:12'],
    ['open_session 2 6', '6 0200000006000000 - out:4'],
    ['close_session 9', '7 09000000 - -'],
    ['close_all_sessions 2', '8 02000000 - -'],
    ['get_session_info 9', '9 09000000 - out:16'],
    [
      `init_token 1 x31323334 x746f6b656e${'20'.repeat(27)}`,
      `10 0100000004000000746f6b656e${'20'.repeat(27)}31323334 - -`,
    ],
    [`init_token 1 null x${'20'.repeat(32)}`, `10 0100000000000000${'20'.repeat(32)} - -`],
    ['init_pin 9 x31323334', '11 090000000400000031323334 - -'],
    ['init_pin 9 null', '11 0900000000000000 - -'],
    ['set_pin 9 x3132 x333435', '12 0900000002000000030000003132333435 - -'],
    ['login 9 0 null', '13 090000000000000000000000 - -'],
    ['logout 9', '14 09000000 - -'],
    [
      'create_object 9 0x0=x0000000000000000',
      '15 09000000' + '0c00000001000000' + '000000000400000000000000 - out:4',
    ],
    ['destroy_object 9 8', '16 0900000008000000 - -'],
    ['init encrypt 9 0x1081 8', '17 09000000080000008110000000000000 - -'],
    ['init decrypt 9 0x1081 8', '18 09000000080000008110000000000000 - -'],
    ['encrypt_update 9 x0102 4', '19 09000000 in:0102 out:4'],
    ['decrypt_update 9 x 4', '20 09000000 in: out:4'],
    ['encrypt_final 9 16', '21 09000000 - out:16'],
    ['decrypt_final 9 16', '22 09000000 - out:16'],
    ['encrypt 9 x01 16', '23 09000000 in:01 out:16'],
    ['encrypt 9 x 16', '23 09000000 - out:16'],
    ['decrypt 9 x01 16', '24 09000000 in:01 out:16'],
    ['init sign 9 0x1041 8', '25 09000000080000004110000000000000 - -'],
    ['init verify 9 0x1041 8', '26 09000000080000004110000000000000 - -'],
    ['sign_update 9 x01', '27 09000000 in:01 -'],
    ['verify_update 9 x01', '28 09000000 in:01 -'],
    ['sign_final 9 64', '29 09000000 - out:64'],
    ['verify_final 9 x0a0b', '30 09000000 - in:0a0b'],
    ['sign 9 x01 64', '31 09000000 in:01 out:64'],
    ['sign 9 null 64', '31 09000000 in: out:64'],
    ['verify 9 x01 x0a0b', '32 09000000 in:01 in:0a0b'],
    ['verify 9 null x0a0b', '32 09000000 - in:0a0b'],
    [
      'generate_key 9 0x1080 0x161=x2000000000000000',
      '33 090000008010000000000000' + '0c00000001000000610100000400000020000000' + ' - out:4',
    ],
    ['find_objects_init 9 null', '34 090000000000000000000000 - -'],
    ['find_objects 9 24', '35 09000000 - out:12'],
    ['find_objects_final 9', '36 09000000 - -'],
    ['get_object_size 9 8', '37 0900000008000000 - out:4'],
    [
      'set_attribute_value 9 8 0x3=x4142',
      '39 09000000080000000a00000001000000' + '0300000002000000' + '4142 - -',
    ],
    ['copy_object 9 8 null', '40 09000000080000000000000000000000 - out:4'],
    ['seed_random 9 x0102', '41 09000000 in:0102 -'],
    ['generate_random 9 7', '42 09000000 - out:7'],
    [
      'derive_key 9 0x1104:ecb:x0a 8 null',
      '43 090000000800000004110000' + '05000000' + '010000000a' + '0000000000000000 - out:4',
    ],
    ['init digest 9 0x250', '45 090000005002000000000000 - -'],
    ['digest_key 9 8', '46 0900000008000000 - -'],
    ['digest_update 9 x01', '47 09000000 in:01 -'],
    ['digest_final 9 32', '48 09000000 - out:32'],
    ['digest 9 x01 32', '49 09000000 in:01 out:32'],
    ['digest 9 x 32', '49 09000000 in: out:32'],
    ['wrap_key 9 0x1081 8 7 16', '51 0900000008000000070000008110000000000000 - out:16'],
    [
      'unwrap_key 9 0x1081 8 x0a0b null',
      '52 09000000080000008110000000000000' + '0000000000000000 in:0a0b out:4',
    ],
  ];
  test('gives every command its arguments and parameter types (§1.2 of the TA interface)', async () => {
    const { lines, commands } = await suite.calls(serialized.map(([line]) => line));
    assert.deepEqual(
      commands,
      serialized.map(([, command]) => command),
    );
    assert.deepEqual(
      lines.filter((line) => !line.startsWith('0x0')),
      [],
    );
  });

  test('turns a value that does not fit 32 bits into one that nothing has', async () => {
    const { commands } = await suite.calls([
      'close_session 0x100000001',
      'get_mechanism_info 0x100000000 0xffffffffffffffff',
      'destroy_object 0xffffffff 0x8000000000000001',
    ]);
    assert.deepEqual(commands, [
      '7 ffffffff - -',
      '5 ffffffffffffffff - out:12',
      '16 ffffffffffffffff - -',
    ]);
  });
});
