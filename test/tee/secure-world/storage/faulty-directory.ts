/**
 * A disk whose every step a test can see, stop or spoil.
 *
 * It is put around the real one when the world has a control socket, and is not there otherwise.
 */
import type { BlockDirectory, BlockFile, Placed } from './block-file.ts';

/** Something that changes the disk, or waits until a change is durable. */
export interface DiskStep {
  readonly do: 'create' | 'write' | 'sync' | 'rename' | 'unlink' | 'sync-names';
  readonly name: string;
  /** Of a write; else 0. */
  readonly lengthBytes: number;
}

export interface DiskFaults {
  /**
   * Does the step with `act`, or does not.
   *
   * @param half - what a write leaves when the power goes in the middle of it
   * @throws StorageFailure when the step has to fail
   */
  around<T>(step: DiskStep, act: () => T, half?: () => void): T;
}

export class FaultyDirectory implements BlockDirectory {
  readonly #disk: BlockDirectory;
  readonly #faults: DiskFaults;

  constructor(disk: BlockDirectory, faults: DiskFaults) {
    this.#disk = disk;
    this.#faults = faults;
  }

  names(): readonly string[] {
    return this.#disk.names();
  }

  create(name: string): BlockFile {
    const file = this.#around('create', name, () => this.#disk.create(name));
    return new FaultyFile(name, file, this.#faults);
  }

  open(name: string): BlockFile | undefined {
    const file = this.#disk.open(name);
    return file && new FaultyFile(name, file, this.#faults);
  }

  rename(from: string, to: string): void {
    this.#around('rename', to, () => {
      this.#disk.rename(from, to);
    });
  }

  unlink(name: string): void {
    this.#around('unlink', name, () => {
      this.#disk.unlink(name);
    });
  }

  sync(): void {
    this.#around('sync-names', '', () => {
      this.#disk.sync();
    });
  }

  close(): void {
    this.#disk.close();
  }

  #around<T>(what: DiskStep['do'], name: string, act: () => T): T {
    return this.#faults.around({ do: what, name, lengthBytes: 0 }, act);
  }
}

class FaultyFile implements BlockFile {
  readonly #name: string;
  readonly #file: BlockFile;
  readonly #faults: DiskFaults;

  constructor(name: string, file: BlockFile, faults: DiskFaults) {
    this.#name = name;
    this.#file = file;
    this.#faults = faults;
  }

  read(): Uint8Array {
    return this.#file.read();
  }

  write(placed: Placed): void {
    const { offsetBytes, bytes } = placed;
    this.#faults.around(
      { do: 'write', name: this.#name, lengthBytes: bytes.byteLength },
      () => {
        this.#file.write(placed);
      },
      () => {
        this.#file.write({ offsetBytes, bytes: bytes.subarray(0, bytes.byteLength >> 1) });
      },
    );
  }

  sync(): void {
    this.#faults.around({ do: 'sync', name: this.#name, lengthBytes: 0 }, () => {
      this.#file.sync();
    });
  }

  close(): void {
    this.#file.close();
  }
}
