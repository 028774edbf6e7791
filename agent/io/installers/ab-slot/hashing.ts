/** Who hashes a slot: a thread where the image is large, else whoever asks. */
import type { FileHandle } from 'node:fs/promises';

import type { ImageIdentity } from '../../../uptane/inventory.ts';
import { ImageDigest, isImage, namedDigest, type Digests } from '../../image-file.ts';
import { DirectSink, type ImageSink } from '../../image-sink.ts';
import { readBackInThread, ThreadSink } from '../../image-thread.ts';
import { openReadBack } from '../../read-back.ts';

/** @param handle - of the slot; stays open until the sink was closed */
export function openSink(
  handle: FileHandle,
  content: ImageIdentity,
  threadFromBytes: number,
): ImageSink {
  const Sink = content.lengthBytes >= threadFromBytes ? ThreadSink : DirectSink;
  return new Sink(handle, content);
}

/** What should be in a slot. */
export interface Kept {
  readonly content: ImageIdentity;
  readonly lengthBytes: number;
  /** Of those bytes, where they are not all. */
  readonly digest?: string;
}

/**
 * Hashes again what an earlier attempt left in the slot.
 *
 * The sink goes on after all that is proven to be as it was written, or begins anew.
 */
export async function reread(sink: ImageSink, kept: Kept | undefined): Promise<void> {
  if (kept === undefined || kept.lengthBytes > kept.content.lengthBytes) return;
  const { content, lengthBytes } = kept;
  const found = await sink.reread(lengthBytes);
  const isAsWritten =
    lengthBytes === content.lengthBytes
      ? isImage(content, found)
      : found.lengthBytes === lengthBytes && namedDigest(found) === kept.digest;
  if (!isAsWritten) await sink.restart();
}

/** Hashes what is on the medium. */
export async function readBack(
  path: string,
  content: ImageIdentity,
  threadFromBytes: number,
  progress: (readBytes: number) => void,
): Promise<Digests> {
  if (content.lengthBytes >= threadFromBytes) return readBackInThread(path, content, progress);
  const digest = new ImageDigest(content);
  const medium = await openReadBack(path);
  try {
    for await (const chunk of medium.chunks(content.lengthBytes)) {
      digest.update(chunk);
      progress(digest.lengthBytes);
    }
  } finally {
    await medium.close();
  }
  return digest.current();
}
