import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import fc from 'fast-check';

import { demandRate, limitBytes } from '../../../agent/io/limit-bytes.ts';
import { rejectsCode } from '../../support/expect-code.ts';

describe('limitBytes', () => {
  test('passes exactly the bytes it was given while they stay within the limit', async () => {
    const sizes = fc.array(fc.nat({ max: 9 }), { maxLength: 9 });
    await fc.assert(
      fc.asyncProperty(sizes, async (lengths) => {
        const total = lengths.reduce((sum, length) => sum + length, 0);
        const received = await collect(limitBytes(chunks(lengths), total, 'f'));
        assert.equal(received, total);
      }),
    );
  });

  test('stops an endless body at the first byte past the signed length (§4.3.3)', async () => {
    let sent = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        sent += 1;
        yield await Promise.resolve(new Uint8Array(10));
      }
    }
    await rejectsCode(collect(limitBytes(endless(), 95, 'f')), 'IMAGE_TOO_LARGE', {
      filename: 'f',
      lengthBytes: 95,
    });
    assert.equal(sent, 10);
  });
});

describe('demandRate', () => {
  const rate = { bytesPerSecond: 1000, windowMs: 40 };

  test('passes a body that comes fast enough', async () => {
    assert.equal(await collect(demandRate(chunks([100, 100, 100]), rate, 'f')), 300);
  });

  test('ends a body that trickles: slow retrieval (§5.4.4)', async () => {
    async function* trickle(): AsyncGenerator<Uint8Array> {
      for (;;) {
        await setTimeout(15);
        yield new Uint8Array(1);
      }
    }
    await rejectsCode(collect(demandRate(trickle(), rate, 'f')), 'DOWNLOAD_TOO_SLOW', {
      filename: 'f',
      minimumBytesPerSecond: 1000,
      overMs: 40,
    });
  });

  test('ends a body that says nothing at all, without waiting for it', async () => {
    const silent: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
    };
    await rejectsCode(collect(demandRate(silent, rate, 'f')), 'DOWNLOAD_TOO_SLOW', {
      filename: 'f',
      minimumBytesPerSecond: 1000,
      overMs: 40,
    });
  });

  test('forgives a pause within a window that had its share, and loses no byte to it', async () => {
    async function* bursts(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(500);
      await setTimeout(60);
      yield new Uint8Array(7);
    }
    assert.equal(await collect(demandRate(bursts(), rate, 'f')), 507);
  });

  test('does not count the time that the reader takes', async () => {
    let received = 0;
    for await (const chunk of demandRate(chunks([50, 50]), rate, 'f')) {
      received += chunk.byteLength;
      await setTimeout(60);
    }
    assert.equal(received, 100);
  });
});

async function* chunks(lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  for (const length of lengths) yield await Promise.resolve(new Uint8Array(length));
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<number> {
  let received = 0;
  for await (const chunk of body) received += chunk.byteLength;
  return received;
}
