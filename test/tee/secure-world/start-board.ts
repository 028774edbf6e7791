/** Puts disks, storage and TAs together as the options say. Composition only. */
import { pathToFileURL } from 'node:url';

import { Board } from './board.ts';
import type { Control } from './control/control.ts';
import { festoreApp } from './festore/ta.ts';
import { readHuk } from './huk.ts';
import { UsageError, type Options } from './options.ts';
import { pkcs11App } from './pkcs11/ta.ts';
import {
  BackendFailure,
  closeBackends,
  openBackends,
  openDisks,
  privateStorage,
  type BackendName,
  type DiskDirectories,
  type Disks,
  type StorageBackends,
} from './storage/backends.ts';
import type { BlockDirectory } from './storage/block-file.ts';
import { TEE_ERROR_SECURITY, TEE_ERROR_STORAGE_NOT_AVAILABLE } from './storage/trusted-storage.ts';
import type { TrustedApp } from './ta.ts';
import type { OnPanic } from './world/world.ts';

/** What a module given with --ta exports as `app`. */
type MakeApp = (backends: StorageBackends) => TrustedApp;

/**
 * @param control - where faults come from; `undefined` for none
 * @throws UsageError for a module that is no TA, or a key that is none
 * @throws Error that says which storage did not open and what to do
 */
export async function startBoard(
  options: Options,
  control: Control | undefined,
  onPanic: OnPanic,
): Promise<Board> {
  const huk = readHuk(options.storage, options.hukFile);
  const more = await Promise.all(options.taModules.map(loadApp));
  return new Board({
    openDisks: () => described(options, () => openDisks(directories(options))),
    boot: (disks) => {
      const wrapped = mapDisks(disks, (disk) => control?.wrapDisk(disk) ?? disk);
      const opened = described(options, () => openBackends(huk, wrapped));
      const backends = { ...opened, private: options.private };
      const storage = privateStorage(backends);
      const own = [pkcs11App(storage, options.pkcs11), festoreApp(storage)];
      const apps = [...own, ...more.map((make) => make(backends))];
      return {
        apps: control === undefined ? apps : apps.map((app) => control.wrapApp(app)),
        close: () => {
          closeBackends(backends);
        },
      };
    },
    onPanic,
  });
}

function described<T>(options: Options, open: () => T): T {
  try {
    return open();
  } catch (cause) {
    if (!(cause instanceof BackendFailure)) throw cause;
    throw new Error(describeFailure(cause, options), { cause });
  }
}

/** A module that is loaded is as trusted as the world: it is for test programs and one's own TAs. */
async function loadApp(path: string): Promise<MakeApp> {
  const module = (await import(pathToFileURL(path).href).catch((cause: unknown) => {
    throw new UsageError(`cannot load ${path}: ${String(cause)}`, { cause });
  })) as { readonly app?: MakeApp };
  if (typeof module.app === 'function') return module.app;
  throw new UsageError(`${path} exports no app: a --ta module exports app(backends): TrustedApp`);
}

function directories({ private: kind, storage, rpmbDirectory }: Options): DiskDirectories {
  return {
    ...(kind === 'ree' && { ree: storage }),
    ...(rpmbDirectory !== undefined && { rpmb: rpmbDirectory }),
  };
}

function mapDisks({ ree, rpmb }: Disks, wrap: (disk: BlockDirectory) => BlockDirectory): Disks {
  return { ...(ree && { ree: wrap(ree) }), ...(rpmb && { rpmb: wrap(rpmb) }) };
}

function describeFailure({ backend, message, result }: BackendFailure, options: Options): string {
  const { storage, rpmbDirectory = '' } = options;
  const [what, option] =
    backend === 'rpmb'
      ? [`the RPMB in ${rpmbDirectory}`, '--rpmb-dir']
      : [`the storage in ${storage}`, '--storage'];
  return `cannot open ${what}: ${message}${remedyOf(result, backend, options)}, or give another directory by ${option}`;
}

function remedyOf(result: number, backend: BackendName, { rpmbDirectory }: Options): string {
  if (result === TEE_ERROR_STORAGE_NOT_AVAILABLE) return '; let whoever uses it end';
  if (backend === 'ree' && rpmbDirectory !== undefined && result === TEE_ERROR_SECURITY) {
    return `: it is not what the RPMB in ${rpmbDirectory} remembers, so one of the two was put back or exchanged; put back the newest of both`;
  }
  return '; give the key it was made with by --huk';
}
