/**
 * Two slots: the image goes to the one that does not run while it is downloaded, and no copy is kept.
 *
 * Order is what makes it safe: nothing boots the other slot from before its first byte changes until
 * all of it was read back from the medium and every hash was right.
 */
import { isOtaError, OtaError } from '../../errors.ts';
import type { OpenImage, Progress, StreamingInstaller } from '../../ports.ts';
import { contentOf, type Target, type TrustedTarget } from '../../uptane/plan.ts';
import { demandImage } from '../image-file.ts';
import { openReadBack } from '../read-back.ts';
import { runTool, ToolFailure } from '../run-tool.ts';
import { failed, KIND, otherSlot, type BootChoice, type Slot } from './ab-slot/boot-choice.ts';
import { bootedSlot, type BootedSources } from './ab-slot/booted-slot.ts';
import { openSink, readBack, reread, type Kept } from './ab-slot/hashing.ts';
import { receiveImage } from './ab-slot/receive.ts';
import type { Contents, SlotRecord } from './ab-slot/record.ts';
import type { OpenSlot } from './ab-slot/slot-writer.ts';
import { demandIdle, demandRoom, openIdle, roomAt, type Slots } from './ab-slot/slot-guard.ts';
import { demandKind, guarded } from './guard.ts';

export interface AbSlotSettings {
  readonly slots: Readonly<Record<Slot, string>>;
  readonly choice: BootChoice;
  readonly record: SlotRecord;
  readonly booted: BootedSources;
  /** Size of slots that are files; absent: as far as their file system reaches. */
  readonly slotBytes?: number | undefined;
  /** How far apart the points are that a download is resumed from. */
  readonly checkpointBytes?: number;
  /** How long the xz program may do nothing. */
  readonly stallMs?: number;
  /** How large an image is that a thread is started for. */
  readonly threadFromBytes?: number;
}

const CHECKPOINT_BYTES = 32 * 1024 * 1024;
const STALL_MS = 120_000;
/** To start a thread takes as long as it takes to hash this much. */
const THREAD_FROM_BYTES = 16 * 1024 * 1024;
const XZ_TIMEOUT_MS = 10_000;

export class AbSlotInstaller implements StreamingInstaller {
  readonly kind = KIND;
  readonly takes = 'stream';
  readonly needsReboot = true;
  readonly #settings: AbSlotSettings;
  /** What this process has read back: it alone may be chosen. */
  readonly #proven = new Map<Slot, string>();

  constructor(settings: AbSlotSettings) {
    this.#settings = settings;
  }

