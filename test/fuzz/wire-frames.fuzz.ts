/**
 * What a client writes to the world's socket, in chunks of any size: it is answered by the protocol
 * or the connection ends, and no frame depends on where the stream was cut.
 */
import { TA_FLAG, type TaInstance, type TrustedApp } from '../tee/secure-world/ta.ts';
import type { Operation } from '../tee/secure-world/world/operation.ts';
import { Connection } from '../tee/secure-world/world/server.ts';
import { FrameSplitter, MAX_BODY_BYTES, type Frame } from '../tee/secure-world/world/wire.ts';
import { World } from '../tee/secure-world/world/world.ts';
import {
  cancel,
  closeSession,
  frame,
  hello,
  invoke,
  openSession,
  readAnswer,
  readOutputs,
  type WireParameter,
} from '../unit/tee/wire-client.ts';
import { holds } from './invariant.ts';
import { edgeOr, mutateBytes, withWord } from './mutate.ts';
import { Random } from './random.ts';
import type { FuzzTarget } from './target.ts';

const HEADER_BYTES = 12;
const ANSWER_BIT = 0x8000;
const ECHO_UUID = '00000000-0000-4000-8000-000000000001';
const FLAGS = TA_FLAG.SINGLE_INSTANCE | TA_FLAG.MULTI_SESSION;
/** Commands of the TA below. */
const ECHO = 0;
const SHORT = 1;
const PANIC = 2;

export const wireFrames: FuzzTarget = {
  name: 'wire-frames',
  *seeds() {
    for (const stream of seedStreams())
      yield Uint8Array.from(Buffer.concat([Buffer.of(7), stream]));
  },
  run(input) {
    const [cuts = 0] = input;
    const stream = input.subarray(1);
    const frames = framesOf([stream]);
    const again = framesOf(cutUp(stream, cuts));
    holds(sameFrames(frames.frames, again.frames), 'frames depend on where the stream is cut');
    holds(frames.isBroken === again.isBroken, 'a bad header depends on where the stream is cut');
    return converse(frames.frames);
  },
  mutate: mutateStream,
};

function converse(frames: readonly Frame[]): readonly string[] {
  const panics: unknown[] = [];
  const world = new World([echoApp()], (_uuid, cause) => panics.push(cause));
  const connection = new Connection(world);
  const labels = new Set<string>();
  for (const each of frames) {
    const answer = connection.answer(each);
    holds(!(answer instanceof Promise), 'a TA that answers at once is answered later');
    if (answer === undefined) {
      labels.add(`closed ${String(Math.min(each.opcode, 8))}`);
      break;
    }
    labels.add(answer.byteLength === 0 ? 'silent' : checkAnswer(each, Buffer.from(answer)));
  }
  connection.end();
  world.close();
  holds(
    panics.every((cause) => cause === PANICKED),
    'the test TA panicked, but not by itself',
  );
  return [...labels];
}

function checkAnswer(asked: Frame, bytes: Buffer): string {
  const { request, opcode, body } = readAnswer(bytes);
  holds(body.byteLength + HEADER_BYTES === bytes.byteLength, 'the header tells another length');
  holds(body.byteLength <= MAX_BODY_BYTES, 'an answer that no client reads');
  holds(request === asked.request, 'an answer to another request');
  holds(opcode === (asked.opcode | ANSWER_BIT), 'an answer to another opcode');
  const result = body.readUInt32LE(0).toString(16);
  // OPEN_SESSION: result, origin, session. INVOKE: result, origin.
  const operationAt = asked.opcode === 2 ? 12 : asked.opcode === 4 ? 8 : undefined;
  if (operationAt === undefined) {
    holds(body.byteLength === 4, 'an answer of another size');
    return `${String(opcode)} ${result}`;
  }
  const outputs = readOutputs(body.subarray(operationAt));
  for (const output of outputs) {
    if ('a' in output) continue;
    const isWhole = output.bytes.byteLength === output.size || output.bytes.byteLength === 0;
    holds(isWhole, 'some of an output');
  }
  return `${String(opcode)} ${result} ${String(outputs.length)}`;
}

const PANICKED = new Error('the test TA panics when it is told to');

/** Gives back what it gets. A TA of its own: the real one is fuzzed by its commands. */
function echoApp(): TrustedApp {
  const instance: TaInstance = {
    open: (_session, _client, operation) => (fill(operation, ECHO), 0),
    invoke(_session, command, operation) {
      if (command === PANIC) throw PANICKED;
      return fill(operation, command);
    },
    close: () => undefined,
    destroy: () => undefined,
  };
  return { uuid: ECHO_UUID, flags: FLAGS, create: () => instance };
}

