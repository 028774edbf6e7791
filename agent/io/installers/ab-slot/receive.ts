/** From the network to the slot: limited, hashed, unpacked where that was signed, written, synced. */
import { isOtaError, OtaError } from '../../../errors.ts';
import type { OpenImage, Progress } from '../../../ports.ts';
import { contentOf, type Compressed, type TrustedTarget } from '../../../uptane/plan.ts';
import { ImageDigest } from '../../image-file.ts';
import { limitBytes } from '../../limit-bytes.ts';
import { SlotWriter, type Checkpoints, type OpenSlot } from './slot-writer.ts';
import { NotUnpackable, openZlib, unpack } from './unpack.ts';
import { openXz } from './xz.ts';

export interface Reception {
  readonly target: TrustedTarget;
  readonly open: OpenImage;
  readonly progress: Progress;
  readonly checkpoints: Checkpoints;
  /** How long the xz program may do nothing. */
  readonly stallMs: number;
}

/**
 * Receives what the sink of `slot` does not have yet.
 *
 * @throws OtaError IMAGE_TOO_LARGE, IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH, IMAGE_MALFORMED
 */
export async function receiveImage(slot: OpenSlot, reception: Reception): Promise<void> {
  const { target, checkpoints } = reception;
  const { compressed, filename } = target;
  const writer = new SlotWriter(slot, contentOf(target), {
    ...checkpoints,
    // The state of what unpacks cannot be kept, so that there is nothing to go on from but the end.
    everyBytes: compressed === undefined ? checkpoints.everyBytes : Infinity,
  });
  try {
    const body =
      compressed === undefined
        ? plain(reception, slot.sink.lengthBytes)
        : unpacked(reception, compressed);
    for await (const chunk of body) await writer.add(chunk);
    await writer.finish();
  } catch (error) {
    await writer.abandon();
    if (!(error instanceof NotUnpackable)) throw error;
    const [format, problem] = [compressed?.by ?? '', error.message];
    throw new OtaError('IMAGE_MALFORMED', { filename, format, problem }, { cause: error });
  }
}

async function* plain(
  { target, open, progress }: Reception,
  offsetBytes: number,
): AsyncGenerator<Uint8Array> {
  const { filename, lengthBytes } = target;
  let done = offsetBytes;
  if (done === lengthBytes) return;
  for await (const chunk of limitBytes(open(done), lengthBytes - done, filename)) {
    yield chunk;
    done += chunk.byteLength;
    progress(done, lengthBytes);
  }
}

function unpacked(reception: Reception, { by }: Compressed): AsyncGenerator<Uint8Array> {
  const unpacker = by === 'xz' ? openXz(reception.stallMs) : openZlib(by);
  return unpack(proven(reception), unpacker);
}

/** What is downloaded, proven by its own hashes at its end. */
async function* proven({ target, open, progress }: Reception): AsyncGenerator<Uint8Array> {
  const { filename, lengthBytes } = target;
  const digest = new ImageDigest(target);
  for await (const chunk of limitBytes(reopened(target, open), lengthBytes, filename)) {
    digest.update(chunk);
    progress(digest.lengthBytes, lengthBytes);
    yield chunk;
  }
  digest.verify();
}

/** A connection that brought this much was worth another one. */
const WORTHWHILE_BYTES = 1024 * 1024;

/**
 * Goes on where a connection ended, because the state of what unpacks would be lost with it.
 *
 * @throws OtaError DOWNLOAD_FAILED from a connection that brought next to nothing
 */
async function* reopened(target: TrustedTarget, open: OpenImage): AsyncGenerator<Uint8Array> {
  let done = 0;
  while (done < target.lengthBytes) {
    const start = done;
    try {
      for await (const chunk of open(done)) {
        done += chunk.byteLength;
        yield chunk;
      }
      return;
    } catch (error) {
      const isLost = isOtaError(error) && error.code === 'DOWNLOAD_FAILED';
      if (!isLost || done - start < WORTHWHILE_BYTES) throw error;
    }
  }
}
