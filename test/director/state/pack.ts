/** Packs an image on its way into the repository. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable, type Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress } from 'node:zlib';

export const COMPRESSIONS = ['gzip', 'xz', 'zstd'] as const;
export type Compression = (typeof COMPRESSIONS)[number];

export async function* pack(
  content: AsyncIterable<Buffer>,
  compression: Compression,
): AsyncGenerator {
  if (compression === 'xz') {
    yield* packWithXz(content);
    return;
  }
  const packer: Duplex = compression === 'gzip' ? createGzip() : createZstdCompress();
  const feeding = pipeline(Readable.from(content), packer);
  // Reported below: what failed has ended the iteration as well.
  feeding.catch(() => undefined);
  yield* packer;
  await feeding;
}

async function* packWithXz(content: AsyncIterable<Buffer>): AsyncGenerator {
  const child = spawn('xz', ['--stdout'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  const feeding = pipeline(Readable.from(content), child.stdin);
  feeding.catch(() => undefined);
  yield* child.stdout;
  await feeding;
  const [code] = (await ended) as [number | null];
  if (code !== 0) throw new Error(`xz ended with ${String(code)}`);
}
