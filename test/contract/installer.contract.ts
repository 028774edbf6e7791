/** What every Installer must do, whatever tool it drives. Run once per implementation. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { isOtaError, type FailureCode } from '../../agent/errors.ts';
import type { Installer } from '../../agent/ports.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import { trust } from '../../agent/uptane/trust.ts';
import { temporaryDirectory } from '../support/temporary.ts';

export interface InstallerFixture {
  readonly installer: Installer;
  /** What is to be installed, and its bytes as they are downloaded. */
  readonly target: TrustedTarget;
  readonly content: Buffer;
  /** The system as it is now, without asking the installer: which image runs? */
  running(): Running | Promise<Running>;
  /** A power cut and the boot after it; nothing for installers that need none. */
  boot(): void | Promise<void>;
  /** From now on what is downloaded is other bytes; absent where that is what `open` gives. */
  spoil?(): void;
  /** Lets go of what is not in the directory. */
  close?(): void | Promise<void>;
}

/** `update` is the image of `target`; anything else is for the message of a failure. */
export type Running = 'factory' | 'update' | `neither: ${string}`;

/** How a changed image may be found: by its hash, or by the tool's own check. */
const CHANGED: readonly FailureCode[] = ['IMAGE_HASH_MISMATCH', 'INSTALL_FAILED'];

/** @param open - a device in `directory` on which the factory's image runs */
export function installerContract(
  name: string,
  open: (directory: string) => InstallerFixture | Promise<InstallerFixture>,
): void {
  describe(`Installer contract: ${name}`, () => {
    let directory: ReturnType<typeof temporaryDirectory>;
    let staged: string;
    let fixture: InstallerFixture;

    beforeEach(async () => {
      directory = temporaryDirectory('installer');
      fixture = await open(directory.path);
      staged = join(directory.path, 'staged');
      writeFileSync(staged, fixture.content);
    });
    afterEach(async () => {
      await fixture.close?.();
      directory.remove();
    });

    const runs = async (expected: Running): Promise<void> => {
      assert.equal(await fixture.running(), expected);
    };
    const take = (): Promise<void> => takeImage(fixture, staged);
    const install = async (): Promise<void> => {
      await fixture.installer.check(fixture.target);
      await take();
      await fixture.installer.activate(fixture.target);
      await fixture.boot();
    };

    test('it says what it finds on the device before and after an update', async () => {
      assert.notEqual(Object.keys(await fixture.installer.describe()).length, 0);
      await install();
      assert.notEqual(Object.keys(await fixture.installer.describe()).length, 0);
    });

    test('writing does not change what runs, now or after a power cut', async () => {
      await take();
      await runs('factory');
      await fixture.boot();
      await runs('factory');
      assert.equal(await fixture.installer.booted(fixture.target), false);
    });

    test('the new image runs after activation, and is confirmed', async () => {
      const { installer, target } = fixture;
      await install();
      await runs('update');
      assert.equal(await installer.booted(target), true);
      await installer.confirm(target);
      for (let boot = 0; boot < 5; boot += 1) {
        await fixture.boot();
        await installer.noteGoodBoot?.();
      }
      await runs('update');
      assert.equal(await installer.booted(target), true);
    });

    test('every step may be repeated, as after a power cut', async () => {
      const { installer, target } = fixture;
      await take();
      await take();
      await installer.activate(target);
      await installer.activate(target);
      await fixture.boot();
      await installer.confirm(target);
      await installer.confirm(target);
      await runs('update');
    });

    test('rolling back before confirmation brings the previous image back', async () => {
      const { installer, target } = fixture;
      await install();
      await installer.rollBack(target);
      await installer.rollBack(target);
      await fixture.boot();
      await runs('factory');
      assert.equal(await installer.booted(target), false);
    });

    test('rolling back after confirmation brings the previous image back', async () => {
      const { installer, target } = fixture;
      await install();
      await installer.confirm(target);
      await installer.rollBack(target);
      await installer.rollBack(target);
      await fixture.boot();
      await runs('factory');
      await installer.rollBack(target);
      await fixture.boot();
      await runs('factory');
    });

    test('rolling back what was only written keeps what runs', async () => {
      await take();
      await fixture.installer.rollBack(fixture.target);
      await fixture.boot();
      await runs('factory');
    });

    test('an image rolled back may be installed again', async () => {
      await install();
      await fixture.installer.rollBack(fixture.target);
      await fixture.boot();
      await install();
      await runs('update');
    });

    test('an image of other bytes is refused and never runs', async () => {
      const { installer, target } = fixture;
      const changed = Buffer.from(fixture.content);
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
      writeFileSync(staged, changed);
      fixture.spoil?.();
      await assert.rejects(take(), (error) => isOtaError(error) && CHANGED.includes(error.code));
      await assert.rejects(
        installer.activate(target),
        (error) => isOtaError(error) && error.code !== 'BUG',
      );
      await fixture.boot();
      await runs('factory');
    });

    test('what was never written cannot be activated', async () => {
      const { installer, target } = fixture;
      await assert.rejects(
        installer.activate(target),
        (error) => isOtaError(error) && CHANGED.includes(error.code),
      );
      await fixture.boot();
      await runs('factory');
    });

    test('a target for another kind of installer is refused by check, naming both', async () => {
      const { installer, target } = fixture;
      const format = target.format === 'OSTREE' ? 'BINARY' : 'OSTREE';
      const other = trust({ ...target, format });
      await assert.rejects(installer.check(other), (error) => {
        if (!isOtaError(error) || error.code !== 'INSTALL_FAILED') return false;
        const { cause } = error.details;
        return cause.includes(format) && cause.includes(installer.kind);
      });
    });

    test('a staged image that vanished is an INSTALL_FAILED that names it', async (t) => {
      if (fixture.installer.takes !== 'staged') {
        t.skip('nothing is staged');
        return;
      }
      rmSync(staged);
      await assert.rejects(take(), (error) => {
        if (!isOtaError(error) || error.code !== 'INSTALL_FAILED') return false;
        return error.details.cause.includes(staged);
      });
      await runs('factory');
    });

    test('going back from what does not run changes nothing', async () => {
      await fixture.installer.rollBack(fixture.target);
      await fixture.boot();
      await runs('factory');
    });
  });
}

/** Writes and proves `fixture.target` from the file at `staged`, in the way of the installer. */
export async function takeImage(
  { installer, target }: Pick<InstallerFixture, 'installer' | 'target'>,
  staged: string,
): Promise<void> {
  if (installer.takes === 'staged') return installer.write(target, staged, () => undefined);
  await installer.receive(
    target,
    (offsetBytes) => chunks(staged, offsetBytes),
    () => undefined,
  );
  return installer.prove(target, () => undefined);
}

const CHUNK_BYTES = 64 * 1024;

async function* chunks(path: string, offsetBytes: number): AsyncGenerator<Uint8Array> {
  const content = await Promise.resolve(readFileSync(path));
  for (let at = offsetBytes; at < content.byteLength; at += CHUNK_BYTES) {
    yield content.subarray(at, at + CHUNK_BYTES);
  }
}
