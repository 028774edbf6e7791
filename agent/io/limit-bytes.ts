/** Layers on a stream of image bytes. Each stops one attack and buffers nothing. */
import { setTimeout as sleep } from 'node:timers/promises';

import { OtaError } from '../errors.ts';

/**
 * Passes chunks through until one goes past `maxBytes`.
 *
 * The limit comes from metadata signed one level up, never from `Content-Length`. Stops the
 * endless-data attack.
 *
 * Source: Uptane Standard 2.1 §4.3.3, §5.4.4 (download size limits).
 *
 * @throws OtaError IMAGE_TOO_LARGE at the first byte past the limit
 */
export async function* limitBytes(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  filename: string,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  for await (const chunk of body) {
    received += chunk.byteLength;
    if (received > maxBytes) {
      throw new OtaError('IMAGE_TOO_LARGE', { filename, lengthBytes: maxBytes });
    }
    yield chunk;
  }
}

export interface MinimumRate {
  readonly bytesPerSecond: number;
  /** How long the rate may stay below. */
  readonly windowMs: number;
}

/**
 * Passes chunks through while they keep coming fast enough.
 *
 * Measured over whole windows, so that a pause shorter than one is forgiven. Only the wait for the
 * sender counts: a slow disk is not an attack.
 *
 * Source: Uptane Standard 2.1 §5.4.4 (slow retrieval, a SHALL since 2.0).
 *
 * @throws OtaError DOWNLOAD_TOO_SLOW at the end of the first window with fewer bytes
 */
export async function* demandRate(
  body: AsyncIterable<Uint8Array>,
  rate: MinimumRate,
  filename: string,
): AsyncGenerator<Uint8Array> {
  const { windowMs } = rate;
  const chunks = body[Symbol.asyncIterator]();
  let waitedMs = 0;
  let received = 0;
  try {
    let arriving = chunks.next();
    for (;;) {
      const start = performance.now();
      const step = await within(arriving, windowMs - waitedMs);
      waitedMs += performance.now() - start;
      if (step?.done === true) return;
      received += step?.value.byteLength ?? 0;
      if (step === undefined || waitedMs >= windowMs) {
        demandBytes(received, rate, filename);
        waitedMs = 0;
        received = 0;
      }
      if (step === undefined) continue;
      yield step.value;
      arriving = chunks.next();
    }
  } finally {
    // Not awaited: a sender that hangs would hang us here.
    chunks.return?.().catch(() => undefined);
  }
}

/**
 * Passes chunks through no faster than `bytesPerSecond`, so that a download leaves room for others.
 *
 * What was not used in a second is not saved up: a way that was silent is not made up for at once.
 */
export async function* limitRate(
  body: AsyncIterable<Uint8Array>,
  bytesPerSecond: number,
): AsyncGenerator<Uint8Array> {
  /** When the bytes so far may have come, at that rate. */
  let dueMs = performance.now();
  for await (const chunk of body) {
    for (let at = 0; at < chunk.byteLength; at += bytesPerSecond) {
      const part = chunk.subarray(at, at + bytesPerSecond);
      dueMs = Math.max(dueMs, performance.now() - 1000) + (part.byteLength / bytesPerSecond) * 1000;
      yield part;
      const earlyMs = dueMs - performance.now();
      if (earlyMs > 0) await sleep(earlyMs);
    }
  }
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, Math.max(ms, 0), undefined);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function demandBytes(received: number, rate: MinimumRate, filename: string): void {
  if (received * 1000 >= rate.bytesPerSecond * rate.windowMs) return;
  throw new OtaError('DOWNLOAD_TOO_SLOW', {
    filename,
    minimumBytesPerSecond: rate.bytesPerSecond,
    overMs: rate.windowMs,
  });
}
