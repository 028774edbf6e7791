import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { Memory, type Operation } from '../../tee/secure-world/world/operation.ts';
import {
  decodeRequest,
  encodeAnswer,
  encodeOperation,
  FrameSplitter,
  MAX_BODY_BYTES,
  u32s,
  WireReader,
  type Frame,
} from '../../tee/secure-world/world/wire.ts';
import * as client from './wire-client.ts';

const UUID = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';
const IN_OUT: client.WireParameter = { type: 7, bytes: Buffer.from('aabbcc', 'hex') };
const NULL_INPUT: client.WireParameter = { type: 5, bytes: Buffer.alloc(0), isNull: true };
const NULL_OUTPUT: client.WireParameter = { type: 6, size: 0, isNull: true };

/** Worked out by hand from WIRE.md, and what the test's own client makes of the same request. */
const REQUESTS = {
  hello: [
    '1c000000 01000000 0100 0000 01000000 d2040000 e8030000 e9030000 02000000 04000000 1b000000',
    client.hello(1, { pid: 1234, uid: 1000, gid: 1001, groups: [4, 27] }),
  ],
  open: [
    '1c000000 02000000 0200 0000 fd02c9da306c48c7a49cbbd827ae86ee 02000000 1b000000 00000000',
    client.openSession(2, { uuid: UUID, login: client.GROUP, loginData: 27 }),
  ],
  close: ['04000000 03000000 0300 0000 07000000', client.closeSession(3, 7)],
  invoke: [
    '2f000000 04000000 0400 0000 07000000 0d000000 57610000 01000000 03000000 aabbcc ' +
      '00000000 00000000 05000000 06000000 00000000 00000000',
    client.invoke(4, 7, 13, [IN_OUT, NULL_INPUT, { type: 1, a: 5, b: 6 }, NULL_OUTPUT]),
  ],
  cancel: ['04000000 05000000 0500 0000 04000000', client.cancel(5, 4)],
} as const;

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

function onlyFrame(bytes: Uint8Array): Frame {
  const [frame, ...rest] = new FrameSplitter().push(bytes) ?? [];
  assert.ok(frame);
  assert.equal(rest.length, 0);
  return frame;
}

function decoded(name: keyof typeof REQUESTS): ReturnType<typeof decodeRequest> {
  return decodeRequest(onlyFrame(bytesOf(REQUESTS[name][0])));
}

test('the client of these tests makes the bytes that WIRE.md says (opcodes)', () => {
  for (const [hex, made] of Object.values(REQUESTS)) assert.deepEqual(made, bytesOf(hex));
});

test('parses every request of WIRE.md from its literal bytes (opcodes)', () => {
  const credentials = { pid: 1234, uid: 1000, gid: 1001, groups: [4, 27] };
  assert.deepEqual(decoded('hello'), { at: 'hello', version: 1, credentials });
  const none = { kind: 'none' } as const;
  assert.deepEqual(decoded('open'), {
    at: 'open',
    uuid: UUID,
    login: 2,
    loginData: 27,
    operation: { types: 0, parameters: [none, none, none, none] },
  });
  assert.deepEqual(decoded('close'), { at: 'close', session: 7 });
  assert.deepEqual(decoded('cancel'), { at: 'cancel', request: 4 });
  const invoke = decoded('invoke');
  assert.equal(invoke?.at, 'invoke');
  assert.deepEqual([invoke.session, invoke.command, invoke.operation.types], [7, 13, 0x6157]);
  const [first, second, third, fourth] = invoke.operation.parameters;
  assert.ok(first instanceof Memory && second instanceof Memory && fourth instanceof Memory);
  assert.deepEqual([...first.input], [0xaa, 0xbb, 0xcc]);
  assert.deepEqual([first.isNull, first.capacityBytes], [false, 3]);
  assert.deepEqual([second.isNull, second.capacityBytes], [true, 0]);
  assert.deepEqual(third, { kind: 'value', a: 5, b: 6 });
  assert.deepEqual([fourth.isNull, fourth.capacityBytes], [true, 0]);
});

test('answers with the same number, bit 15 set and what the TA left in each parameter', () => {
  const control = new Memory(Buffer.from('aabbcc', 'hex'), 3, false);
  const filled = new Memory(Buffer.alloc(0), 4, false);
  const short = new Memory(Buffer.alloc(0), 1, false);
  control.fill(Buffer.from('11', 'hex'));
  filled.fill(Buffer.from('2233', 'hex'));
  short.fill(Buffer.from('4455', 'hex'));
  const operation: Operation = {
    types: 0x3667,
    parameters: [control, filled, short, { kind: 'value', a: 8, b: 9 }],
  };

  const answer = encodeAnswer(
    { request: 4, opcode: 4, body: Buffer.alloc(0) },
    u32s(0xffff0010, 4),
    encodeOperation(operation),
  );

  assert.deepEqual(
    answer,
    bytesOf(
      '2f000000 04000000 0480 0000 1000ffff 04000000 67360000 ' +
        '01000000 01000000 11 02000000 02000000 2233 02000000 00000000 08000000 09000000',
    ),
  );
});

