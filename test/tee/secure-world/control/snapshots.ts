/** Copies of the normal world's files, to put back when the device is off: a roll-back. */
import { BACKENDS, IS_STORED, type BackendName, type Disks } from '../storage/backends.ts';
import { withFile, type BlockDirectory } from '../storage/block-file.ts';
import { ControlFailure } from './command.ts';

type Files = ReadonlyMap<string, Uint8Array>;
type Snapshot = Readonly<Partial<Record<BackendName, Files>>>;

/** They live as long as the process. */
export class Snapshots {
  readonly #taken = new Map<string, Snapshot>();

  get names(): readonly string[] {
    return [...this.#taken.keys()];
  }

  take(name: string, { ree, rpmb }: Disks): void {
    this.#taken.set(name, {
      ...(ree && { ree: copy(ree, IS_STORED.ree) }),
      ...(rpmb && { rpmb: copy(rpmb, IS_STORED.rpmb) }),
    });
  }

  /**
   * @param only - one of the disks; all of them when `undefined`
   * @returns what puts them back
   * @throws ControlFailure when there is no snapshot of this name, or no such disk
   */
  restoring(name: string, only: BackendName | undefined): (disks: Disks) => void {
    const snapshot = this.#get(name);
    if (only !== undefined && snapshot[only] === undefined) {
      throw new ControlFailure(`this world has no disk "${only}"; leave "disk" out`);
    }
    return (disks) => {
      for (const backend of only === undefined ? BACKENDS : [only]) {
        const [files, disk] = [snapshot[backend], disks[backend]];
        if (files !== undefined && disk !== undefined) putBack(files, disk, IS_STORED[backend]);
      }
    };
  }

  #get(name: string): Snapshot {
    const snapshot = this.#taken.get(name);
    if (snapshot !== undefined) return snapshot;
    throw new ControlFailure(
      `no snapshot "${name}"; there are: ${this.names.join(', ') || 'none'}`,
    );
  }
}

function copy(disk: BlockDirectory, isStored: (name: string) => boolean): Files {
  const files = new Map<string, Uint8Array>();
  for (const name of disk.names().filter(isStored)) {
    const file = disk.open(name);
    if (file !== undefined)
      files.set(
        name,
        withFile(file, (each) => each.read()),
      );
  }
  return files;
}

function putBack(files: Files, disk: BlockDirectory, isStored: (name: string) => boolean): void {
  for (const name of disk.names().filter(isStored)) {
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
