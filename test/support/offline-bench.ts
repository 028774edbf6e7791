/** A device in memory and a stick for it, with one lockbox that has `fw-2` for the Primary. */
import assert from 'node:assert/strict';

import type { FailureCode, FailureDetails } from '../../agent/errors.ts';
import { PAST } from './build-metadata.ts';
import { throwsCode } from './expect-code.ts';
import { Stick } from './stick.ts';
import { imageTarget, PRIMARY, SECONDARY, World } from './uptane-world.ts';

export const BOX = 'spring';
export const OFFLINE_SNAPSHOT = { repo: 'director', role: 'offline-snapshot' } as const;
export const LOCKBOX = { repo: 'director', role: `offline-updates/${BOX}` } as const;
export const EXPIRED = { expiresAt: PAST, nowAt: '2026-11-21T00:00:00Z' };
export const HARDWARE = [PRIMARY.hardwareId];
/** Kept on the way to a lockbox. */
const TO_LOCKBOX = ['director/root', 'director/offline-snapshot'];

export class OfflineBench {
  readonly world = new World([PRIMARY, SECONDARY]);
  readonly stick = new Stick(this.world);

  /** @param root - `bare`: the Director's names nobody for offline roles */
  constructor(root: 'bare' | 'ready' = 'ready') {
    if (root === 'ready') this.stick.publishRoot();
    this.stick.pack(BOX, ['fw-2'], HARDWARE);
    this.world.image.targets['fw-2'] = imageTarget('fw-2', [PRIMARY]);
    this.world.image.publish();
    this.stick.write();
  }

  /** Expects a refusal that leaves what is trusted as it was, but for `kept`. */
  refuses<C extends FailureCode>(
    code: C,
    details: FailureDetails[C],
    kept: readonly string[] = TO_LOCKBOX,
  ): void {
    const before = new Map(this.world.device.trusted);
    throwsCode(() => this.world.device.verifyOffline(this.stick.serve, [BOX]), code, details);
    assert.deepEqual(this.world.device.kept, kept);
    for (const [name, bytes] of this.world.device.trusted) {
      if (!kept.includes(name)) assert.equal(bytes, before.get(name));
    }
  }

  installs(): void {
    const { targets } = this.world.device.verifyOffline(this.stick.serve, [BOX]);
    assert.deepEqual(
      targets.map(({ ecu, filename }) => [ecu, filename]),
      [[PRIMARY.serial, 'fw-2']],
    );
  }
}
