/** What packages are installed, by the list that the system keeps. */
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';

import { causeOf, OtaError } from '../../errors.ts';
import type { Source } from './source.ts';

/** Of Yocto's images, as aktualizr reads it; of dpkg; of opkg. */
const USUAL = ['/usr/package.manifest', '/var/lib/dpkg/status', '/var/lib/opkg/status'];
/** A large Debian has 5 MiB. */
const MAX_BYTES = 32 * 1024 * 1024;

export interface Package {
  readonly name: string;
  readonly version: string;
}

/**
 * Source: aktualizr, PUT /core/installed.
 *
 * @param file - absent: the first of the usual ones that is there, or nothing
 */
export function installedPackages(file: string | undefined, usual = USUAL): Source {
  return {
    path: '/core/installed',
    read: async () => {
      const path = file ?? usual.find((one) => existsSync(one));
      return path === undefined
        ? undefined
        : { version: await versionOf(path), body: () => read(path) };
    },
  };
}

/** A pipe would keep whoever reads it for ever. */
async function versionOf(path: string): Promise<string> {
  const found = await stat(path).catch((error: unknown) => {
    throw unreadable(path, causeOf(error));
  });
  if (!found.isFile()) throw unreadable(path, 'it is no file');
  if (found.size > MAX_BYTES) throw unreadable(path, `more than ${String(MAX_BYTES)} bytes`);
  return [path, found.ino, found.mtimeMs, found.size].join(':');
}

async function read(path: string): Promise<readonly Package[]> {
  try {
    return parsePackages(await readFile(path, 'utf8'));
  } catch (error) {
    throw unreadable(path, causeOf(error));
  }
}

/** Lines of name, perhaps architecture, and version; or a status file of dpkg or opkg. */
export function parsePackages(text: string): readonly Package[] {
  return /^Package:/mu.test(text) ? parseStatus(text) : parseManifest(text);
}

function parseManifest(text: string): readonly Package[] {
  return text.split('\n').flatMap((line) => {
    const words = line.split(/\s+/u).filter((word) => word !== '');
    const [name, version] = [words[0], words.at(-1)];
    return name === undefined || version === undefined || words.length < 2
      ? []
      : [{ name, version }];
  });
}

/** Source: deb-status in dpkg(1): the third word of Status says what is there. */
function parseStatus(text: string): readonly Package[] {
  return text.split(/\n{2,}/u).flatMap((block) => {
    const field = (name: string): string | undefined =>
      new RegExp(`^${name}: *(.+)$`, 'mu').exec(block)?.[1]?.trim();
    const [name, version, status] = [field('Package'), field('Version'), field('Status')];
    const isThere = status?.split(/\s+/u)[2] === 'installed';
    return name === undefined || version === undefined || !isThere ? [] : [{ name, version }];
  });
}

function unreadable(path: string, cause: string): OtaError<'FILE_UNREADABLE'> {
  const what = 'list of installed packages';
  const remedy = 'set telemetry.packages_file to one, or telemetry.packages = false';
  return new OtaError('FILE_UNREADABLE', { path, what, cause, remedy });
}
