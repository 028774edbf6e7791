import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { DriverSuite } from './support-tee-drivers.ts';
import {
  HELLO,
  INVOKE,
  OPEN_SESSION,
  answerOperation,
  answerTo,
  plainReply,
  u32,
  type Frame,
  type Reply,
} from './support-tee-fake-world.ts';
import { seeded } from './support-tee-random.ts';
import { ANY_RETURN, taAnswer, taReply, type TaAnswer } from './support-tee-ta-calls.ts';

const CKR_GENERAL_ERROR = '0x5';

describe('Cryptoki and a TA that lies', () => {
  const suite = new DriverSuite('cryptoki-driver');

  const everyCall = [
    'initialize',
    'get_slot_list null',
    'get_slot_list 16',
    'get_mechanism_list 0 null',
    'get_mechanism_list 0 64',
    'get_slot_info 0',
    'get_token_info 0',
    'get_mechanism_info 0 0x1041',
    'open_session 0 6',
    'get_session_info 1',
    'create_object 1 0x0=x0400000000000000',
    'get_object_size 1 1',
    'get_attribute_value 1 1 0x100=8,0x3=5,0x161=null,0x40000600=16,0x11=0,0x40000211=24',
    'find_objects 1 32',
    'generate_key 1 0x1080 null',
    'generate_key_pair 1 0x1040 0x3=x 0x3=x',
    'sign 1 x0102 64',
    'sign 1 x0102 null',
    'encrypt_update 1 x0102 8',
    'digest_final 1 32',
    'wrap_key 1 0x1081 1 2 8',
    'generate_random 1 16',
    'verify 1 x01 x02',
    'finalize',
  ];

  test('survives 600 random answers of the TA to every Cryptoki call that reads one', async () => {
    const random = seeded(2);
    const randomAnswer = (): TaAnswer => ({
      rv: [0, 0, 0, 0x11, 0x12, 0x150, random(0x200)][random(7)] ?? 0,
      ...(random(4) === 0 ? { result: [0xffff0010, 0xffff000c, 0xffff0000][random(3)] ?? 0 } : {}),
      ...(random(8) === 0 ? { ctrl: Buffer.alloc(random(4), 1) } : {}),
      out: Buffer.from(
        Array.from({ length: random(5) === 0 ? 0 : random(120) }, () => random(256)),
      ),
      ...(random(3) === 0 ? { outSize: [0, 4, 8, 0xffffffff, random(200)][random(5)] ?? 0 } : {}),
    });
    suite.world.reply = (asked) => {
      const reply = taReply(randomAnswer)(asked);
      return reply instanceof Buffer ? { raw: answerTo(asked, reply) } : reply;
    };
    const script = Array.from({ length: 25 }, () => everyCall).flat();
    const { lines } = await suite.run(script, ANY_RETURN);
    assert.equal(lines.length, script.length);
    assert.ok(lines.every((line) => /^0x[0-9a-f]+/.test(line)));
  });

  test('survives a TA that echoes each template with lengths of its own', async () => {
    const random = seeded(3);
    suite.world.reply = taReply(({ params }) => {
      const template = Buffer.from(params[0]?.bytes.subarray(8) ?? []);
      const attributes = [0x100, 0x3, 0x161, 0x40000600];
      for (let at = 8, index = 0; at + 8 <= template.length; index += 1) {
        const room = template.readUInt32LE(at + 4);
        assert.equal(template.readUInt32LE(at), attributes[index]);
        template.writeUInt32LE([0, 1, 4, room, room + 1, 64, 0xffffffff][random(7)] ?? 0, at + 4);
        at += 8 + room;
      }
      return { rv: [0, 0x11, 0x12, 0x150][random(4)] ?? 0, out: template };
    });
    const wanted = '0x100=8,0x3=5,0x161=null,0x40000600=16';
    const calls = Array.from({ length: 300 }, () => `get_attribute_value 1 1 ${wanted}`);
    const { lines } = await suite.run(['initialize', ...calls, 'finalize'], ANY_RETURN);
    assert.equal(lines.length, 302);
    assert.equal(new Set(lines.map((line) => line.split(' ')[0])).size > 3, true);
  });

  test('lets Cryptoki callers see a dead target as CKR_GENERAL_ERROR until they start again', async () => {
    let alive = false;
    suite.world.reply = (asked) => {
      if (asked.opcode === HELLO) alive = !alive || asked.connection === 1;
      if (asked.opcode === INVOKE && !alive) return 'close';
      const reply = taReply(() => ({ out: u32(1) }))(asked);
      if (asked.connection === 0 && asked.payload.readUInt32LE(4) === 6) return 'close';
      return reply;
    };
    const { lines } = await suite.run([
      'initialize',
      'open_session 0 6',
      'get_slot_list null',
      'finalize',
      'initialize',
      'open_session 0 6',
    ]);
    assert.deepEqual(lines, [
      '0x0',
      CKR_GENERAL_ERROR,
      CKR_GENERAL_ERROR + ' count=0',
      '0x0',
      '0x0',
      '0x0 handle=1',
    ]);
  });

  const starts: readonly (readonly [string, (asked: Frame) => Reply])[] = [
    [
      'is missing',
      (asked) => (asked.opcode === OPEN_SESSION ? u32(0xffff0008, 3, 0, 0) : plainReply(asked)),
    ],
    [
      'panics',
      (asked) =>
        asked.opcode === INVOKE
          ? Buffer.concat([u32(0xffff3024, 3), answerOperation(asked)])
          : plainReply(asked),
    ],
    [
      'is of version 2',
      (asked) =>
        asked.opcode === INVOKE ? taAnswer(asked, { out: u32(2, 0, 0) }) : plainReply(asked),
    ],
    [
      'has half a version',
      (asked) => (asked.opcode === INVOKE ? taAnswer(asked, { out: u32(1) }) : plainReply(asked)),
    ],
  ];
  for (const [what, reply] of starts) {
    test(`does not start on a TA that ${what}`, async () => {
      suite.world.reply = reply;
      const { lines } = await suite.run(['initialize', 'get_slot_list null'], {
        OTA_TEE_QUIET: '1',
      });
      assert.deepEqual(lines, [CKR_GENERAL_ERROR, '0x190 count=0']);
    });
  }
});