  check(target: TrustedTarget): Promise<void> {
    return this.#guard(target.ecu, async () => {
      demandKind('packed-bytes', target, this.kind);
      await this.#demandUsable(contentOf(target).lengthBytes);
      if (target.compressed?.by === 'xz') await demandXz();
    });
  }

  async receive(target: TrustedTarget, open: OpenImage, progress: Progress): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    const source: OpenImage = async function* (offsetBytes) {
      try {
        yield* open(offsetBytes);
      } catch (error) {
        failure = { error };
        throw error;
      }
    };
    try {
      await this.#receive({ target, open: source, progress });
    } catch (error) {
      // What the download failed with is no failure of the installer.
      const isItsOwn = failure !== undefined && causedBy(error, failure.error);
      throw isItsOwn ? failure?.error : error;
    }
  }

  prove(target: TrustedTarget, progress: Progress): Promise<void> {
    return this.#guard(target.ecu, async () => {
      const { slot, path } = await this.#place();
      await this.#proveAt(path, target, progress);
      const contents = await this.#settings.record.load();
      const images = { ...contents.images, [slot]: imageId(target) };
      await this.#settings.record.save({ ...contents, images, received: undefined });
      this.#proven.set(slot, imageId(target));
    });
  }

  activate(target: TrustedTarget): Promise<void> {
    return this.#guard(target.ecu, async () => {
      const { choice, record } = this.#settings;
      const { slot, path, booted } = await this.#place();
      const contents = await record.load();
      if (contents.images[slot] !== imageId(target)) {
        const what = `slot ${slot} does not hold ${target.filename}`;
        throw failed(`${what}: its content was never proven`);
      }
      if (this.#proven.get(slot) !== imageId(target)) {
        await this.#proveAt(path, target, () => undefined);
      }
      await record.save({ ...contents, fallback: booted });
      await choice.attempt(slot, booted);
    });
  }

  booted(target: TrustedTarget): Promise<boolean> {
    return this.#guard(target.ecu, async () => {
      const { booted } = await this.#place();
      const { images } = await this.#settings.record.load();
      return images[booted] === imageId(target);
    });
  }

  confirm(target: TrustedTarget): Promise<void> {
    return this.#guard(target.ecu, async () => {
      const { choice } = this.#settings;
      const { booted } = await this.#place();
      const { active, state } = await choice.read();
      // In the last of its tries the image runs, and the next boot would choose the one before.
      if (state === 'good' && active === booted) return;
      await choice.only(booted);
    });
  }

  rollBack(target: TrustedTarget): Promise<void> {
    return this.#guard(target.ecu, async () => {
      const { choice, record } = this.#settings;
      const { booted, slot } = await this.#place();
      const contents = await record.load();
      const back = contents.images[booted] === imageId(target) ? slot : booted;
      // The slot that does not run is good only while that is known: an update may have spoiled it.
      if (back !== booted && contents.fallback !== back) {
        const { active } = await choice.read();
        if (active === back) return;
        throw failed(`there is no image to go back to: slot ${back} holds none that ran`);
      }
      await choice.only(back);
      await record.save({ ...contents, fallback: undefined });
    });
  }

  describe(): Promise<Readonly<Record<string, string>>> {
    return this.#guard('', async () => {
      const { slots, choice, record } = this.#settings;
      const { booted, path } = await this.#demandUsable(0);
      const { active, state } = await choice.read();
      const { images } = await record.load();
      const readBack = await openReadBack(path);
      await readBack.close();
      return {
        booted,
        active,
        state,
        choice: choice.where,
        slot_a: slots.a,
        slot_b: slots.b,
        image_a: images.a ?? 'unknown',
        image_b: images.b ?? 'unknown',
        read_back: readBack.how,
      };
    });
  }

  async #demandUsable(neededBytes: number): Promise<Place> {
    const place = await this.#place();
    await demandIdle(place);
    await demandRoom(place.path, neededBytes, this.#settings.slotBytes);
    await this.#settings.choice.demandUsable();
    return place;
  }

  #receive(parts: Parts): Promise<void> {
    return this.#guard(parts.target.ecu, async () => {
      const place = await this.#place();
      const handle = await openIdle(place);
      const sink = openSink(handle, contentOf(parts.target), this.#threadFromBytes);
      try {
        await this.#receiveInto({ handle, sink }, place, parts);
      } catch (error) {
        throw await translated(error, place.path, parts.target);
      } finally {
        await sink.close();
        await handle.close();
      }
    });
  }

  async #receiveInto(open: OpenSlot, place: Place, parts: Parts): Promise<void> {
    const { record, checkpointBytes = CHECKPOINT_BYTES, stallMs = STALL_MS } = this.#settings;
    const { target } = parts;
    const { slot } = place;
    const image = imageId(target);
    const contents = await record.load();
    await reread(open.sink, kept(slot, target, contents));
    const { lengthBytes: foundBytes } = open.sink;
    if (foundBytes === contentOf(target).lengthBytes) return;
    await demandRoom(place.path, contentOf(target).lengthBytes, this.#settings.slotBytes);
    const struck = await this.#strike(place, contents, foundBytes);
    const received = (lengthBytes: number, hash: string): Contents => {
      return { ...struck, received: { slot, image, lengthBytes, digest: hash } };
    };
    const checkpoints = {
      everyBytes: checkpointBytes,
      keep: (lengthBytes: number, hash: string) => record.save(received(lengthBytes, hash)),
    };
    try {
      await receiveImage(open, { ...parts, checkpoints, stallMs });
    } catch (error) {
      // Wrong bytes never get better: the next attempt starts from nothing.
      if (isOtaError(error) && WRONG_BYTES.has(error.code)) {
        await record.save({ ...struck, received: undefined });
      }
      throw error;
    }
  }

  async #proveAt(path: string, target: TrustedTarget, progress: Progress): Promise<void> {
    const content = contentOf(target);
    const digests = await readBack(path, content, this.#threadFromBytes, (readBytes) => {
      progress(readBytes, content.lengthBytes);
    });
    demandImage(content, digests);
  }

  get #threadFromBytes(): number {
    return this.#settings.threadFromBytes ?? THREAD_FROM_BYTES;
  }

  /** Before the first byte: nothing boots the slot, and nobody takes it for what it was. */
  async #strike(
    { booted, slot }: Place,
    { images, received }: Contents,
    keptBytes: number,
  ): Promise<Contents> {
    this.#proven.delete(slot);
    await this.#settings.choice.only(booted);
    const struck = { images: { ...images, [slot]: undefined }, fallback: undefined };
    const contents = { ...struck, received: keptBytes > 0 ? received : undefined };
    await this.#settings.record.save(contents);
    return contents;
  }

  async #place(): Promise<Place> {
    const { slots, booted: sources } = this.#settings;
    const booted = await bootedSlot(sources, slots);
    const slot = otherSlot(booted);
    return { booted, slot, path: slots[slot], running: slots[booted] };
  }

  #guard<T>(ecu: string, act: () => Promise<T>): Promise<T> {
    return guarded({ installer: this.kind, ecu }, act);
  }
}

