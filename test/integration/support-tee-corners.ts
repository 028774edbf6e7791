/**
 * Calls in the corners of PKCS#11, with what the real libckteec prints and sends for each.
 *
 * Run as a program it records them anew: `node support-tee-corners.ts DRIVER…` writes what the driver,
 * linked with libckteec and our libteec, does with the calls that the file has. A call that crashes is
 * left out.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { FakeWorld, INVOKE, type Frame } from './support-tee-fake-world.ts';
import {
  describeCall,
  readCall,
  taReply,
  type TaAnswer,
  type TaCall,
} from './support-tee-ta-calls.ts';

const FILE = join(import.meta.dirname, '../tee/normal-world/test/libckteec.jsonl');
const GET_ATTRIBUTE_VALUE = 38;
const TEMPLATES = new Set([0x40000211, 0x40000212, 0x40000213]);
const UNAVAILABLE = 0xffffffff;

export interface CornerCall {
  /** A line for the driver. */
  readonly call: string;
  readonly printed: string;
  /** Commands in the words of describeCall(). */
  readonly sent: readonly string[];
}

export function readCornerCalls(): readonly CornerCall[] {
  const lines = readFileSync(FILE, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as CornerCall);
}

/** Calls `visit` for each attribute of a serialized template, at its head. */
function eachAttribute(template: Buffer, visit: (at: number, room: number) => void): void {
  for (let at = 8; at < template.length;) {
    const room = template.readUInt32LE(at + 4);
    visit(at, room);
    at += 8 + room;
  }
}

/** Every attribute is full of ones, 4 bytes long for who asks; nested templates are not given. */
function fillAttributes(template: Buffer): TaAnswer {
  let rv = 0;
  eachAttribute(template, (at, room) => {
    const isTemplate = TEMPLATES.has(template.readUInt32LE(at));
    if (isTemplate) rv = 0x12;
    else template.fill(1, at + 8, at + 8 + room);
    template.writeUInt32LE(isTemplate ? UNAVAILABLE : room || 4, at + 4);
  });
  return { rv, out: template };
}

/** A TA that fills with ones whatever it may. */
export function fillAnswer({ command, params }: TaCall): TaAnswer {
  const [ctrl, , out] = params;
  if (command === GET_ATTRIBUTE_VALUE) {
    return fillAttributes(Buffer.from(ctrl?.bytes.subarray(8) ?? []));
  }
  return { out: Buffer.alloc(out?.type === 6 ? out.room : 0, 1) };
}

/** libckteec sends what the caller's buffers happen to hold; ours sends zeros. */
export function withoutBuffers(command: number, ctrl: Buffer): Buffer {
  if (command !== GET_ATTRIBUTE_VALUE) return ctrl;
  const template = Buffer.from(ctrl.subarray(8));
  eachAttribute(template, (at, room) => template.fill(0, at + 8, at + 8 + room));
  return Buffer.concat([ctrl.subarray(0, 8), template]);
}

/** The commands that were sent after PING. */
export function commandsSent(frames: readonly Frame[]): readonly string[] {
  return frames
    .filter(({ opcode }) => opcode === INVOKE)
    .slice(1)
    .map((asked) => {
      const { command, params } = readCall(asked);
      const cleaned = params.map((param, index) =>
        index === 0 ? { ...param, bytes: withoutBuffers(command, param.bytes) } : param,
      );
      return describeCall({ command, params: cleaned });
    });
}

async function record(call: string, driver: readonly string[]): Promise<CornerCall | undefined> {
  const world = new FakeWorld();
  await world.listen();
  world.reply = taReply(fillAnswer);
  const [program = '', ...args] = driver;
  const env = { ...process.env, OTA_TEE_SOCKET: world.socketPath };
  const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (text: Buffer) => {
    output += text.toString();
  });
  child.stdin.end(`initialize\n${call}\n`);
  await once(child, 'close');
  await world.drained();
  const sent = commandsSent(world.frames);
  await world.close();
  const [, printed] = output.split('\n');
  return printed === undefined || printed === '' ? undefined : { call, printed, sent };
}

if (import.meta.main) {
  const rows: string[] = [];
  for (const { call } of readCornerCalls()) {
    const row = await record(call, process.argv.slice(2));
    if (row === undefined) process.stderr.write(`crashes: ${call}\n`);
    else rows.push(`${JSON.stringify(row)}\n`);
  }
  writeFileSync(FILE, rows.join(''));
}