test('memory that a TA leaves alone reads back as it was sent, output memory as zeros', () => {
  const operation: Operation = {
    types: 0x0067,
    parameters: [
      new Memory(Buffer.from('aabb', 'hex'), 2, false),
      new Memory(Buffer.alloc(0), 3, false),
      { kind: 'none' },
      { kind: 'none' },
    ],
  };

  assert.deepEqual(client.readOutputs(encodeOperation(operation)), [
    { size: 2, bytes: Buffer.from('aabb', 'hex') },
    { size: 3, bytes: Buffer.alloc(3) },
  ]);
});

test('a frame that is longer than 16 MiB ends the connection before it is received (Frame)', () => {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(MAX_BODY_BYTES + 1, 0);

  assert.equal(new FrameSplitter().push(header), undefined);
  header.writeUInt32LE(MAX_BODY_BYTES, 0);
  assert.deepEqual(new FrameSplitter().push(header), []);
});

test('a header whose reserved bytes are not zero ends the connection (Frame)', () => {
  const header = client.closeSession(1, 1);
  header.writeUInt16LE(1, 10);

  assert.equal(new FrameSplitter().push(header), undefined);
});

const MALFORMED: readonly (readonly [string, Buffer])[] = [
  ['an opcode that does not exist', client.frame(1, 6, Buffer.alloc(0))],
  ['an answer', client.frame(1, 0x8001, client.words(1))],
  ['bytes after the last field', client.frame(1, 3, client.words(1, 2))],
  ['a field that is cut short', client.frame(1, 3, Buffer.alloc(3))],
  ['fewer groups than their number', client.frame(1, 1, client.words(1, 1, 0, 0, 2, 4))],
  ['more groups than a process can have', client.frame(1, 1, client.words(1, 1, 0, 0, 65537))],
  ['a parameter type that does not exist', invokeOf(client.words(4))],
  ['types of a fifth parameter', invokeOf(client.words(0x1_0000))],
  ['memory that is shorter than its size', invokeOf(client.words(5, 1, 4))],
  ['a NULL pointer with a size', invokeOf(client.words(6, 0, 1))],
  ['a pointer that is neither there nor NULL', invokeOf(client.words(6, 2, 1))],
];

function invokeOf(operation: Buffer): Buffer {
  return client.frame(1, 4, Buffer.concat([client.words(1, 0), operation]));
}

for (const [what, bytes] of MALFORMED) {
  test(`does not parse ${what}`, () => {
    assert.equal(decodeRequest(onlyFrame(bytes)), undefined);
  });
}

test('a reader that has failed stays failed and yields nothing (latching)', () => {
  const reader = new WireReader(Buffer.from('0102030405', 'hex'));

  assert.equal(reader.u32(), 0x04030201);
  assert.equal(reader.u32(), 0);
  assert.equal(reader.bytes(1).byteLength, 0);
  assert.equal(reader.failed, true);
  assert.equal(reader.isComplete(), false);
});

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const data = fc.uint8Array({ maxLength: 64 });
const parameter: fc.Arbitrary<client.WireParameter> = fc.oneof(
  fc.constantFrom<client.WireParameter>({ type: 0 }, { type: 2 }, NULL_INPUT, NULL_OUTPUT),
  fc.record({ type: fc.constantFrom(1 as const, 3 as const), a: u32, b: u32 }),
  fc.record({ type: fc.constantFrom(5 as const, 7 as const), bytes: data }),
  fc.record({ type: fc.constant(6 as const), size: fc.integer({ min: 0, max: 1000 }) }),
);

test('every invocation a client can make is parsed to what it said (round trip)', () => {
  fc.assert(
    fc.property(u32, u32, fc.array(parameter, { minLength: 4, maxLength: 4 }), (...request) => {
      const [session, command, parameters] = request;
      const parsed = decodeRequest(onlyFrame(client.invoke(9, session, command, parameters)));

      assert.equal(parsed?.at, 'invoke');
      assert.deepEqual([parsed.session, parsed.command], [session, command]);
      parameters.forEach((sent, index) => {
        const received = parsed.operation.parameters[index];
        if (sent.type === 1 || sent.type === 3) {
          assert.deepEqual(received, { kind: 'value', a: sent.a, b: sent.b });
        } else if (sent.type === 5 || sent.type === 7) {
          assert.ok(received instanceof Memory);
          assert.deepEqual(Buffer.from(received.input), Buffer.from(sent.bytes));
          assert.equal(received.isNull, sent.isNull === true);
        } else if (sent.type === 6) {
          assert.ok(received instanceof Memory);
          assert.equal(received.capacityBytes, sent.size);
        }
      });
    }),
  );
});

test('frames are the same however the stream is cut up', () => {
  const stream = Buffer.concat(Object.values(REQUESTS).map(([, bytes]) => bytes));
  const whole = new FrameSplitter().push(stream);
  assert.ok(whole);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (cuts) => {
      const splitter = new FrameSplitter();
      const frames: Frame[] = [];
      let at = 0;
      for (let turn = 0; at < stream.byteLength; turn += 1) {
        const end = at + (cuts[turn % cuts.length] ?? 1);
        frames.push(...(splitter.push(stream.subarray(at, end)) ?? []));
        at = end;
      }
      assert.deepEqual(frames, whole);
    }),
  );
});

test('random bytes are never taken for a request that says something else (fuzz)', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 7 }),
      fc.uint8Array({ maxLength: 80 }),
      (opcode, body) => {
        const parsed = decodeRequest({ request: 1, opcode, body });
        if (parsed?.at !== 'close') return;
        assert.deepEqual(Buffer.from(body), client.words(parsed.session));
      },
    ),
  );
});
