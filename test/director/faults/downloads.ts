/** What faults make of an image on its way out. */
import { setTimeout as delay } from 'node:timers/promises';

import { Refusal } from '../failure.ts';
import type { FaultName } from '../faults.ts';
import type { Parameters, Stage } from './row.ts';
import type { FaultSwitch } from './switch.ts';

/** One answer with image bytes. */
export interface Download {
  /** Where in the image it starts. */
  readonly offsetBytes: number;
  /** What Content-Length says; absent: the answer is chunked. */
  readonly lengthBytes: number | undefined;
  /** What Content-Range says; absent: the answer is the whole image. */
  readonly range: string | undefined;
  readonly body: AsyncIterable<Buffer>;
}

type Spoiler = (honest: Download, parameters: Parameters, reset: () => void) => Download;

const IMAGE_SPOILERS = {
  'image-missing': () => {
    throw new Refusal(404, 'missing_entity', 'fault image-missing is on');
  },
  'image-bit-flip': (honest: Download, { at }: Parameters) => ({
    ...honest,
    body: flipBit(honest, Number(at)),
  }),
  'image-truncated': (honest: Download, { missingBytes }: Parameters) => {
    const lengthBytes = Math.max(0, (honest.lengthBytes ?? 0) - Number(missingBytes));
    return { ...honest, lengthBytes, range: undefined, body: firstBytes(honest.body, lengthBytes) };
  },
  'image-reordered': (honest: Download) => ({ ...honest, body: swapFirst(honest.body) }),
  'image-endless': (honest: Download, { maxBytes }: Parameters) => ({
    ...honest,
    lengthBytes: undefined,
    body: goOn(honest.body, Number(maxBytes)),
  }),
  'image-slow': (honest: Download, { bytesPerSecond }: Parameters) => ({
    ...honest,
    body: slowly(honest.body, Math.max(1, Number(bytesPerSecond))),
  }),
  'image-reset': (honest: Download, { afterBytes }: Parameters, reset: () => void) => ({
    ...honest,
    body: breakOff(honest.body, Number(afterBytes), reset),
  }),
} satisfies Partial<Record<FaultName, Spoiler>>;

const SPOILERS: Readonly<Partial<Record<FaultName, Spoiler>>> = {
  ...IMAGE_SPOILERS,
  'treehub-missing': () => {
    throw new Refusal(404, 'missing_entity', 'fault treehub-missing is on');
  },
  'treehub-bit-flip': IMAGE_SPOILERS['image-bit-flip'],
  'treehub-truncated': IMAGE_SPOILERS['image-truncated'],
  'treehub-endless': IMAGE_SPOILERS['image-endless'],
  'treehub-slow': IMAGE_SPOILERS['image-slow'],
  'treehub-reset': IMAGE_SPOILERS['image-reset'],
};

const PACE_MS = 100;
const ZEROS = Buffer.alloc(64 * 1024);

/** Who downloads what; `name` is held against a fault's parameter `file`, where it has one. */
export interface Downloader {
  readonly device: string;
  readonly stage: Extract<Stage, 'image' | 'treehub'>;
  readonly name: string;
}

/** Applies every download fault that strikes this device now. */
export function spoilDownload(
  honest: Download,
  faults: FaultSwitch,
  { device, stage, name: file }: Downloader,
  reset: () => void,
): Download {
  return faults.at(stage, device).reduce((download, { name, parameters: narrowed }) => {
    if (!file.includes(String(narrowed['file'] ?? ''))) return download;
    const parameters = faults.strike(name, device);
    const spoiler = SPOILERS[name];
    if (parameters === undefined || spoiler === undefined) return download;
    return spoiler(download, parameters, reset);
  }, honest);
}

async function* flipBit({ body, offsetBytes }: Download, at: number): AsyncGenerator<Buffer> {
  let position = offsetBytes;
  for await (const chunk of body) {
    const within = at - position;
    if (within >= 0 && within < chunk.length) chunk.writeUInt8(chunk.readUInt8(within) ^ 1, within);
    position += chunk.length;
    yield chunk;
  }
}

/** What is one part is taken for two. */
async function* swapFirst(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let first: Buffer | undefined;
  let isSwapped = false;
  for await (const chunk of body) {
    if (isSwapped) yield chunk;
    else if (first === undefined) first = chunk;
    else {
      yield* [chunk, first];
      isSwapped = true;
    }
  }
  if (isSwapped || first === undefined) return;
  const half = Math.floor(first.length / 2);
  yield* [first.subarray(half), first.subarray(0, half)];
}

async function* firstBytes(body: AsyncIterable<Buffer>, count: number): AsyncGenerator<Buffer> {
  let left = count;
  for await (const chunk of body) {
    if (left <= 0) return;
    yield chunk.subarray(0, left);
    left -= chunk.length;
  }
}

async function* goOn(body: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Buffer> {
  let sent = 0;
  for await (const chunk of body) {
    sent += chunk.length;
    yield chunk;
  }
  for (; sent < maxBytes; sent += ZEROS.length) yield ZEROS;
}

export async function* slowly(
  body: AsyncIterable<Buffer>,
  bytesPerSecond: number,
): AsyncGenerator<Buffer> {
  const portion = Math.max(1, Math.round((bytesPerSecond * PACE_MS) / 1000));
  const paceMs = (portion / bytesPerSecond) * 1000;
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; at += portion) {
      yield chunk.subarray(at, at + portion);
      await delay(paceMs);
    }
  }
}

/** Headers and the first bytes are on their way before the reset. */
export async function* breakOff(
  body: AsyncIterable<Buffer>,
  afterBytes: number,
  reset: () => void,
): AsyncGenerator<Buffer> {
  yield* firstBytes(body, afterBytes);
  await delay(PACE_MS);
  reset();
}
