/**
 * A disk in memory that remembers every step, so that a power can be cut after each of them.
 *
 * A write counts as durable once its file was synced, a name once the directory was. What was not
 * may have reached the disk all the same, in any selection: that is more than real file systems do.
 */
import type {
  BlockDirectory,
  BlockFile,
  Placed,
} from '../../../tee/secure-world/storage/block-file.ts';
import { StorageFailure } from '../../../tee/secure-world/storage/trusted-storage.ts';

export type Step =
  | { readonly do: 'create'; readonly name: string; readonly file: number }
  | ({ readonly do: 'write'; readonly name: string; readonly file: number } & Placed)
  | { readonly do: 'sync'; readonly name: string; readonly file: number }
  | { readonly do: 'rename'; readonly name: string; readonly file: number; readonly from: string }
  | { readonly do: 'unlink'; readonly name: string }
  | { readonly do: 'sync-names' };

/** How much of a step that was not durable reached the disk: bytes of a write, else none or some. */
export type Fate = (step: Step, index: number) => number;

export class CrashDisk implements BlockDirectory {
  /** Of a file that no disk has, so that steps can be replayed on any. */
  static #unusedNumber = 1_000_000;
  readonly steps: Step[] = [];
  /** Gives the TEE_Result that a step fails with, or `undefined`. A failed write is half done. */
  failure: (step: Step, attempt: number) => number | undefined = () => undefined;
  #attempts = 0;
  #names = new Map<string, number>();
  #contents = new Map<number, Uint8Array>();

  static holding(files: ReadonlyMap<string, Uint8Array>): CrashDisk {
    const disk = new CrashDisk();
    for (const [name, bytes] of files) {
      const file = disk.#contents.size;
      disk.#names.set(name, file);
      disk.#contents.set(file, bytes.slice());
    }
    return disk;
  }

  /** What a power cut leaves when it comes after the first `count` steps. */
  afterPowerCut(before: CrashDisk, count: number, fate: Fate): CrashDisk {
    const disk = before.copy();
    this.steps.slice(0, count).forEach((step, index) => {
      const reached = this.#isDurable(index, count) ? Infinity : fate(step, index);
      if (reached > 0) disk.#apply(step, reached);
    });
    return disk;
  }

  /** The same files, without the memory of how they came about. */
  copy(): CrashDisk {
    return CrashDisk.holding(this.files());
  }

  files(): ReadonlyMap<string, Uint8Array> {
    return new Map(
      Array.from(this.#names, ([name, file]) => [name, this.#content(file).slice()] as const),
    );
  }

  names(): readonly string[] {
    return [...this.#names.keys()];
  }

  create(name: string): BlockFile {
    const file = CrashDisk.#unusedNumber;
    CrashDisk.#unusedNumber += 1;
    this.#do({ do: 'create', name, file });
    return this.#handle(name, file);
  }

  open(name: string): BlockFile | undefined {
    const file = this.#names.get(name);
    return file === undefined ? undefined : this.#handle(name, file);
  }

  rename(from: string, to: string): void {
    this.#do({ do: 'rename', name: to, from, file: this.#names.get(from) ?? -1 });
  }

  unlink(name: string): void {
    this.#do({ do: 'unlink', name });
  }

  sync(): void {
    this.#do({ do: 'sync-names' });
  }

  close(): void {
    this.failure = () => undefined;
  }

  /** How many steps were tried, failed ones included. */
  get attempts(): number {
    return this.#attempts;
  }

  #handle(name: string, file: number): BlockFile {
    return {
      read: () => this.#content(file).slice(),
      write: ({ offsetBytes, bytes }) => {
        this.#do({ do: 'write', name, file, offsetBytes, bytes: new Uint8Array(bytes) });
      },
      sync: () => {
        this.#do({ do: 'sync', name, file });
      },
      close: () => undefined,
    };
  }

  #do(step: Step): void {
    const result = this.failure(step, this.#attempts);
    this.#attempts += 1;
    if (result === undefined) {
      this.steps.push(step);
      this.#apply(step, Infinity);
      return;
    }
    if (step.do === 'write') {
      const half = { ...step, bytes: step.bytes.slice(0, step.bytes.byteLength >> 1) };
      this.steps.push(half);
      this.#apply(half, Infinity);
    }
    throw new StorageFailure(result, `${step.do} fails because the test says so`);
  }

  #apply(step: Step, reachedBytes: number): void {
    switch (step.do) {
      case 'create':
        this.#contents.set(step.file, new Uint8Array(0));
        this.#names.set(step.name, step.file);
        return;
      case 'write':
        this.#write(step.file, step.offsetBytes, step.bytes.subarray(0, reachedBytes));
        return;
      case 'rename':
        if (this.#names.get(step.from) === step.file) this.#names.delete(step.from);
        this.#names.set(step.name, step.file);
        return;
      case 'unlink':
        this.#names.delete(step.name);
        return;
      case 'sync':
      case 'sync-names':
        return;
    }
  }

  #write(file: number, offsetBytes: number, bytes: Uint8Array): void {
    const old = this.#content(file);
    if (offsetBytes + bytes.byteLength <= old.byteLength) {
      old.set(bytes, offsetBytes);
      return;
    }
    const content = new Uint8Array(Math.max(old.byteLength, offsetBytes + bytes.byteLength));
    content.set(old);
    content.set(bytes, offsetBytes);
    this.#contents.set(file, content);
  }

  #content(file: number): Uint8Array {
    return this.#contents.get(file) ?? new Uint8Array(0);
  }

  #isDurable(index: number, count: number): boolean {
    const step = this.steps[index];
    const later = this.steps.slice(index + 1, count);
    if (step?.do === 'write') {
      return later.some((other) => other.do === 'sync' && other.file === step.file);
    }
    return later.some((other) => other.do === 'sync-names');
  }
}
