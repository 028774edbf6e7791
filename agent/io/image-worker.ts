/** The thread of `image-thread.ts`: it hashes, writes nothing, and judges nothing. */
import { readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

import { causeOf } from '../errors.ts';
import { ImageDigest, type Digests } from './image-file.ts';
import type { ImageWork, Job, Said } from './image-thread.ts';
import { openReadBack } from './read-back.ts';

const CHUNK_BYTES = 1024 * 1024;
/** How often it is said how far reading back is. */
const PROGRESS_BYTES = 4 * CHUNK_BYTES;

const { image, memory } = workerData as ImageWork;
let digest = new ImageDigest(image);
/** The one before was answered; after a failure nothing is done any more. */
let turn = Promise.resolve();

parentPort?.on('message', (job: Job) => {
  turn = turn.then(async () => {
    say({ digests: await perform(job) });
  });
  turn.catch((error: unknown) => {
    const code = error instanceof Error && 'code' in error ? { code: String(error.code) } : {};
    say({ failed: { message: causeOf(error), ...code } });
  });
});

async function perform(job: Job): Promise<Digests> {
  switch (job.do) {
    case 'hash':
      digest.update(new Uint8Array(memory, job.at, job.lengthBytes));
      return NOT_ASKED_FOR;
    case 'reread':
      reread(job.fd, job.lengthBytes);
      return digest.current();
    case 'restart':
      digest = new ImageDigest(image);
      return NOT_ASKED_FOR;
    case 'digests':
      return digest.current();
    case 'read-back':
      await readBack(job.path);
      return digest.current();
  }
}

/** To finish a hash costs a copy of it. */
const NOT_ASKED_FOR: Digests = { lengthBytes: 0, hashes: new Map() };

function reread(fd: number, lengthBytes: number): void {
  const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  while (digest.lengthBytes < lengthBytes) {
    const wanted = Math.min(CHUNK_BYTES, lengthBytes - digest.lengthBytes);
    const bytesRead = readSync(fd, chunk, 0, wanted, digest.lengthBytes);
    if (bytesRead === 0) return;
    digest.update(chunk.subarray(0, bytesRead));
  }
}

async function readBack(path: string): Promise<void> {
  const medium = await openReadBack(path);
  let said = 0;
  try {
    for await (const chunk of medium.chunks(image.lengthBytes)) {
      digest.update(chunk);
      const { lengthBytes } = digest;
      if (lengthBytes - said < PROGRESS_BYTES && lengthBytes < image.lengthBytes) continue;
      said = lengthBytes;
      say({ readBytes: said });
    }
  } finally {
    await medium.close();
  }
}

function say(said: Said): void {
  parentPort?.postMessage(said);
}
