import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { u32 } from './support-tee-fake-world.ts';
import { ANY_RETURN, tooSmall, type TaAnswer, CryptokiSuite } from './support-tee-ta-calls.ts';

describe('Cryptoki calls and what the TA answers', () => {
  const suite = new CryptokiSuite();

  test('reads slots, tokens, mechanisms and sessions field by field', async () => {
    const text = (value: string, size: number): Buffer => Buffer.from(value.padEnd(size));
    const answers: Record<number, TaAnswer> = {
      1: { out: u32(0, 1, 2) },
      2: {
        out: Buffer.concat([
          text('slot', 64),
          text('maker', 32),
          u32(1),
          Buffer.from([1, 2, 3, 4]),
        ]),
      },
      3: {
        out: Buffer.concat([
          text('label', 32),
          text('maker', 32),
          text('model', 16),
          text('0000000000000002', 16),
          u32(0x40d, 0xffffffff, 1, 0xffffffff, 2, 128, 4, 0xffffffff, 9, 8, 0xffffffff),
          Buffer.from([1, 2, 3, 4]),
          Buffer.alloc(16, 0x30),
        ]),
      },
      4: { out: u32(0x1041, 0) },
      5: { out: u32(256, 4096, 0x2800) },
      9: { out: u32(2, 3, 6, 0) },
    };
    const { lines } = await suite.calls(
      [
        'get_slot_list 24',
        'get_slot_info 2',
        'get_token_info 2',
        'get_mechanism_list 2 16',
        'get_mechanism_info 2 1',
        'get_session_info 1',
      ],
      ({ command }) => answers[command] ?? {},
    );
    assert.deepEqual(lines, [
      `0x0 count=3 list=x${[0, 1, 2].map((id) => `0${String(id)}${'00'.repeat(7)}`).join('')}`,
      `0x0 description=${'slot'.padEnd(64)}| manufacturer=${'maker'.padEnd(32)}| flags=0x1 hardware=1.2 firmware=3.4`,
      `0x0 label=${'label'.padEnd(32)}| manufacturer=${'maker'.padEnd(32)}| model=${'model'.padEnd(16)}|` +
        ' serial=0000000000000002| flags=0x40d sessions=1/-1/2/-1 pin=4-128 memory=9/-1/-1/8' +
        ` hardware=1.2 firmware=3.4 time=x${'30'.repeat(16)}`,
      `0x0 count=2 list=x4110${'00'.repeat(14)}`,
      '0x0 min=256 max=4096 flags=0x2800',
      '0x0 slot=2 state=3 flags=0x6 error=0',
    ]);
  });

  test('takes a structure or handle of another size for a failure of the TA', async () => {
    const script = [
      'get_slot_info 0',
      'get_token_info 0',
      'get_mechanism_info 0 1',
      'get_session_info 1',
      'open_session 0 6',
      'generate_key_pair 1 0x1040 0x3=x 0x3=x',
      'get_object_size 1 1',
      'generate_random 1 8',
      'find_objects 1 16',
      'get_slot_list 16',
    ];
    const { lines } = await suite.calls(script, () => ({ out: Buffer.alloc(3) }));
    assert.deepEqual(
      lines.map((line) => line.split(' ')[0]),
      script.map(() => '0x5'),
    );
  });

  test('asks for a size with NULL and says when a buffer is too small (PKCS#11 v2.40 §5.2)', async () => {
    const { lines, commands } = await suite.calls(
      [
        'sign 1 x01 null',
        'sign 1 x01 10',
        'encrypt_final 1 null',
        'wrap_key 1 0x1081 1 2 null',
        'get_slot_list null',
        'get_slot_list 8',
        'get_mechanism_list 0 0',
      ],
      ({ params }) => ((params[2]?.room ?? 0) < 64 ? tooSmall(64) : { out: Buffer.alloc(64) }),
    );
    assert.deepEqual(lines, [
      '0x0 size=64',
      '0x150 size=64',
      '0x0 size=64',
      '0x0 size=64',
      '0x0 count=16',
      '0x150 count=16',
      '0x150 count=16',
    ]);
    assert.deepEqual(commands.slice(0, 2), ['31 01000000 in:01 out:0', '31 01000000 in:01 out:10']);
  });

  test('leaves sizes alone on other failures, and passes their codes on', async () => {
    const { lines } = await suite.calls(
      [
        'sign 1 x01 10',
        'digest_final 1 null',
        'open_session 0 6',
        'get_slot_list 16',
        'verify 1 x01 x02',
      ],
      () => ({ rv: 0x91, outSize: 64 }),
      ANY_RETURN,
    );
    assert.deepEqual(lines, ['0x91 size=10', '0x91 size=0', '0x91', '0x91 count=2', '0x91']);
  });

  test('reads results of the TEE as libckteec does', async () => {
    const answers: readonly TaAnswer[] = [
      { result: 0xffff000c },
      { result: 0xffff0000 },
      { result: 0xffff000a },
      { ctrl: Buffer.alloc(3) },
      { ctrl: Buffer.alloc(0) },
      { rv: 0xffffffff },
    ];
    let at = 0;
    const { lines } = await suite.calls(
      answers.map(() => 'sign_update 1 x01'),
      () => {
        at += 1;
        return answers[at - 1] ?? {};
      },
      ANY_RETURN,
    );
    assert.deepEqual(lines, ['0x31', '0x5', '0x5', '0x5', '0x5', '0xffffffff']);
  });

  test('tells the TA when bad arguments end an operation', async () => {
    const bad: readonly (readonly [string, number])[] = [
      ['encrypt 3 null*4 16', 23],
      ['encrypt 3 x01 absent', 23],
      ['decrypt 3 null*4 16', 24],
      ['encrypt_update 3 null*4 16', 19],
      ['decrypt_update 3 x01 absent', 20],
      ['encrypt_final 3 absent', 21],
      ['decrypt_final 3 absent', 22],
      ['sign 3 null*1 16', 31],
      ['sign_update 3 null*1', 27],
      ['sign_final 3 absent', 29],
      ['verify 3 null*1 x01', 32],
      ['verify 3 x01 null*1', 32],
      ['verify_update 3 null*1', 28],
      ['verify_final 3 null*1', 30],
      ['digest 3 null*1 16', 49],
      ['digest_update 3 null*1', 47],
      ['digest_final 3 absent', 48],
    ];
    const { lines, commands } = await suite.calls(bad.map(([line]) => line));
    assert.deepEqual(
      lines.map((line) => line.split(' ')[0]),
      bad.map(() => '0x7'),
    );
    assert.deepEqual(
      commands,
      bad.map(([, command]) => `44 03000000${u32(command).toString('hex')} - -`),
    );
  });

  test('refuses NULL where PKCS#11 needs a pointer, and sends nothing', async () => {
    const script = [
      'init encrypt 1 null 1',
      'init digest 1 null',
      'login 1 1 null*4',
      'init_token 0 x31 null',
      'set_pin 1 x31 null*4',
      'find_objects 1 absent',
      'get_slot_list absent',
      'wrap_key 1 0x1081 1 2 absent',
      'unwrap_key 1 0x1081 1 null*4 null',
      'seed_random 1 null*1',
    ];
    const { lines, commands } = await suite.calls(script);
    assert.deepEqual(
      lines,
      script.map(() => '0x7'),
    );
    assert.deepEqual(commands, []);
  });

  test('answers CKR_FUNCTION_NOT_SUPPORTED and _NOT_PARALLEL where the TA has no command', async () => {
    const { lines, commands } = await suite.calls(['unsupported']);
    assert.deepEqual(lines, [
      [...Array.from({ length: 11 }, () => '0x54'), '0x51', '0x51'].join(' '),
    ]);
    assert.deepEqual(commands, []);
  });

  test('serves many threads at once', async () => {
    const { lines } = await suite.calls(['threads 8'], ({ params }) => ({
      out: Buffer.from(params[1]?.bytes ?? []),
    }));
    assert.deepEqual(lines, [' failures=0']);
  });

  test('lets the calls of other threads end before it finalizes', async () => {
    const { lines } = await suite.calls(['threads 8 finalize', 'get_info'], ({ params }) => ({
      out: Buffer.from(params[1]?.bytes ?? []),
    }));
    assert.deepEqual(lines, ['0x0 failures=0', '0x190']);
  });

  test('can be forked while other threads call, and initialized in the child', async () => {
    const { lines } = await suite.calls(['threads 8 fork'], ({ params }) => ({
      out: Buffer.from(params[1]?.bytes ?? []),
    }));
    assert.deepEqual(lines, ['0x190 0x0 status=0 failures=0']);
  });
});