function fill({ parameters }: Operation, command: number): number {
  for (const parameter of parameters) {
    if (parameter.kind === 'value') parameter.a = (parameter.a + 1) >>> 0;
    if (parameter.kind !== 'memory') continue;
    if (command === SHORT) parameter.need(parameter.capacityBytes + 1);
    else if (command === ECHO) parameter.fill(parameter.input);
  }
  return command === SHORT ? 0xffff_0010 : 0;
}

function framesOf(chunks: readonly Uint8Array[]): {
  readonly frames: readonly Frame[];
  readonly isBroken: boolean;
} {
  const splitter = new FrameSplitter();
  const frames: Frame[] = [];
  for (const chunk of chunks) {
    const more = splitter.push(chunk);
    // What came with the bad header is lost with it, and how much that is depends on the chunks.
    if (more === undefined) return { frames: [], isBroken: true };
    frames.push(...more);
  }
  return { frames, isBroken: false };
}

function cutUp(stream: Uint8Array, seed: number): readonly Uint8Array[] {
  const random = new Random(seed);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < stream.length;) {
    const size = 1 + random.below(random.oneIn(3) ? 200 : 14);
    chunks.push(stream.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

function sameFrames(some: readonly Frame[], others: readonly Frame[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ request, opcode, body }, index) => {
      const other = others[index];
      const isSame = other?.request === request && other.opcode === opcode;
      return isSame && Buffer.compare(body, other.body) === 0;
    })
  );
}

function* seedStreams(): Iterable<Buffer> {
  const bytes = Buffer.from('some bytes');
  const shapes: readonly (readonly WireParameter[])[] = [
    [{ type: 0 }, { type: 1, a: 1, b: 2 }, { type: 2 }, { type: 3, a: 3, b: 4 }],
    [{ type: 5, bytes }, { type: 6, size: 20 }, { type: 7, bytes }, { type: 0 }],
    [
      { type: 6, size: 0, isNull: true },
      { type: 5, bytes: Buffer.alloc(0), isNull: true },
    ],
    [{ type: 6, size: 17 * 1024 * 1024 }],
  ].map((shape) => [...shape, ...NONE].slice(0, 4)) as WireParameter[][];
  for (const parameters of shapes) {
    for (const command of [ECHO, SHORT, PANIC, 3]) {
      yield Buffer.concat([
        hello(1, { groups: [4, 5] }),
        openSession(2, { uuid: ECHO_UUID, login: command, loginData: 4, parameters }),
        openSession(3, { uuid: ECHO_UUID }),
        invoke(4, 1, command, parameters),
        invoke(5, 2, ECHO, parameters),
        cancel(6, 5),
        closeSession(7, 1),
        invoke(8, 1, ECHO),
      ]);
    }
  }
  yield Buffer.concat([hello(1), openSession(2, { uuid: '00000000-0000-0000-0000-000000000000' })]);
  yield Buffer.concat([hello(1), Buffer.alloc(100, 0xff)]);
  yield Buffer.concat([invoke(1, 1, 0), hello(2)]);
}

const NONE: readonly WireParameter[] = Array.from({ length: 4 }, () => ({ type: 0 }));

/** Changes the body of one frame and corrects its length; or changes bytes, headers included. */
function mutateStream(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  if (random.oneIn(4)) return mutateBytes(input, random, other);
  const frames = [...framesOf([input.subarray(1)]).frames];
  const others = framesOf([other.subarray(1)]).frames;
  const at = random.below(frames.length);
  const chosen = frames[at];
  if (chosen === undefined || random.oneIn(6)) {
    const from = random.below(others.length);
    frames.splice(at, random.below(3), ...others.slice(from, from + 1 + random.below(4)));
  } else {
    frames[at] = changedFrame(chosen, random);
  }
  const tail = random.oneIn(16) ? random.bytes(random.below(40)) : new Uint8Array();
  const stream = frames.map(({ request, opcode, body }) => frame(request, opcode, body));
  return Uint8Array.from(Buffer.concat([Buffer.of(random.below(256)), ...stream, tail]));
}

function changedFrame({ request, opcode, body }: Frame, random: Random): Frame {
  switch (random.below(8)) {
    case 0:
      return { request, opcode: random.oneIn(4) ? random.below(0x1_0000) : random.below(7), body };
    case 1:
      return { request: random.u32(), opcode, body };
    case 2:
    case 3:
      return { request, opcode, body: mutateBytes(body, random, body) };
    default: {
      const word = 4 * random.below(body.length / 4);
      return { request, opcode, body: withWord(body, word, edgeOr(random, [body.length - word])) };
    }
  }
}
