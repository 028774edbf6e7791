/**
 * The client's side of the wire, written from WIRE.md alone: it shares nothing with the secure
 * world's codec, so that a mistake in one is seen by the other.
 */

export const PUBLIC = 0;
export const USER = 1;
export const GROUP = 2;

export type WireParameter =
  | { readonly type: 0 }
  | { readonly type: 1 | 3; readonly a: number; readonly b: number }
  | { readonly type: 2 }
  | { readonly type: 5 | 7; readonly bytes: Uint8Array; readonly isNull?: boolean }
  | { readonly type: 6; readonly size: number; readonly isNull?: boolean };

export const NO_PARAMETERS: readonly WireParameter[] = [
  { type: 0 },
  { type: 0 },
  { type: 0 },
  { type: 0 },
];

export function frame(request: number, opcode: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(body.byteLength, 0);
  header.writeUInt32LE(request, 4);
  header.writeUInt16LE(opcode, 8);
  return Buffer.concat([header, body]);
}

export function hello(
  request: number,
  { version = 1, pid = 1, uid = 0, gid = 0, groups = [] as readonly number[] } = {},
): Buffer {
  return frame(request, 1, words(version, pid, uid, gid, groups.length, ...groups));
}

export interface OpenRequest {
  readonly uuid: string;
  readonly login?: number;
  readonly loginData?: number;
  readonly parameters?: readonly WireParameter[];
}

export function openSession(
  request: number,
  { uuid, login = PUBLIC, loginData = 0, parameters = NO_PARAMETERS }: OpenRequest,
): Buffer {
  const id = Buffer.from(uuid.replaceAll('-', ''), 'hex');
  return frame(request, 2, Buffer.concat([id, words(login, loginData), operation(parameters)]));
}

export function closeSession(request: number, session: number): Buffer {
  return frame(request, 3, words(session));
}

export function invoke(
  request: number,
  session: number,
  command: number,
  parameters: readonly WireParameter[] = NO_PARAMETERS,
): Buffer {
  return frame(request, 4, Buffer.concat([words(session, command), operation(parameters)]));
}

export function cancel(request: number, target: number): Buffer {
  return frame(request, 5, words(target));
}

export function operation(parameters: readonly WireParameter[]): Buffer {
  const types = parameters.reduce((sum, { type }, index) => sum | (type << (4 * index)), 0);
  return Buffer.concat([words(types), ...parameters.map(encodeParameter)]);
}

/** The answer's frame, taken apart. */
export interface Answer {
  readonly request: number;
  readonly opcode: number;
  readonly body: Buffer;
}

export function readAnswer(bytes: Buffer): Answer {
  return {
    request: bytes.readUInt32LE(4),
    opcode: bytes.readUInt16LE(8),
    body: bytes.subarray(12, 12 + bytes.readUInt32LE(0)),
  };
}

/** One output of an answer: values, or a size and what came with it. */
export type Output =
  { readonly a: number; readonly b: number } | { readonly size: number; readonly bytes: Buffer };

/** @returns the outputs in order, and nothing left over */
export function readOutputs(body: Buffer): readonly Output[] {
  const types = body.readUInt32LE(0);
  const outputs: Output[] = [];
  let at = 4;
  for (let index = 0; index < 4; index += 1) {
    const type = (types >>> (4 * index)) & 0xf;
    if (type === 2 || type === 3) {
      outputs.push({ a: body.readUInt32LE(at), b: body.readUInt32LE(at + 4) });
      at += 8;
    } else if (type === 6 || type === 7) {
      const length = body.readUInt32LE(at + 4);
      const bytes = body.subarray(at + 8, at + 8 + length);
      outputs.push({ size: body.readUInt32LE(at), bytes });
      at += 8 + length;
    }
  }
  if (at !== body.byteLength) throw new RangeError('bytes after the last output');
  return outputs;
}

export function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32LE(value, 4 * index));
  return bytes;
}

function encodeParameter(parameter: WireParameter): Buffer {
  switch (parameter.type) {
    case 0:
    case 2:
      return Buffer.alloc(0);
    case 1:
    case 3:
      return words(parameter.a, parameter.b);
    case 5:
    case 7: {
      const { bytes, isNull } = parameter;
      return Buffer.concat([words(isNull === true ? 0 : 1, bytes.byteLength), bytes]);
    }
    case 6:
      return words(parameter.isNull === true ? 0 : 1, parameter.size);
  }
}
