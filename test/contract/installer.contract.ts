/** What every Installer must do. Run once per implementation. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import type { Installer } from '../../agent/ports.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

export interface InstallerFixture {
  readonly installer: Installer;
  /** What runs now. */
  running(): Buffer;
  /** A power cut and the boot after it; nothing for installers that need none. */
  boot(): void;
  /** Lets go of what is not in the directory. */
  close?(): void;
}

export function installerContract(
  name: string,
  open: (directory: string, factory: Buffer) => InstallerFixture,
): void {
  describe(`Installer contract: ${name}`, () => {
    const factory = Buffer.from('factory image');
    const content = Buffer.alloc(3 * 1024 * 1024 + 17, 'new image ');
    const target = targetFor(content);
    let directory: ReturnType<typeof temporaryDirectory>;
    let staged: string;
    let fixture: InstallerFixture;

    beforeEach(() => {
      directory = temporaryDirectory('installer');
      staged = join(directory.path, 'staged');
      writeFileSync(staged, content);
      fixture = open(directory.path, factory);
    });
    afterEach(() => {
      fixture.close?.();
      directory.remove();
    });

    const runs = (expected: Buffer): void => {
      assert.ok(fixture.running().subarray(0, expected.length).equals(expected));
    };
    const install = async (wanted: TrustedTarget): Promise<void> => {
      await fixture.installer.check(wanted);
      await fixture.installer.write(wanted, staged, () => undefined);
      await fixture.installer.activate(wanted);
      fixture.boot();
    };

    test('writing does not change what runs, now or after a power cut', async () => {
      await fixture.installer.write(target, staged, () => undefined);
      runs(factory);
      fixture.boot();
      runs(factory);
      assert.equal(await fixture.installer.booted(target), false);
    });

    test('the new image runs after activation, and is confirmed', async () => {
      await install(target);
      runs(content);
      assert.equal(await fixture.installer.booted(target), true);
      await fixture.installer.confirm(target);
      for (let boot = 0; boot < 5; boot += 1) fixture.boot();
      runs(content);
    });

    test('every step may be repeated, as after a power cut', async () => {
      const { installer } = fixture;
      await installer.write(target, staged, () => undefined);
      await installer.write(target, staged, () => undefined);
      await installer.activate(target);
      await installer.activate(target);
      fixture.boot();
      await installer.confirm(target);
      await installer.confirm(target);
      runs(content);
    });

    test('rolling back before confirmation brings the previous image back', async () => {
      await install(target);
      await fixture.installer.rollBack(target);
      await fixture.installer.rollBack(target);
      fixture.boot();
      runs(factory);
    });

    test('rolling back after confirmation brings the previous image back', async () => {
      await install(target);
      await fixture.installer.confirm(target);
      await fixture.installer.rollBack(target);
      await fixture.installer.rollBack(target);
      fixture.boot();
      runs(factory);
      await fixture.installer.rollBack(target);
      fixture.boot();
      runs(factory);
    });

    test('rolling back what was only written keeps what runs', async () => {
      await fixture.installer.write(target, staged, () => undefined);
      await fixture.installer.rollBack(target);
      fixture.boot();
      runs(factory);
    });

    test('a staged image that changed after its check is refused and never runs', async () => {
      const changed = Buffer.from(content);
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
      writeFileSync(staged, changed);
      await assert.rejects(
        fixture.installer.write(target, staged, () => undefined),
        (error) => {
          return isOtaError(error) && error.code === 'IMAGE_HASH_MISMATCH';
        },
      );
      await assert.rejects(fixture.installer.activate(target), (error) => {
        return isOtaError(error) && error.code !== 'BUG';
      });
      fixture.boot();
      runs(factory);
    });

    test('a staged image that vanished is an INSTALL_FAILED that names it', async () => {
      rmSync(staged);
      await assert.rejects(
        fixture.installer.write(target, staged, () => undefined),
        (error) => {
          return (
            isOtaError(error) &&
            error.code === 'INSTALL_FAILED' &&
            error.details.cause.includes(staged)
          );
        },
      );
      runs(factory);
    });

    test('going back from what does not run changes nothing', async () => {
      await fixture.installer.rollBack(target);
      fixture.boot();
      runs(factory);
    });
  });
}
