import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import { DriverSuite, type Run } from './support-tee-drivers.ts';
import {
  CLOSE_SESSION,
  HELLO,
  INVOKE,
  OPEN_SESSION,
  answerOperation,
  plainReply,
  readParams,
  u32,
  type Frame,
  type Reply,
} from './support-tee-fake-world.ts';

const SUCCESS = '0x00000000';
const BAD_PARAMETERS = '0xffff0006';
const OUT_OF_MEMORY = '0xffff000c';
const SHORT_BUFFER = '0xffff0010';
const OPEN = ['initialize 0', 'open 0 0 0 null'];

describe('calls through libteec', () => {
  const suite = new DriverSuite('teec-driver');
  const run = (...script: readonly string[]): Promise<Run> => suite.run(script);
  /** What `invoke 0 1 PARAMS` prints in session 0 of context 0. */
  const invoke = async (params: string): Promise<string | undefined> => {
    const { lines } = await run(...OPEN, `invoke 0 1 ${params}`);
    return lines.at(-1);
  };
  const replyToInvoke = (reply: (asked: Frame) => Reply): void => {
    suite.world.reply = (asked) => (asked.opcode === INVOKE ? reply(asked) : plainReply(asked));
  };

  test('says HELLO with its version, process, user and groups (WIRE.md, opcode 1)', async () => {
    await run('initialize 0', 'finalize 0');
    const [hello] = suite.world.frames;
    assert.ok(hello);
    const status = readFileSync('/proc/self/status', 'utf8');
    const groups = (/^Groups:(.*)$/m.exec(status)?.[1]?.match(/\d+/g) ?? []).map(Number);
    const identity = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0, groups.length, ...groups];
    const expected = u32(1, hello.payload.readUInt32LE(4), ...identity);
    assert.deepEqual(hello.bytes, Buffer.concat([u32(expected.length, 1, HELLO), expected]));
    assert.equal(suite.world.frames.length, 1);
  });

  test('sends OPEN_SESSION, INVOKE and CLOSE_SESSION byte for byte (WIRE.md)', async () => {
    await run(
      'initialize 0',
      `open 0 0 2 ${String(process.getegid?.())} value-in:1:2`,
      'invoke 0 0x1234 none temp-in:x0a0b temp-out:x0000 value-inout:3:4',
      'close 0',
      'finalize 0',
    );
    // Each line is a header or a group of fields of the page.
    assert.deepEqual(suite.sent(OPEN_SESSION), [
      '24000000' +
        '02000000' +
        '0200' +
        '0000' +
        '0102030405060708090a0b0c0d0e0f10' +
        '02000000' +
        u32(process.getegid?.() ?? 0).toString('hex') +
        '01000000' +
        '01000000' +
        '02000000',
    ]);
    assert.deepEqual(suite.sent(INVOKE), [
      '26000000' +
        '03000000' +
        '0400' +
        '0000' +
        '07000000' +
        '34120000' +
        '50360000' +
        '01000000' +
        '02000000' +
        '0a0b' +
        '01000000' +
        '02000000' +
        '03000000' +
        '04000000',
    ]);
    assert.deepEqual(suite.sent(CLOSE_SESSION), [
      '04000000' + '04000000' + '0300' + '0000' + '07000000',
    ]);
  });

  test('gives the outputs of every parameter type back to the caller (§4.3)', async () => {
    replyToInvoke((asked) =>
      Buffer.concat([
        u32(0, 4),
        answerOperation(asked, [
          { bytes: u32(5, 6) },
          { bytes: u32(7, 8) },
          { bytes: Buffer.from('0102', 'hex') },
          { bytes: Buffer.from('030405', 'hex') },
        ]),
      ]),
    );
    assert.equal(
      await invoke('value-out:0:0 value-inout:1:2 temp-out:x00000000 temp-inout:xaabbcc'),
      `${SUCCESS} origin=4 0=5/6 1=7/8 2.size=2 2=x01020000 3.size=3 3=x030405`,
    );
    assert.deepEqual(suite.sent(INVOKE), [
      '27000000' +
        '03000000' +
        '0400' +
        '0000' +
        '07000000' +
        '01000000' +
        '32760000' +
        '01000000' +
        '02000000' +
        '01000000' +
        '04000000' +
        '01000000' +
        '03000000' +
        'aabbcc',
    ]);
  });

  test('tells a null reference from an empty one (WIRE.md, present)', async () => {
    await invoke('temp-in:null*5 temp-in:x temp-out:null temp-inout:x');
    const params = suite.sent(INVOKE)[0]?.slice(2 * 24);
    assert.equal(
      params,
      '00000000' +
        '00000000' +
        '01000000' +
        '00000000' +
        '00000000' +
        '00000000' +
        '01000000' +
        '00000000',
    );
  });

  test('sends whole and partial registered memory in its directions', async () => {
    replyToInvoke((asked) => {
      const left = readParams(asked).map(({ room }) => ({ bytes: Buffer.alloc(room, 0xff) }));
      return Buffer.concat([u32(0, 4), answerOperation(asked, left)]);
    });
    const line = await invoke(
      'whole:1:x0102 whole:2:x0304 part-out:1:2:3:x05060708 part-inout:2:1:3:x090a0b0c',
    );
    assert.equal(
      line,
      `${SUCCESS} origin=4 0.size=0 0=x0102 1.size=2 1=xffff 2.size=2 2=x05ffff08 3.size=1 3=x090aff0c`,
    );
    assert.equal(
      suite.sent(INVOKE)[0]?.slice(2 * 20),
      '65760000' +
        '01000000' +
        '02000000' +
        '0102' +
        '01000000' +
        '02000000' +
        '01000000' +
        '02000000' +
        '01000000' +
        '01000000' +
        '0b',
    );
  });

  test('reports the size that a TA asks for and touches no buffer (TEEC_ERROR_SHORT_BUFFER)', async () => {
    replyToInvoke((asked) =>
      Buffer.concat([
        u32(0xffff0010, 4),
        answerOperation(asked, [{ bytes: Buffer.alloc(0), size: 99 }]),
      ]),
    );
    assert.equal(
      await invoke('temp-out:x1122 temp-in:x00'),
      `${SHORT_BUFFER} origin=4 0.size=99 0=x1122 1.size=1 1=x00`,
    );
  });

  test('registers and allocates memory of size 0, and releases it twice', async () => {
    assert.equal(
      await invoke('whole:1:x whole:2:allocate:0 whole:3:allocate:3'),
      `${SUCCESS} origin=4 0.size=0 0=x 1.size=0 1=x 2.size=0 2=x000000`,
    );
  });

  test('registers memory of any protection', async () => {
    const { lines } = await run(...OPEN, 'protections 0 3');
    assert.equal(lines.at(-1), `${SUCCESS} ${SUCCESS} ${SUCCESS}`);
  });

  const refusals: readonly (readonly [string, string, string])[] = [
    ['a part beyond its parent', 'part-in:3:2:1:x01020304', `${BAD_PARAMETERS} origin=1`],
    [
      'an offset that overflows',
      'part-in:0xffffffffffffffff:2:1:x01',
      `${BAD_PARAMETERS} origin=1`,
    ],
    ['a direction its parent lacks', 'part-out:0:1:1:x01', `${BAD_PARAMETERS} origin=1`],
    [
      'memory without a direction',
      'whole:0:x01',
      `memory=${BAD_PARAMETERS} ${BAD_PARAMETERS} origin=1`,
    ],
    ['an unknown direction', 'whole:5:x01', `memory=${BAD_PARAMETERS} ${BAD_PARAMETERS} origin=1`],
    ['a null block', 'whole:1:null', `memory=${BAD_PARAMETERS} ${BAD_PARAMETERS} origin=1`],
    ['an unknown type', 'type4', `${BAD_PARAMETERS} origin=1`],
    ['another unknown type', 'none type8', `${BAD_PARAMETERS} origin=1`],
  ];
  for (const [what, params, expected] of refusals) {
    test(`refuses ${what} and sends nothing`, async () => {
      assert.ok((await invoke(params))?.startsWith(expected));
      assert.deepEqual(suite.sent(INVOKE), []);
    });
  }

  test('refuses what no frame can hold, and goes on', async () => {
    const { lines } = await run(
      ...OPEN,
      `invoke 0 1 whole:1:allocate:${String(16 * 1024 * 1024)}`,
      `invoke 0 1 whole:2:allocate:${String(16 * 1024 * 1024)}`,
      'invoke_bare 0 2',
    );
    assert.match(lines[2] ?? '', new RegExp(`^${OUT_OF_MEMORY} origin=1`));
    assert.match(lines[3] ?? '', new RegExp(`^${OUT_OF_MEMORY} origin=1`));
    assert.equal(lines[4], SUCCESS);
  });

  test('carries 15 MiB in and out of one call', async () => {
    const size = 15 * 1024 * 1024;
    replyToInvoke((asked) => {
      const [param] = readParams(asked);
      const bytes = Buffer.from(param?.bytes ?? []).fill(0x5a);
      return Buffer.concat([u32(0, 4), answerOperation(asked, [{ bytes }])]);
    });
    const line = await invoke(`whole:3:allocate:${String(size)}`);
    assert.equal(line, `${SUCCESS} origin=4 0.size=${String(size)} 0=x5a*${String(size)}`);
  });
});
