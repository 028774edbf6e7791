/** The hardware unique key, which on a device is in fuses and here is a file. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { UsageError } from './options.ts';

const HUK_BYTES = 16;

/**
 * @param file - undefined for the one in `directory`, which is made when there is none
 * @throws UsageError for a file that cannot be read or has another size
 */
export function readHuk(directory: string, file: string | undefined): Uint8Array {
  const path = file ?? join(directory, 'huk');
  const huk = file === undefined ? readOrMakeHuk(path) : readGivenHuk(file);
  if (huk.byteLength === HUK_BYTES) return huk;
  throw new UsageError(
    `${path} has ${String(huk.byteLength)} bytes: a hardware unique key has ${String(HUK_BYTES)}`,
  );
}

function readGivenHuk(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new UsageError(
      `cannot read the hardware unique key ${path}: ${String(cause)}; give a file of ${String(HUK_BYTES)} bytes with --huk, or none`,
      { cause },
    );
  }
}

/** Made once: another key would make everything stored unreadable, so none is ever replaced. */
function readOrMakeHuk(path: string): Uint8Array {
  try {
    writeFileSync(path, randomBytes(HUK_BYTES), { flag: 'wx', mode: 0o600, flush: true });
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw cause;
  }
  return readFileSync(path);
}