function causedBy(error: unknown, cause: unknown): boolean {
  return error instanceof Error && error.cause === cause;
}

interface Place extends Slots {
  readonly booted: Slot;
  readonly slot: Slot;
}

interface Parts {
  readonly target: TrustedTarget;
  readonly open: OpenImage;
  readonly progress: Progress;
}

const WRONG_BYTES: ReadonlySet<string> = new Set([
  'IMAGE_TOO_LARGE',
  'IMAGE_HASH_MISMATCH',
  'IMAGE_TRUNCATED',
  'IMAGE_MALFORMED',
]);

/** What an earlier attempt left in a slot of an image, if anything. */
function kept(slot: Slot, target: TrustedTarget, { images, received }: Contents): Kept | undefined {
  const image = imageId(target);
  const content = contentOf(target);
  if (images[slot] === image) return { content, lengthBytes: content.lengthBytes };
  if (received?.slot !== slot || received.image !== image) return undefined;
  const { lengthBytes, digest } = received;
  return { content, lengthBytes, digest };
}

/** Bound to the content: a slot must not be called good for another image. */
function imageId({ hashes }: Target): string {
  const algorithm = hashes.has('sha256') ? 'sha256' : 'sha512';
  return `${algorithm}:${hashes.get(algorithm) ?? ''}`;
}

async function demandXz(): Promise<void> {
  try {
    await runTool('xz', ['--version'], { timeoutMs: XZ_TIMEOUT_MS });
  } catch (error) {
    if (!(error instanceof ToolFailure)) throw error;
    throw failed(`${error.message}; the image is packed with xz: install xz-utils`, error);
  }
}

/** A slot that is a file has no size of its own: its file system may be full before the image ends. */
async function translated(error: unknown, path: string, target: TrustedTarget): Promise<unknown> {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  const [neededBytes, freeBytes] = [contentOf(target).lengthBytes, await roomAt(path)];
  return new OtaError('SPACE_INSUFFICIENT', { path, neededBytes, freeBytes }, { cause: error });
}
