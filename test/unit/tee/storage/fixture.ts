/** What the tests of the REE-FS format have in common. */
import assert from 'node:assert/strict';

import type { Anchor } from '../../../tee/secure-world/storage/anchor.ts';
import type { BlockDirectory } from '../../../tee/secure-world/storage/block-file.ts';
import { openReeFsOn } from '../../../tee/secure-world/storage/ree-fs.ts';
import { openRpmbFs, type RawFiles } from '../../../tee/secure-world/storage/rpmb-fs.ts';
import type { ChipParameters } from '../../../tee/secure-world/storage/rpmb/chip.ts';
import { openRpmbDevice } from '../../../tee/secure-world/storage/rpmb/device.ts';
import {
  StorageFailure,
  type TrustedStorage,
} from '../../../tee/secure-world/storage/trusted-storage.ts';

export const TA = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';
export const HUK = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

export function openOn(disk: BlockDirectory, anchor?: Anchor): TrustedStorage {
  return openReeFsOn(disk, { huk: HUK, ...(anchor && { anchor }) });
}

/** The smallest chip there is. */
export const SMALL_CHIP: ChipParameters = {
  cid: Buffer.from('d60103383141313201123456789abc55', 'hex'),
  sizeMult: 1,
  relWrSecC: 1,
};

export function openRpmbOn(
  disk: BlockDirectory,
  parameters: ChipParameters = SMALL_CHIP,
): TrustedStorage & RawFiles {
  return openRpmbFs({ device: openRpmbDevice(disk, parameters), huk: HUK });
}

export function id(name: string): Uint8Array {
  return new TextEncoder().encode(name);
}

export function bytes(lengthBytes: number, fill: number): Uint8Array {
  return new Uint8Array(lengthBytes).fill(fill);
}

/** Every object of the test TA: identifier and contents as hexadecimal text. */
export function contentsOf(storage: TrustedStorage): ReadonlyMap<string, string> {
  return new Map(
    storage.list(TA).map((each) => {
      const data = storage.read(TA, each) ?? assert.fail('listed, but there is none');
      return [Buffer.from(each).toString(), Buffer.from(data).toString('hex')];
    }),
  );
}

/** Asserts on the TEE_Result, never on wording. */
export function throwsResult(act: () => unknown, ...results: readonly number[]): void {
  assert.throws(act, (error: unknown) => {
    assert.ok(error instanceof StorageFailure, String(error));
    assert.ok(results.includes(error.result), error.message);
    return true;
  });
}
