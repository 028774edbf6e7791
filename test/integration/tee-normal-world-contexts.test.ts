import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { temporaryDirectory } from '../support/temporary.ts';
import { DriverSuite, runDriver, type Run } from './support-tee-drivers.ts';
import {
  CANCEL,
  CLOSE_SESSION,
  HELLO,
  INVOKE,
  OPEN_SESSION,
  answerOperation,
  answerTo,
  plainReply,
  readParams,
  u32,
  type Frame,
  type Reply,
} from './support-tee-fake-world.ts';

const SUCCESS = '0x00000000';
const GENERIC = '0xffff0000';
const CANCEL_RESULT = '0xffff0002';
const BAD_PARAMETERS = '0xffff0006';
const ITEM_NOT_FOUND = '0xffff0008';
const TARGET_DEAD = '0xffff3024';
const OPEN = ['initialize 0', 'open 0 0 0 null'];

describe('contexts and sessions of libteec', () => {
  const suite = new DriverSuite('teec-driver');
  const run = (...script: readonly string[]): Promise<Run> => suite.run(script);
  const replyToInvoke = (reply: (asked: Frame) => Reply): void => {
    suite.world.reply = (asked) => (asked.opcode === INVOKE ? reply(asked) : plainReply(asked));
  };

  const group = process.getegid?.() ?? 0;
  const accepted: readonly (readonly [string, Buffer])[] = [
    ['0 null', u32(0, 0)],
    ['1 null', u32(1, 0)],
    [`2 ${String(group)}`, u32(2, group)],
  ];
  for (const [login, sent] of accepted) {
    test(`opens a session with login and data ${login} (§4.4.6)`, async () => {
      const { lines } = await run('initialize 0', `open 0 0 ${login}`);
      assert.equal(lines[1], `${SUCCESS} origin=4`);
      assert.equal(suite.sent(OPEN_SESSION)[0]?.slice(2 * 28, 2 * 36), sent.toString('hex'));
    });
  }

  const refused: readonly (readonly [string, string, string])[] = [
    ['a group that the process is not in', '2 0xfedcba98', `${GENERIC} origin=2`],
    [
      'an application, which Linux cannot tell from another',
      '4 null',
      `${BAD_PARAMETERS} origin=2`,
    ],
    ['an application of a user', '5 null', `${BAD_PARAMETERS} origin=2`],
    ['an application of a group', `6 ${String(group)}`, `${BAD_PARAMETERS} origin=2`],
    ['a group without its number', '2 null', `${BAD_PARAMETERS} origin=1`],
    ['the public with a number', '0 5', `${BAD_PARAMETERS} origin=1`],
    ['a user with a number', '1 5', `${BAD_PARAMETERS} origin=1`],
    ['login method 3', '3 null', `${BAD_PARAMETERS} origin=1`],
    ['login method 7', '7 null', `${BAD_PARAMETERS} origin=1`],
  ];
  for (const [what, login, expected] of refused) {
    test(`opens no session for ${what} and sends nothing (§4.4.6)`, async () => {
      const { lines } = await run('initialize 0', `open 0 0 ${login}`, 'close 0');
      assert.deepEqual(lines.slice(1), [expected, 'done']);
      assert.deepEqual(suite.sent(OPEN_SESSION), []);
    });
  }

  test('gives result, origin and parameters of a session that is not opened', async () => {
    suite.world.reply = (asked) =>
      asked.opcode === OPEN_SESSION
        ? Buffer.concat([u32(0xffff0008, 3, 0), answerOperation(asked, [{ bytes: u32(1, 2) }])])
        : plainReply(asked);
    const { lines } = await run('initialize 0', 'open 0 0 0 null value-out:0:0', 'close 0');
    assert.deepEqual(lines.slice(1), [`${ITEM_NOT_FOUND} origin=3 0=1/2`, 'done']);
    assert.deepEqual(suite.sent(CLOSE_SESSION), []);
  });

  test('passes on what a dead TA instance answers, and keeps its connection', async () => {
    let calls = 0;
    replyToInvoke((asked) => {
      calls += 1;
      return calls === 1 ? u32(0xffff3024, 3, 0) : plainReply(asked);
    });
    const { lines } = await run(...OPEN, 'invoke 0 1', 'invoke 0 1');
    assert.deepEqual(lines.slice(2), [`${TARGET_DEAD} origin=3`, `${SUCCESS} origin=4`]);
  });

  test('keeps several contexts apart', async () => {
    const { lines } = await run(
      'initialize 0',
      'initialize 1',
      'open 0 0 0 null',
      'open 1 1 0 null',
      'invoke 1 1',
      'invoke 0 1',
      'close 0',
      'finalize 0',
      'invoke 1 1',
      'finalize 1',
    );
    assert.equal(lines.at(-2), `${SUCCESS} origin=4`);
    assert.deepEqual(
      suite.world.frames
        .filter(({ opcode }) => opcode === INVOKE)
        .map(({ connection }) => connection),
      [1, 0, 1],
    );
  });

  test('answers calls on a closed session and a finalized context itself', async () => {
    const { lines } = await run(
      ...OPEN,
      'close 0',
      'close 0',
      'invoke_bare 0 1',
      'finalize 0',
      'finalize 0',
      'open 0 0 0 null',
    );
    assert.deepEqual(lines.slice(2), [
      'done',
      'done',
      BAD_PARAMETERS,
      'done',
      'done',
      `${BAD_PARAMETERS} origin=1`,
    ]);
    assert.equal(suite.world.frames.length, 3);
  });

  test('keeps the answers of many threads on one connection apart', async () => {
    replyToInvoke((asked) => {
      const [value] = readParams(asked);
      const swapped = Buffer.from(value?.bytes ?? [])
        .swap64()
        .swap32();
      return Buffer.concat([u32(0, 4), answerOperation(asked, [{ bytes: swapped }])]);
    });
    const { lines } = await run(...OPEN, 'open 1 0 0 null', 'threads 8');
    assert.equal(lines.at(-1), 'failures=0');
    assert.equal(suite.sent(INVOKE).length, 1600);
  });

  test('leaves no descriptor to programs that are executed', async () => {
    const { lines } = await run('inherited', ...OPEN, 'inherited');
    assert.equal(lines.at(-1), lines[0]);
  });

  test('takes an answer that arrives byte by byte', async () => {
    replyToInvoke((asked) => ({
      byteByByte: Buffer.concat([u32(0, 4), answerOperation(asked, [{ bytes: u32(5, 6) }])]),
    }));
    const { lines } = await run(...OPEN, 'invoke 0 1 value-out:0:0');
    assert.equal(lines.at(-1), `${SUCCESS} origin=4 0=5/6`);
  });

  test('is not disturbed by signals, in calls that take many of them', async () => {
    const size = 4 * 1024 * 1024;
    replyToInvoke((asked) => {
      const left = readParams(asked).map(({ bytes }) => ({ bytes: Buffer.from(bytes).fill(1) }));
      return Buffer.concat([u32(0, 4), answerOperation(asked, left)]);
    });
    const call = `invoke 0 1 whole:3:allocate:${String(size)}`;
    const { lines } = await run(...OPEN, 'alarms', call, call, call, 'count_alarms');
    const answer = `${SUCCESS} origin=4 0.size=${String(size)} 0=x01*${String(size)}`;
    assert.deepEqual(lines.slice(2), ['done', answer, answer, answer, 'some']);
  });

  test('cancels what is in progress, and what waits for its turn once it is sent', async () => {
    const waiting = new Map<number, Frame>();
    suite.world.reply = (asked) => {
      if (asked.opcode === INVOKE) waiting.set(asked.request, asked);
      if (asked.opcode === INVOKE) return 'say nothing';
      const cancelled = waiting.get(asked.payload.readUInt32LE(0));
      if (asked.opcode !== CANCEL || cancelled === undefined) return plainReply(asked);
      return { raw: answerTo(cancelled, u32(0xffff0002, 4, 0)) };
    };
    const { lines } = await run(...OPEN, 'cancel 0');
    assert.equal(lines.at(-1), '0xffff0002 0xffff0002');
    const [first = 0, second = 0] = waiting.keys();
    // Once each, however often it is asked for, and never for what is not in progress.
    assert.deepEqual(
      suite.world.frames
        .slice(2)
        .map(({ opcode, payload }) => [
          opcode,
          opcode === CANCEL ? payload.readUInt32LE(0) : 'command 9',
        ]),
      [
        [INVOKE, 'command 9'],
        [CANCEL, first],
        [INVOKE, 'command 9'],
        [CANCEL, second],
      ],
    );
  });

  test('answers an operation that was cancelled before it began, and sends the next (§4.3.7)', async () => {
    const { lines } = await run(...OPEN, 'cancel_before 0');
    assert.equal(lines.at(-1), `${CANCEL_RESULT} origin=1 ${SUCCESS} ${SUCCESS}`);
    assert.deepEqual(
      suite.world.frames.slice(2).map(({ opcode }) => opcode),
      [INVOKE, INVOKE],
    );
  });

  test('gives a forked child TARGET_DEAD on what it inherited, and a context of its own', async () => {
    const { lines } = await run(...OPEN, 'fork 0', 'invoke 0 2');
    assert.deepEqual(lines.slice(2), [
      `sockets=0 ${TARGET_DEAD} origin=2 ${SUCCESS} status=0`,
      `${SUCCESS} origin=4`,
    ]);
    // The child says HELLO on a connection of its own; the parent's sees nothing of it.
    assert.deepEqual(
      suite.world.frames.map(({ connection, opcode }) => [connection, opcode]),
      [
        [0, HELLO],
        [0, OPEN_SESSION],
        [1, HELLO],
        [0, INVOKE],
      ],
    );
  });

  test('knows a child that no fork handler saw by its process number', async () => {
    const { lines } = await run(...OPEN, 'fork 0 bare', 'invoke 0 2');
    assert.deepEqual(lines.slice(2), [
      `sockets=1 ${TARGET_DEAD} origin=2 ${SUCCESS} status=0`,
      `${SUCCESS} origin=4`,
    ]);
  });

  test('answers ITEM_NOT_FOUND without a TEE and says once which socket and why', async () => {
    const directory = temporaryDirectory('no-tee');
    const script = ['initialize 0', 'initialize 1'];
    const start = async (path: string, env = {}): Promise<Run> =>
      runDriver('teec-driver', 'sanitized', script, { env: { OTA_TEE_SOCKET: path, ...env } });
    try {
      const missing = join(directory.path, 'missing');
      const absent = await start(missing);
      assert.deepEqual(absent.lines, [ITEM_NOT_FOUND, ITEM_NOT_FOUND]);
      assert.equal(absent.stderr.split('\n').length, 2);
      assert.ok(absent.stderr.includes(`${missing}: No such file or directory`));
      const long = await start(`/tmp/${'x'.repeat(200)}`);
      assert.deepEqual(long.lines, [ITEM_NOT_FOUND, ITEM_NOT_FOUND]);
      assert.ok(long.stderr.includes('File name too long'));
      const quiet = await start(missing, { OTA_TEE_QUIET: '1' });
      assert.deepEqual([quiet.lines, quiet.stderr], [[ITEM_NOT_FOUND, ITEM_NOT_FOUND], '']);
      writeFileSync(missing, '');
      const deserted = await start(missing);
      assert.ok(deserted.stderr.includes(`${missing}: Connection refused`));
    } finally {
      directory.remove();
    }
  });

  test('knows its TEE by name', async () => {
    const { lines } = await run('initialize 0 optee-tz', 'finalize 0', 'initialize 0 another');
    assert.deepEqual(lines, [SUCCESS, 'done', ITEM_NOT_FOUND]);
  });
});
