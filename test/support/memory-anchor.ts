/** A token that holds records, and loses power in the middle of storing one. */
import { OtaError } from '../../agent/errors.ts';
import type { Anchor } from '../../agent/ports.ts';
import { PowerCut } from './cut-ports.ts';

/** Where the power fails: with the new record half written, or with both there. */
export type Tear = 'half' | 'both';

export class MemoryAnchor implements Anchor {
  readonly uri = 'pkcs11:token=memory';
  stored: readonly Uint8Array[] = [];
  /** How often the token was written to. */
  writes = 0;
  isFull = false;
  tear: Tear | undefined;

  records(): Promise<readonly Uint8Array[]> {
    return Promise.resolve(this.stored);
  }

  async replace(record: Uint8Array): Promise<void> {
    await Promise.resolve();
    if (this.isFull) {
      const cause = 'CKR_DEVICE_MEMORY';
      throw new OtaError('TOKEN_FAILED', { operation: 'store the seal', cause });
    }
    this.writes += 1;
    const { tear, stored } = this;
    this.tear = undefined;
    if (tear === 'half') this.stored = [record.subarray(0, record.length / 2), ...stored];
    if (tear === 'both') this.stored = [record, ...stored];
    if (tear !== undefined) throw new PowerCut();
    this.stored = [record];
  }
}
