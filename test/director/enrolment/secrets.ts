/** Enrolment secrets: one for everybody in `enrol-secret`, and as many one-time ones as asked for. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';

import { readIfThere, readState, writeDurably, writeState } from '../state/state-file.ts';

/** The user name in `device:RANDOM`. */
export const ENROL_USER = 'device';

export class EnrolmentSecrets {
  readonly path: string;
  readonly #oneTimePath: string;
  readonly #reusable: string;
  /** SHA-256 of the secrets not used yet, hex. */
  #oneTime: readonly string[];

  constructor(directory: string) {
    this.path = join(directory, 'enrol-secret');
    this.#oneTimePath = join(directory, 'enrol-one-time.json');
    const stored = readIfThere(this.path)?.trim();
    this.#reusable = stored ?? newSecret();
    if (stored === undefined) writeDurably(this.path, `${this.#reusable}\n`);
    this.#oneTime = (readState(this.#oneTimePath) ?? []) as readonly string[];
  }

  /** @returns `device:RANDOM`, good for one certificate */
  createOneTime(): string {
    const secret = newSecret();
    this.#save([...this.#oneTime, digest(secret)]);
    return secret;
  }

  /**
   * Uses a secret up, before anything is issued for it: two requests cannot share a one-time secret.
   *
   * @returns what gives it back when nothing was issued, or `undefined` when the secret is wrong
   */
  take(secret: string): (() => void) | undefined {
    const offered = digest(secret);
    if (isSame(offered, digest(this.#reusable))) return () => undefined;
    if (!this.#oneTime.some((one) => isSame(one, offered))) return undefined;
    this.#save(this.#oneTime.filter((one) => one !== offered));
    return () => {
      this.#save([...this.#oneTime, offered]);
    };
  }

  #save(oneTime: readonly string[]): void {
    writeState(this.#oneTimePath, oneTime);
    this.#oneTime = oneTime;
  }
}

function newSecret(): string {
  return `${ENROL_USER}:${randomBytes(18).toString('base64url')}`;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function isSame(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
