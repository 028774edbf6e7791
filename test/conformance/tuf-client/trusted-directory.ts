/** Trusted metadata as other TUF clients keep it: one file per role, its bytes as they were served. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { isOtaError } from '../../../agent/errors.ts';
import { replaceFile } from '../../../agent/io/durable-file.ts';
import { verifyFirstRoot } from '../../../agent/uptane/store.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import type { Keep } from '../../../agent/uptane/verify.ts';

const SUFFIX = '.json';
const DELEGATED = 'delegated/';
const REPO = 'image';

export class TrustedDirectory {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** @throws if the root does not sign itself, or is no TUF root at all */
  async init(rootFile: string): Promise<void> {
    const bytes = await readFile(rootFile);
    verifyFirstRoot(REPO, bytes, TUF);
    await mkdir(this.#path, { recursive: true });
    await this.keep({ role: 'root', bytes });
  }

  /**
   * By `REPO/ROLE`, as the state machine wants it.
   *
   * A cached file that cannot be read is fetched anew, as the reference client does; a device's own
   * storage reports it instead. The root has no second source.
   */
  async load(): Promise<ReadonlyMap<string, Uint8Array>> {
    const trusted = new Map<string, Uint8Array>();
    for (const file of await readdir(this.#path)) {
      if (!file.endsWith(SUFFIX)) continue;
      const role = roleOfFile(file.slice(0, -SUFFIX.length));
      const bytes = await readFile(join(this.#path, file));
      if (role === 'root' || isReadable(role, bytes)) trusted.set(`${REPO}/${role}`, bytes);
    }
    return trusted;
  }

  async keep({ role, bytes }: Pick<Keep, 'role' | 'bytes'>): Promise<void> {
    const name = role.startsWith(DELEGATED) ? role.slice(DELEGATED.length) : role;
    const path = join(this.#path, `${name}${SUFFIX}`);
    // What is kept was parsed before, so it is UTF-8 and survives being text.
    if (bytes === undefined) await rm(path, { force: true });
    else await replaceFile(path, Buffer.from(bytes).toString());
  }
}

/** Delegated roles have no other names than these, so one directory holds all. */
function roleOfFile(name: string): string {
  const topLevel = ['root', 'timestamp', 'snapshot', 'targets'].includes(name);
  return topLevel ? name : `${DELEGATED}${name}`;
}

function isReadable(role: string, bytes: Uint8Array): boolean {
  try {
    if (role === 'timestamp') TUF.parseTimestamp(bytes, REPO);
    else if (role === 'snapshot') TUF.parseSnapshot(bytes, REPO);
    else TUF.parseTargets(bytes, REPO, role);
    return true;
  } catch (error) {
    if (!isOtaError(error)) throw error;
    return false;
  }
}
