/** Installers that get encrypted images: from staged cipher text, or from a stream that breaks. */
import assert from 'node:assert/strict';
import {
  existsSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { isOtaError, OtaError } from '../../agent/errors.ts';
import {
  decrypting,
  sweepDecrypted,
  type Decryption,
} from '../../agent/io/encrypted/decrypting-installer.ts';
import { openPlain } from '../../agent/io/encrypted/open-plain.ts';
import { FileInstaller } from '../../agent/io/installers/file.ts';
import { StagingDirectory } from '../../agent/io/staging.ts';
import type { OpenImage, StreamingInstaller } from '../../agent/ports.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import { trust } from '../../agent/uptane/trust.ts';
import { encrypt } from '../director/gateway/encrypt.ts';
import type { JsonMap } from '../director/json/canonical-json.ts';
import {
  DEVICE_ID,
  encryptedImage,
  gather,
  pieces,
  type EncryptedImage,
} from '../support/encrypted-image.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { softwareKey } from '../support/secrets-key.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const KEY = softwareKey('EC');
const CONTENT = Buffer.alloc(5 * 4096 + 7, 'only this device may read this ');
/** More than others write here in an instant. */
const ROOM_BYTES = 4 * 1024 * 1024 * 1024;
const silent = (): undefined => undefined;

describe('an encrypted image', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let decryption: Decryption;
  let image: EncryptedImage;
  beforeEach(async () => {
    directory = temporaryDirectory('encrypted');
    const place = join(directory.path, 'decrypted');
    const key = (): typeof KEY.key => KEY.key;
    decryption = { deviceId: DEVICE_ID, key, directory: place, reserveBytes: 0 };
    image = await encryptedImage(CONTENT, KEY.registered);
  });
  afterEach(() => {
    directory.remove();
  });

  const at = (name: string): string => join(directory.path, name);
  const installed = (): string => at('installed.img');
  const open: OpenImage = (offset) => pieces(image.cipher.subarray(offset));
  const staged = (): Promise<string> =>
    new StagingDirectory(at('staging'), 0).receive(image.target, open, silent);
  const changed = (encrypted: object): TrustedTarget =>
    trust({ ...image.target, encrypted: { ...image.encrypted, ...encrypted } });

  test('is staged as cipher text, and swept like any other', async () => {
    const path = await staged();
    assert.ok(readFileSync(path).equals(image.cipher));
    const staging = new StagingDirectory(at('staging'), 0);
    await staging.sweep([image.target]);
    assert.equal(readdirSync(at('staging')).length, 1);
    await staging.sweep([]);
    assert.deepEqual(readdirSync(at('staging')), []);
  });

  test('reaches an installer that takes a file in the clear, and nothing of that is left', async () => {
    const inner = new FileInstaller(installed());
    const installer = decrypting(inner, decryption);
    assert.ok(installer.takes === 'staged');
    await installer.check(image.target);
    await installer.write(image.target, await staged(), silent);
    await installer.activate(image.target);
    assert.ok(readFileSync(installed()).equals(CONTENT));
    assert.equal(existsSync(decryption.directory), false);
  });

  test('is the user’s own while it is in the clear, and gone when its installer fails', async () => {
    const inner = new FileInstaller(installed());
    let modes: readonly number[] = [];
    inner.write = (target, path) => {
      assert.equal(target.encrypted, undefined);
      modes = [path, decryption.directory].map((one) => statSync(one).mode & 0o777);
      return Promise.reject(new Error('the installer failed'));
    };
    const installer = decrypting(inner, decryption);
    assert.ok(installer.takes === 'staged');
    await assert.rejects(
      installer.write(image.target, await staged(), silent),
      /installer failed/u,
    );
    assert.deepEqual(modes, [0o600, 0o700]);
    assert.equal(existsSync(decryption.directory), false);
  });

  test('that a power cut left in the clear is gone after the next start', async () => {
    const path = await staged();
    const inner = new FileInstaller(installed());
    inner.write = () => new Promise<void>(() => undefined);
    const installer = decrypting(inner, decryption);
    assert.ok(installer.takes === 'staged');
    void installer.write(image.target, path, silent);
    while (!existsSync(join(decryption.directory, 'image'))) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await sweepDecrypted(decryption.directory);
    assert.equal(existsSync(decryption.directory), false);
  });

  test('of other cipher text than was signed is refused before it is decrypted', async () => {
    const flipped = Buffer.from(image.cipher);
    flipped.writeUInt8(flipped.readUInt8(9) ^ 1, 9);
    const receive = new StagingDirectory(at('staging'), 0).receive(
      image.target,
      (offset) => pieces(flipped.subarray(offset)),
      silent,
    );
    await assert.rejects(receive, { code: 'IMAGE_HASH_MISMATCH' });
    assert.deepEqual(readdirSync(at('staging')), []);
  });

  test('that is authentic and still not what was signed never reaches its installer', async () => {
    const other = Buffer.alloc(CONTENT.length, 'another image');
    const sha256 = image.target.hashes.get('sha256') ?? '';
    const claims = { image: { sha256 } };
    const made = await encryptedImage(other, KEY.registered, { claims });
    const target = trust({ ...image.target, encrypted: made.encrypted });
    const path = at('cipher');
    writeFileSync(path, made.cipher);
    const inner = new FileInstaller(installed());
    const installer = decrypting(inner, decryption);
    assert.ok(installer.takes === 'staged');
    await rejectsCode(installer.write(target, path, silent), 'IMAGE_HASH_MISMATCH', {
      filename: target.filename,
      algorithm: 'sha256',
      signed: sha256,
      computed: targetFor(other).hashes.get('sha256') ?? '',
    });
    assert.equal(existsSync(installed()), false);
    assert.equal(existsSync(decryption.directory), false);
  });

  test('without room for it in the clear is SPACE_INSUFFICIENT before anything is downloaded', async () => {
    const full = { ...decryption, reserveBytes: Number.MAX_SAFE_INTEGER - CONTENT.length };
    const installer = decrypting(new FileInstaller(installed()), full);
    await assert.rejects(installer.check(image.target), { code: 'SPACE_INSUFFICIENT' });
  });

  test('needs room for cipher text and image at once, which is asked before the download', async () => {
    const { bavail, bsize } = statfsSync(directory.path);
    // All that is free is for others, but for the cipher text and half of the image.
    const reserve = bavail * bsize - image.cipher.length - ROOM_BYTES / 2;
    const large = trust({ ...image.target, lengthBytes: ROOM_BYTES });
    const staging = new StagingDirectory(at('staging'), reserve);
    await assert.rejects(staging.demandSpace([large]), (error: unknown) => {
      assert.ok(isOtaError(error) && error.code === 'SPACE_INSUFFICIENT', String(error));
      const { neededBytes } = error.details;
      assert.equal(neededBytes, reserve + image.cipher.length + ROOM_BYTES);
      return true;
    });
    await staging.demandSpace([trust({ ...large, lengthBytes: 1 })]);
  });

  test('on a storage that cannot be written is STORAGE_FAILED, and says where', async () => {
    writeFileSync(at('file'), '');
    const nowhere = { ...decryption, directory: join(at('file'), 'decrypted') };
    const installer = decrypting(new FileInstaller(installed()), nowhere);
    await assert.rejects(installer.check(image.target), (error: unknown) => {
      assert.ok(isOtaError(error) && error.code === 'STORAGE_FAILED', String(error));
      assert.equal(error.details.path, nowhere.directory);
      return true;
    });
  });

  describe('whose key is not for this device or this image', () => {
    const refused = async (
      problem: string,
      target: TrustedTarget,
      by = decryption,
    ): Promise<void> => {
      const installer = decrypting(new FileInstaller(installed()), by);
      const details = { filename: target.filename, part: 'key', problem };
      await rejectsCode(installer.check(target), 'IMAGE_DECRYPTION_FAILED', details);
    };
    const claims = (): JsonMap => ({
      sub: DEVICE_ID,
      image: { sha256: image.target.hashes.get('sha256') ?? '' },
    });
    const claiming = async (other: JsonMap): Promise<TrustedTarget> =>
      (await encryptedImage(CONTENT, KEY.registered, { claims: other })).target;

    test('is refused before it is downloaded, and says which', async () => {
      const other = softwareKey('EC');
      await refused(
        'it was encrypted to another key, or changed since',
        (await encryptedImage(CONTENT, other.registered)).target,
      );
      await refused(
        'its alg is RSA-OAEP, want ECDH-ES',
        (await encryptedImage(CONTENT, softwareKey('RSA').registered)).target,
      );
      await refused(
        'it is for device-2, and this device is device-1',
        await claiming({ sub: 'device-2' }),
      );
      await refused(
        'it is for an image with another sha256',
        await claiming({ image: { sha256: '00' } }),
      );
      await refused('it names no hash of the image', await claiming({ image: {} }));
      await refused('header.sub must be a string', await claiming({ sub: 1 }));
      await refused(
        'the key has 16 bytes, want 32',
        changed({ key: encrypt(Buffer.alloc(16), KEY.registered, claims()) }),
      );
      await refused('it is not compact JWE: five parts between dots', changed({ key: 'a.b' }));
      await refused(
        'this device has no key to encrypt to yet: run ota-agent secrets',
        image.target,
        { ...decryption, key: () => undefined },
      );
    });

    test('leaves what the token says to the token', async () => {
      const details = { operation: 'C_DeriveKey', cause: 'CKR_DEVICE_REMOVED' };
      const key = (): never => {
        throw new OtaError('TOKEN_FAILED', details);
      };
      const installer = decrypting(new FileInstaller(installed()), { ...decryption, key });
      await rejectsCode(installer.check(image.target), 'TOKEN_FAILED', details);
    });
  });

  test('is none that OSTree could pull', async () => {
    const installer = decrypting(new FileInstaller(installed()), decryption);
    const target = trust({ ...image.target, format: 'OSTREE' });
    await rejectsCode(installer.check(target), 'INSTALL_FAILED', {
      installer: 'file',
      ecu: target.ecu,
      cause: 'file: OSTREE commits are pulled object by object and cannot be encrypted',
    });
  });

  test('that is none passes through untouched', async () => {
    const plain = targetFor(CONTENT);
    const installer = decrypting(new FileInstaller(installed()), decryption);
    assert.ok(installer.takes === 'staged');
    const staging = new StagingDirectory(at('staging'), 0);
    const path = await staging.receive(plain, (offset) => pieces(CONTENT.subarray(offset)), silent);
    await installer.check(plain);
    await installer.write(plain, path, silent);
    await installer.activate(plain);
    assert.ok(readFileSync(installed()).equals(CONTENT));
  });

  describe('as a stream', () => {
    const plainFrom = (offset: number, way: OpenImage = open): Promise<Buffer> =>
      gather(openPlain(image.target, image.encrypted, decryption, way)(offset));

    test('begins wherever it is resumed, and asks for the cipher text from that chunk on', async () => {
      for (const offset of [0, 1, 4095, 4096, 4097, 3 * 4096, CONTENT.length - 1, CONTENT.length]) {
        const asked: number[] = [];
        const way: OpenImage = (from) => {
          asked.push(from);
          return open(from);
        };
        assert.ok((await plainFrom(offset, way)).equals(CONTENT.subarray(offset)), String(offset));
        const chunk = Math.min(Math.floor(offset / 4096), 5);
        assert.deepEqual(asked, [chunk * (4096 + 16)]);
      }
    });

    test('reaches an installer that streams, which sees nothing of encryption', async () => {
      const received: Buffer[] = [];
      const inner: StreamingInstaller = {
        ...stepsOnly(new FileInstaller(installed())),
        takes: 'stream',
        receive: async (target, way) => {
          assert.equal(target.encrypted, undefined);
          received.push(await gather(way(0)));
        },
        prove: () => Promise.resolve(),
      };
      const installer = decrypting(inner, decryption);
      assert.ok(installer.takes === 'stream');
      await installer.check(image.target);
      await installer.receive(image.target, open, silent);
      assert.ok(received[0]?.equals(CONTENT));
      assert.deepEqual(readdirSync(directory.path), []);
    });

    test('is held against the signed hashes of the cipher text when it is read from its start', async () => {
      const target = changed({ hashes: new Map([['sha256', '0'.repeat(64)]]) });
      const { encrypted = image.encrypted } = target;
      const plain = openPlain(target, encrypted, decryption, open);
      await assert.rejects(gather(plain(0)), { code: 'IMAGE_HASH_MISMATCH' });
    });

    test('that is endless, or ends early, is refused, and a broken way stays one', async () => {
      const endless: OpenImage = (from) =>
        pieces(Buffer.concat([image.cipher.subarray(from), Buffer.alloc(1)]));
      await rejectsCode(plainFrom(0, endless), 'IMAGE_TOO_LARGE', {
        filename: image.target.filename,
        lengthBytes: image.cipher.length,
      });
      const short: OpenImage = (from) => pieces(image.cipher.subarray(from, 2 * (4096 + 16)));
      await rejectsCode(plainFrom(0, short), 'IMAGE_TRUNCATED', {
        filename: image.target.filename,
        lengthBytes: image.cipher.length,
        receivedBytes: 2 * (4096 + 16),
      });
      await rejectsCode(plainFrom(4096, short), 'IMAGE_DECRYPTION_FAILED', {
        filename: image.target.filename,
        part: 'length',
        problem: 'it ends in or before chunk 3 of 6',
      });
      const details = { filename: 'f', url: 'u', cause: 'reset' };
      const broken: OpenImage = async function* (from) {
        yield* pieces(image.cipher.subarray(from, 5000));
        throw new OtaError('DOWNLOAD_FAILED', details);
      };
      await rejectsCode(plainFrom(0, broken), 'DOWNLOAD_FAILED', details);
    });
  });
});

/** Of an installer that is a class: its methods, bound. */
function stepsOnly(inner: FileInstaller): Omit<StreamingInstaller, 'takes' | 'receive' | 'prove'> {
  return {
    kind: inner.kind,
    needsReboot: inner.needsReboot,
    check: () => Promise.resolve(),
    activate: (target) => inner.activate(target),
    booted: (target) => inner.booted(target),
    confirm: () => inner.confirm(),
    rollBack: (target) => inner.rollBack(target),
    describe: () => inner.describe(),
  };
}
