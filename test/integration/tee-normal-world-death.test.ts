import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { DriverSuite } from './support-tee-drivers.ts';
import {
  HELLO,
  INVOKE,
  OPEN_SESSION,
  answerOperation,
  answerTo,
  frame,
  plainReply,
  u32,
  type Frame,
  type Reply,
} from './support-tee-fake-world.ts';
import { seeded } from './support-tee-random.ts';

const SUCCESS = '0x00000000';
const TARGET_DEAD = '0xffff3024';
const QUIET = { OTA_TEE_QUIET: '1' };
const DEAD = `${TARGET_DEAD} origin=2`;

describe('libteec and a secure world that fails', () => {
  const suite = new DriverSuite('teec-driver');
  const replyTo = (opcode: number, reply: (asked: Frame) => Reply): void => {
    suite.world.reply = (asked) => (asked.opcode === opcode ? reply(asked) : plainReply(asked));
  };

  test('answers TARGET_DEAD to the call in progress and to every later one, without a frame', async () => {
    replyTo(INVOKE, () => 'close');
    const { lines } = await suite.run([
      'initialize 0',
      'open 0 0 0 null',
      'invoke 0 1',
      'invoke 0 2',
      'open 1 0 0 null',
      'close 0',
      'finalize 0',
      'initialize 0',
      'open 0 0 0 null',
    ]);
    assert.deepEqual(lines.slice(2), [
      DEAD,
      DEAD,
      DEAD,
      'done',
      'done',
      SUCCESS,
      `${SUCCESS} origin=4`,
    ]);
    assert.deepEqual(
      suite.world.frames.map(({ connection, opcode }) => [connection, opcode]),
      [
        [0, HELLO],
        [0, OPEN_SESSION],
        [0, INVOKE],
        [1, HELLO],
        [1, OPEN_SESSION],
      ],
    );
  });

  test('survives a target that dies while it is sent a request, without SIGPIPE', async () => {
    suite.world.maxFrameBytes = 100_000;
    const size = 4 * 1024 * 1024;
    const { lines } = await suite.run([
      'initialize 0',
      'open 0 0 0 null',
      `invoke 0 1 whole:1:allocate:${String(size)}`,
      'invoke 0 1',
    ]);
    assert.deepEqual(lines.slice(2), [`${DEAD} 0.size=0 0=x00*${String(size)}`, DEAD]);
  });

  test('has no context when HELLO is answered with another version, too much, or not at all', async () => {
    const hellos: readonly Reply[] = [u32(2), u32(1, 1), Buffer.alloc(0), 'close'];
    for (const hello of hellos) {
      replyTo(HELLO, () => hello);
      const { lines } = await suite.run(['initialize 0', 'open 0 0 0 null'], QUIET);
      assert.deepEqual(lines, [TARGET_DEAD, '0xffff0006 origin=1']);
    }
  });

  const operation = 'temp-out:x1122 value-out:8:9';
  const untouched = '0.size=2 0=x1122 1=8/9';
  const left = [{ bytes: Buffer.from('3344', 'hex') }, { bytes: u32(1, 2) }];
  const good = (asked: Frame): Buffer => Buffer.concat([u32(0, 4), answerOperation(asked, left)]);
  /** The good answer with the 32-bit number at `offset` of the frame replaced. */
  const patched =
    (offset: number, value: number) =>
    (asked: Frame): Reply => {
      const raw = Buffer.from(answerTo(asked, good(asked)));
      raw.writeUInt32LE(value >>> 0, offset);
      return { raw, then: 'end' };
    };
  const outOfProtocol: readonly (readonly [string, (asked: Frame) => Reply])[] = [
    ['a length of 4 GiB', patched(0, 0xffffffff)],
    ['a length beyond any answer to this request', patched(0, 100)],
    ['a length that promises more than comes', patched(0, 35)],
    ['another request number', patched(4, 0x7fffffff)],
    ['another opcode', patched(8, 0x8002)],
    ['a request for an answer', patched(8, INVOKE)],
    ['a header that ends in something', patched(8, 0x00018004)],
    ['other parameter types', patched(20, 0x25)],
    ['more bytes than the size says', patched(24, 1)],
    ['fewer bytes than the size says', patched(28, 1)],
    ['a count of 4 GiB', patched(28, 0xffffffff)],
    ['bytes for a size that does not fit', patched(24, 3)],
    ['nothing', (asked) => ({ raw: answerTo(asked, Buffer.alloc(0)) })],
    [
      'half an answer',
      (asked) => ({ raw: answerTo(asked, good(asked)).subarray(0, 30), then: 'end' }),
    ],
    ['a byte too many', (asked) => Buffer.concat([good(asked), Buffer.alloc(1)])],
    [
      'two answers',
      (asked) => ({
        raw: Buffer.concat([answerTo(asked, good(asked)), answerTo(asked, good(asked))]),
      }),
    ],
    [
      'a header alone',
      (asked) => ({ raw: frame(asked.request, 0x8004, good(asked)).subarray(0, 12), then: 'end' }),
    ],
  ];
  for (const [what, reply] of outOfProtocol) {
    test(`takes ${what} for the end of the target and leaves the caller's memory alone`, async () => {
      replyTo(INVOKE, reply);
      const { lines } = await suite.run([
        'initialize 0',
        'open 0 0 0 null',
        `invoke 0 1 ${operation}`,
        'invoke 0 1',
      ]);
      assert.deepEqual(lines.slice(2), [`${DEAD} ${untouched}`, DEAD]);
      assert.equal(suite.world.frames.filter(({ opcode }) => opcode === INVOKE).length, 1);
    });
  }

  test('takes the good answer that those are made of', async () => {
    replyTo(INVOKE, good);
    const { lines } = await suite.run([
      'initialize 0',
      'open 0 0 0 null',
      `invoke 0 1 ${operation}`,
    ]);
    assert.equal(lines[2], `${SUCCESS} origin=4 0.size=2 0=x3344 1=1/2`);
  });

  for (const [what, result, session] of [
    ['an open session without a number', 0, 0],
    ['a number for a session that is not open', 0xffff0001, 7],
  ] as const) {
    test(`takes ${what} for the end of the target`, async () => {
      replyTo(OPEN_SESSION, () => u32(result, 4, session, 0));
      const { lines } = await suite.run(['initialize 0', 'open 0 0 0 null', 'close 0']);
      assert.deepEqual(lines, [SUCCESS, DEAD, 'done']);
    });
  }

  test('survives 400 mutated answers without a crash, a hang or a leak', async () => {
    const random = seeded(1);
    suite.world.reply = (asked) => {
      const whole = plainReply(asked);
      if (!(whole instanceof Buffer) || random(3) === 0) return whole;
      const raw = Buffer.from(answerTo(asked, whole));
      for (let flips = random(4); flips >= 0; flips -= 1) raw[random(raw.length)] = random(256);
      return {
        raw: raw.subarray(0, random(4) === 0 ? random(raw.length) : raw.length),
        then: 'end',
      };
    };
    const params = 'temp-out:x0102030405060708 temp-inout:x01020304 value-inout:1:2 temp-out:x';
    const round = [
      'initialize 0',
      `open 0 0 0 null ${params}`,
      `invoke 0 1 ${params}`,
      'close 0',
      'finalize 0',
    ];
    const { lines } = await suite.run(Array.from({ length: 400 }, () => round).flat(), QUIET);
    assert.equal(lines.length, 2000);
    assert.ok(lines.every((line) => /^(done|0x[0-9a-f]{8})/.test(line)));
    assert.ok(lines.includes(DEAD.slice(0, 10)) && lines.includes(SUCCESS));
  });
});
