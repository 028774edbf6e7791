/** A board that SWUpdate updates, for one test: staged images, causes of failures, what must be untouched. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import { makeSwu, makeSwuKey, type SwuKey, type SwuOptions } from './swu.ts';
import { SwupdateBoard } from './swupdate-board.ts';
import { devicesOf } from './swupdate-installer.ts';
import { targetFor } from './targets.ts';
import { temporaryDirectory } from './temporary.ts';

export const FACTORY = Buffer.from('factory image');
export const IMAGE = Buffer.alloc(6 * 1024 * 1024, 'new image ');
export const DIRECTLY = 'installed-directly = true;';
export const NEEDS_ROOT = process.getuid?.() === 0 ? false : 'mounting and loop devices need root';

export interface Bench {
  readonly board: SwupdateBoard;
  readonly directory: string;
  readonly make: (changes?: Partial<SwuOptions> & { image?: Buffer; signer?: SwuKey }) => Buffer;
  /** Stages the bytes of a .swu as the cycle does: hashes are right. */
  readonly stage: (content: Buffer) => { readonly target: TrustedTarget; readonly staged: string };
  /** What is to be done before the directory goes, the last one first. */
  readonly closeLater: (close: () => unknown) => void;
  readonly close: () => Promise<void>;
}

/** Benches whose daemons take what `vendor` signs, while the tests of a file run. */
export class SwupdateBenches {
  readonly #keys = temporaryDirectory('swu-keys');
  #vendor: SwuKey | undefined;

  constructor() {
    before(() => {
      this.#vendor = this.makeKey('vendor');
    });
    after(() => {
      this.#keys.remove();
    });
  }

  makeKey(name: string): SwuKey {
    return makeSwuKey(this.#keys.path, name);
  }

  openFor(t: TestContext): Bench {
    const bench = this.open();
    t.after(bench.close);
    return bench;
  }

  open(): Bench {
    const vendor = this.#vendor;
    assert.ok(vendor !== undefined);
    const directory = temporaryDirectory('swupdate');
    const board = SwupdateBoard.create(directory.path, FACTORY, vendor.certificatePath);
    const staged = join(directory.path, 'staged.swu');
    const closing: (() => unknown)[] = [];
    return {
      board,
      directory: directory.path,
      make: ({ image = IMAGE, signer = vendor, ...changes } = {}) => {
        const options = { devices: devicesOf(board), attributes: DIRECTLY, ...changes };
        return makeSwu(directory.path, image, signer, options);
      },
      stage: (content) => {
        writeFileSync(staged, content);
        return { staged, target: targetFor(content, { filename: 'update.swu' }) };
      },
      closeLater: (close) => closing.unshift(close),
      close: async () => {
        await board.killDaemon();
        for (const close of closing) close();
        directory.remove();
      },
    };
  }
}

/** @returns the cause that INSTALL_FAILED names */
export async function causeOf(act: Promise<unknown>): Promise<string> {
  try {
    await act;
  } catch (error) {
    assert.ok(isOtaError(error) && error.code === 'INSTALL_FAILED', String(error));
    assert.equal(error.details.installer, 'swupdate');
    return error.details.cause;
  }
  return assert.fail('nothing was refused');
}

export const none = (): void => undefined;

/** Neither what runs nor the other slot was touched, and the boot loader chooses as before. */
export function demandUntouched(
  board: SwupdateBoard,
  variables: Readonly<Record<string, string>>,
): void {
  assert.deepEqual(board.variables(), variables);
  assert.ok(readFileSync(board.slots.a).equals(FACTORY));
  assert.equal(readFileSync(board.slots.b).byteLength, 0);
}
