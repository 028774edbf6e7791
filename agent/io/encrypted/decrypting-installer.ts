/** Any installer, for images that are encrypted: it gets plain bytes and knows of nothing else. */
import { createReadStream } from 'node:fs';
import { mkdir, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';

import { causeOf, isOtaError, OtaError } from '../../errors.ts';
import type {
  Installer,
  Installers,
  OpenImage,
  StagedInstaller,
  StreamingInstaller,
} from '../../ports.ts';
import type { Encrypted } from '../../uptane/encrypted.ts';
import { decryptedOf, type TrustedTarget } from '../../uptane/plan.ts';
import { ImageDigest, writeAt } from '../image-file.ts';
import { openContentKey, type Recipient } from './content-key.ts';
import { openPlain } from './open-plain.ts';

export interface Decryption extends Recipient {
  /** Where an image lies in the clear while it is installed from a file; nothing else is there. */
  readonly directory: string;
  /** Free space that must be left. */
  readonly reserveBytes: number;
}

/** @returns `installer` itself as far as images that are not encrypted are concerned */
export function decrypting(installer: Installer, decryption: Decryption): Installer {
  return installer.takes === 'stream'
    ? decryptingStream(installer, decryption)
    : decryptingStaged(installer, decryption);
}

/** The same for every installer of a device. */
export function decryptingInstallers(installers: Installers, decryption: Decryption): Installers {
  return { of: (ecu) => decrypting(installers.of(ecu), decryption) };
}

/**
 * Removes what is in the clear: after an installation, and what a killed agent left.
 *
 * @throws OtaError STORAGE_FAILED
 */
export async function sweepDecrypted(directory: string): Promise<void> {
  try {
    await rm(directory, { recursive: true, force: true });
  } catch (error) {
    throw storageFailed(directory, error);
  }
}

function decryptingStream(inner: StreamingInstaller, decryption: Decryption): StreamingInstaller {
  return {
    ...stepsOf(inner, decryption),
    get needsReboot() {
      return inner.needsReboot;
    },
    takes: 'stream',
    prove: (target, progress) => inner.prove(target, progress),
    receive: (target, openCipher, progress) => {
      const { encrypted } = target;
      if (encrypted === undefined) return inner.receive(target, openCipher, progress);
      const plain = openPlain(target, encrypted, decryption, openCipher);
      return inner.receive(decryptedOf(target), plain, progress);
    },
  };
}

function decryptingStaged(inner: StagedInstaller, decryption: Decryption): StagedInstaller {
  return {
    ...stepsOf(inner, decryption),
    get needsReboot() {
      return inner.needsReboot;
    },
    takes: 'staged',
    write: async (target, stagedPath, progress) => {
      const { encrypted } = target;
      if (encrypted === undefined) return inner.write(target, stagedPath, progress);
      const { directory } = decryption;
      try {
        const cipher = staged(stagedPath, { installer: inner.kind, ecu: target.ecu });
        const path = await writePlain(target, encrypted, cipher, decryption);
        await inner.write(decryptedOf(target), path, progress);
      } finally {
        await sweepDecrypted(directory);
      }
    },
  };
}

type Steps = Omit<StagedInstaller, 'takes' | 'write' | 'needsReboot'>;

function stepsOf(inner: Installer, decryption: Decryption): Steps {
  const noteGoodBoot = inner.noteGoodBoot?.bind(inner);
  return {
    kind: inner.kind,
    check: async (target) => {
      await demandDecryptable(target, inner, decryption);
      await inner.check(decryptedOf(target));
    },
    activate: (target) => inner.activate(target),
    booted: (target) => inner.booted(target),
    confirm: (target) => inner.confirm(target),
    rollBack: (target) => inner.rollBack(target),
    describe: () => inner.describe(),
    ...(noteGoodBoot === undefined ? {} : { noteGoodBoot }),
  };
}

/** A key that is not this device's is refused before anything is downloaded. */
async function demandDecryptable(
  target: TrustedTarget,
  { kind, takes }: Installer,
  decryption: Decryption,
): Promise<void> {
  const { ecu, encrypted, format, lengthBytes } = target;
  if (encrypted === undefined) return;
  if (format === 'OSTREE') {
    const cause = `${kind}: OSTREE commits are pulled object by object and cannot be encrypted`;
    throw new OtaError('INSTALL_FAILED', { installer: kind, ecu, cause });
  }
  openContentKey(target, encrypted, decryption).fill(0);
  if (takes === 'staged') await demandRoom(lengthBytes, decryption);
}

/** What cannot be read of it is no failure of the place that it is decrypted into. */
function staged(path: string, by: { readonly installer: string; readonly ecu: string }): OpenImage {
  return async function* (start) {
    try {
      yield* createReadStream(path, { start }) as AsyncIterable<Buffer>;
    } catch (error) {
      throw new OtaError('INSTALL_FAILED', { ...by, cause: causeOf(error) }, { cause: error });
    }
  };
}

async function writePlain(
  target: TrustedTarget,
  encrypted: Encrypted,
  cipher: OpenImage,
  decryption: Decryption,
): Promise<string> {
  await sweepDecrypted(decryption.directory);
  await demandRoom(target.lengthBytes, decryption);
  const path = join(decryption.directory, 'image');
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      const digest = new ImageDigest(target);
      for await (const plain of openPlain(target, encrypted, decryption, cipher)(0)) {
        await writeAt(file, plain, digest.lengthBytes);
        digest.update(plain);
      }
      digest.verify();
    } finally {
      await file.close();
    }
    return path;
  } catch (error) {
    throw isOtaError(error) ? error : await whyNotWritten(error, target.lengthBytes, decryption);
  }
}

async function demandRoom(
  lengthBytes: number,
  { directory, reserveBytes }: Decryption,
): Promise<void> {
  const neededBytes = lengthBytes + reserveBytes;
  const freeBytes = await madeWithRoom(directory).catch((error: unknown) => {
    throw storageFailed(directory, error);
  });
  if (neededBytes <= freeBytes) return;
  throw new OtaError('SPACE_INSUFFICIENT', { path: directory, neededBytes, freeBytes });
}

/** @returns how many bytes are free in the directory */
async function madeWithRoom(directory: string): Promise<number> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

/** Others write as well: what was free when it was asked for may be gone. */
async function whyNotWritten(
  error: unknown,
  lengthBytes: number,
  { directory, reserveBytes }: Decryption,
): Promise<OtaError> {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return storageFailed(directory, error);
  const freeBytes = await madeWithRoom(directory).catch(() => 0);
  const neededBytes = lengthBytes + reserveBytes;
  return new OtaError('SPACE_INSUFFICIENT', { path: directory, neededBytes, freeBytes });
}

function storageFailed(path: string, cause: unknown): OtaError<'STORAGE_FAILED'> {
  const remedy = 'check the file system under storage.path, and the room there';
  return new OtaError('STORAGE_FAILED', { path, cause: causeOf(cause), remedy }, { cause });
}
