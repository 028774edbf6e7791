import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { withoutBuffers } from './support-tee-corners.ts';
import { DriverSuite } from './support-tee-drivers.ts';
import { INVOKE, answerOperation, plainReply, u32, type Frame } from './support-tee-fake-world.ts';
import {
  callBehind,
  readRecorded,
  type Recorded,
  type RecordedParam,
} from './support-tee-recorded.ts';
import { readCall, describeCall } from './support-tee-ta-calls.ts';

const SUCCESS = 0;
const SHORT_BUFFER = 0xffff0010;
const RELEASE_ACTIVE_PROCESSING = 44;
const CREATE_OBJECT = 15;
const KEY_FUNCTION_NOT_PERMITTED = 0x68;
const ATTRIBUTE_READ_ONLY = 0x10;

/** The recorded request in the words of describeCall(). */
function describeRecorded({ cmd = -1, p = [] }: Recorded): string {
  const show = (param: RecordedParam | null): string => {
    if (param === null) return '-';
    if (param.d === 'inout') {
      return withoutBuffers(cmd, Buffer.from(param.in ?? '', 'hex')).toString('hex');
    }
    return param.d === 'in' ? `in:${param.in ?? ''}` : `out:${String(param.size)}`;
  };
  return [String(cmd), ...p.slice(0, 3).map(show)].join(' ');
}

/** What the application saw: libckteec's mapping of the recorded answer, and ours (cryptoki/codes.c). */
function expectedRv({ cmd, res = '0', p = [] }: Recorded): string {
  if (cmd === RELEASE_ACTIVE_PROCESSING) return '0x7';
  const result = Number.parseInt(res, 16);
  if (result === SHORT_BUFFER) return p[2]?.size === 0 ? '0x0' : '0x150';
  if (result !== SUCCESS) return '0x5';
  const rv = Buffer.from(p[0]?.out ?? '', 'hex').readUInt32LE(0);
  const isTrusted = cmd === CREATE_OBJECT && rv === KEY_FUNCTION_NOT_PERMITTED;
  return `0x${(isTrusted ? ATTRIBUTE_READ_ONLY : rv).toString(16)}`;
}

function recordedAnswer(asked: Frame, { res = '0', p = [] }: Recorded): Buffer {
  const left = p.map((param) => {
    const bytes = Buffer.from(param?.out ?? '', 'hex');
    return { bytes, size: param?.osize ?? bytes.length };
  });
  return Buffer.concat([u32(Number.parseInt(res, 16), 4), answerOperation(asked, left)]);
}

describe('Cryptoki beside the real libckteec', () => {
  const suite = new DriverSuite('cryptoki-driver');

  for (const name of ['quirks', 'p11'] as const) {
    test(`sends byte for byte what libckteec sent, and reads the answers alike (${name})`, async () => {
      const all = readRecorded(name);
      // Processes overlap in time; what matters is the order within each.
      const pids = [...new Set(all.map(({ pid }) => pid))];
      const ordered = pids.flatMap((pid) => all.filter((recorded) => recorded.pid === pid));
      const invoked = ordered.filter(({ op }) => op === 'invoke');
      let at = 0;
      suite.world.reply = (asked) => {
        const recorded = invoked[at];
        if (asked.opcode !== INVOKE || recorded === undefined) return plainReply(asked);
        at += 1;
        return recordedAnswer(asked, recorded);
      };
      // C_Initialize pings.
      const steps = ordered.filter(({ cmd }) => cmd !== 0);
      const { lines } = await suite.run(
        steps.map((recorded) => {
          if (recorded.op === 'invoke') return callBehind(recorded);
          return recorded.op === 'open' ? 'initialize' : 'finalize';
        }),
      );
      const sent = suite.world.frames.filter(({ opcode }) => opcode === INVOKE);
      assert.deepEqual(
        sent.map((asked) => describeCall(readCall(asked))),
        invoked.map(describeRecorded),
      );
      assert.deepEqual(
        lines.map((line) => line.split(' ')[0]),
        steps.map((recorded) => (recorded.op === 'invoke' ? expectedRv(recorded) : '0x0')),
      );
    });
  }
});
