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
