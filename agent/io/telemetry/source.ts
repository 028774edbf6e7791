/** Something that the gateway keeps about this device. */
import { createHash } from 'node:crypto';

export interface Source {
  /** Below the gateway. */
  readonly path: string;
  /** @returns `undefined` where there is nothing to tell */
  readonly read: () => Promise<Content | undefined>;
}

export interface Content {
  /** Changes whenever the body does; cheaper than that where it is large. */
  readonly version: string;
  readonly body: () => Promise<unknown>;
}

/** What is small is its own version. */
export function contentOf(value: unknown): Content {
  const version = createHash('sha256').update(JSON.stringify(value)).digest('hex');
  return { version, body: () => Promise.resolve(value) };
}
