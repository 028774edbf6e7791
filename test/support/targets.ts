import { createHash } from 'node:crypto';

import type { Target, TrustedTarget } from '../../agent/uptane/plan.ts';
import { trust } from '../../agent/uptane/trust.ts';

/** A target as both repositories would have signed it for `content`. */
export function targetFor(content: Uint8Array, changes: Partial<Target> = {}): TrustedTarget {
  const hash = (name: string): string => createHash(name).update(content).digest('hex');
  return trust({
    ecu: 'ecu-1',
    hardwareId: 'board',
    filename: 'rootfs.img',
    lengthBytes: content.byteLength,
    hashes: new Map([
      ['sha256', hash('sha256')],
      ['sha512', hash('sha512')],
    ]),
    ...changes,
  });
}
