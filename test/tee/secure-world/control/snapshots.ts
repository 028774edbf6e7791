/** Copies of the normal world's files, to put back when the device is off: a roll-back. */
import { withFile, type BlockDirectory } from '../storage/block-file.ts';
import { ControlFailure } from './command.ts';

type Files = ReadonlyMap<string, Uint8Array>;

/** They live as long as the process. */
export class Snapshots {
  readonly #belongs: (name: string) => boolean;
  readonly #taken = new Map<string, Files>();

  /** @param belongs - which files are storage; others, the key and the lock, are left alone */
  constructor(belongs: (name: string) => boolean) {
    this.#belongs = belongs;
  }

  get names(): readonly string[] {
    return [...this.#taken.keys()];
  }

  take(name: string, disk: BlockDirectory): void {
    const files = new Map<string, Uint8Array>();
    for (const file of disk.names().filter(this.#belongs)) {
      const opened = disk.open(file);
      if (opened !== undefined)
        files.set(
          file,
          withFile(opened, (each) => each.read()),
        );
    }
    this.#taken.set(name, files);
  }

  /** @throws ControlFailure when there is none of this name */
  get(name: string): Files {
    const files = this.#taken.get(name);
    if (files !== undefined) return files;
    throw new ControlFailure(
      `no snapshot "${name}"; there are: ${this.names.join(', ') || 'none'}`,
    );
  }

  putBack(files: Files, disk: BlockDirectory): void {
    for (const name of disk.names().filter(this.#belongs)) {
      if (!files.has(name)) disk.unlink(name);
    }
    for (const [name, bytes] of files) {
      withFile(disk.create(name), (file) => {
        file.write({ offsetBytes: 0, bytes });
        file.sync();
      });
    }
    disk.sync();
  }
}
