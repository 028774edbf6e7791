/** INVOKE frames as calls of OP-TEE's PKCS#11 TA, and its answers. */
import assert from 'node:assert/strict';

import { DriverSuite } from './support-tee-drivers.ts';
import {
  INVOKE,
  answerOperation,
  plainReply,
  readParams,
  u32,
  type Frame,
  type Param,
  type Reply,
} from './support-tee-fake-world.ts';

/** Debug builds abort at codes that a function may not return; these tests want to see them. */
export const ANY_RETURN = { OTA_TEE_ANY_RETURN: '1' } as const;

export interface TaCall {
  readonly command: number;
  readonly params: readonly Param[];
}

const SHORT_BUFFER = 0xffff0010;
const PING = 0;

export const readCall = (asked: Frame): TaCall => ({
  command: asked.payload.readUInt32LE(4),
  params: readParams(asked),
});

/** What the TA says: its return code, and what it leaves in parameter 2. */
export interface TaAnswer {
  readonly rv?: number;
  /** TEEC_SUCCESS unless given. */
  readonly result?: number;
  readonly out?: Buffer;
  /** What the TA sets the size of parameter 2 to, when that is not the length of `out`. */
  readonly outSize?: number;
  /** Replaces the four bytes of the return code. */
  readonly ctrl?: Buffer;
}

/** As the TA reports a buffer that is too small: the size that is needed, and no data. */
export const tooSmall = (outSize: number): TaAnswer => ({
  rv: 0x150,
  result: SHORT_BUFFER,
  outSize,
});

export function taAnswer(asked: Frame, answer: TaAnswer): Buffer {
  const out = { bytes: answer.out ?? Buffer.alloc(0) };
  const left = [
    { bytes: answer.ctrl ?? u32(answer.rv ?? 0) },
    undefined,
    answer.outSize === undefined ? out : { ...out, size: answer.outSize },
  ];
  return Buffer.concat([u32(answer.result ?? 0, 4), answerOperation(asked, left)]);
}

/** A world with the PKCS#11 TA, version 1.0.0, that answers every other command with `answer`. */
export const taReply =
  (answer: (call: TaCall) => TaAnswer) =>
  (asked: Frame): Reply => {
    if (asked.opcode !== INVOKE) return plainReply(asked);
    const call = readCall(asked);
    return taAnswer(asked, call.command === PING ? { out: u32(1, 0, 0) } : answer(call));
  };

const MEMREF_INPUT = 5;
const MEMREF_INOUT = 7;

/** `COMMAND CTRL P1 P2`: in hexadecimal what is sent, `out:SIZE` for room, `-` for no parameter. */
export function describeCall({ command, params }: TaCall): string {
  const show = ({ type, room, bytes }: Param): string => {
    if (type === 0) return '-';
    if (type === MEMREF_INOUT) return bytes.toString('hex');
    return type === MEMREF_INPUT ? `in:${bytes.toString('hex')}` : `out:${String(room)}`;
  };
  return [String(command), ...params.slice(0, 3).map(show)].join(' ');
}

/** Runs calls of the Cryptoki driver, after C_Initialize, against a TA that answers with `answer`. */
export class CryptokiSuite {
  readonly drivers = new DriverSuite('cryptoki-driver');

  /** What the calls print, and the commands that were sent after PING. */
  async calls(
    script: readonly string[],
    answer: (call: TaCall) => TaAnswer = fillWithOnes,
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly lines: readonly string[]; readonly commands: readonly string[] }> {
    this.drivers.world.reply = taReply(answer);
    const { lines } = await this.drivers.run(['initialize', ...script], env);
    const [ping, ...commands] = this.drivers.world.frames
      .filter(({ opcode }) => opcode === INVOKE)
      .map((asked) => describeCall(readCall(asked)));
    assert.deepEqual([lines[0], ping], ['0x0', '0 00000000 - out:12']);
    return { lines: lines.slice(1), commands };
  }
}

function fillWithOnes({ params }: TaCall): TaAnswer {
  const [, , out] = params;
  return { out: Buffer.alloc(out?.type === MEMREF_INPUT ? 0 : (out?.room ?? 0), 1) };
}
