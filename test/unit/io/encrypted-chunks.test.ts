/** Chunks against whoever changes, cuts, moves or repeats them, and against the documented vector. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';

import fc from 'fast-check';

import { isOtaError } from '../../../agent/errors.ts';
import { chunkedAs, decryptChunks, type Chunked } from '../../../agent/io/encrypted/chunks.ts';
import { sealed } from '../../director/encrypted-images.ts';
import {
  encryptedImage,
  gather,
  pieces,
  type EncryptedImage,
} from '../../support/encrypted-image.ts';
import { softwareKey } from '../../support/secrets-key.ts';
import { targetFor } from '../../support/targets.ts';

const CHUNK_BYTES = 4096;
const STEP = CHUNK_BYTES + 16;
const RECIPIENT = softwareKey('EC').registered;
const CONTENT = Buffer.from(Array.from({ length: 3 * CHUNK_BYTES + 100 }, (_none, at) => at % 251));
const DOCUMENT = readFileSync(join(import.meta.dirname, '../../../agent/ENCRYPTED.md'), 'utf8');

/** What came out before it ended, and which part was refused. */
async function attempt(
  image: Chunked,
  key: Buffer,
  cipher: Buffer,
  size = 3000,
): Promise<{ readonly plain: Buffer; readonly refused: string | undefined }> {
  const all: Uint8Array[] = [];
  try {
    for await (const one of decryptChunks(pieces(cipher, size), image, key, 0)) all.push(one);
    return { plain: Buffer.concat(all), refused: undefined };
  } catch (error) {
    assert.ok(isOtaError(error) && error.code === 'IMAGE_DECRYPTION_FAILED', String(error));
    return { plain: Buffer.concat(all), refused: error.details.part };
  }
}

describe('an image in authenticated chunks', () => {
  let honest: EncryptedImage;
  let image: Chunked;
  before(async () => {
    honest = await encryptedImage(CONTENT, RECIPIENT);
    image = chunkedAs(honest.target, honest.encrypted);
  });
  /** It is refused, and all that came before was authentic. */
  const refuses = async (cipher: Buffer, part?: string, as = image): Promise<void> => {
    const { plain, refused } = await attempt(as, honest.contentKey, cipher);
    assert.notEqual(refused, undefined);
    if (part !== undefined) assert.equal(refused, part);
    assert.ok(plain.equals(CONTENT.subarray(0, plain.length)));
    assert.equal(plain.length % CHUNK_BYTES === 0 || plain.equals(CONTENT), true);
  };

  test('comes out as it went in, whatever its length and however the network cuts it up', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.nat(3 * CHUNK_BYTES),
          fc.constantFrom(0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES),
        ),
        fc.integer({ min: 1, max: 9000 }),
        async (length, size) => {
          const plain = CONTENT.subarray(0, length);
          const one = await encryptedImage(plain, RECIPIENT);
          const as = chunkedAs(one.target, one.encrypted);
          const { plain: out, refused } = await attempt(as, one.contentKey, one.cipher, size);
          assert.equal(refused, undefined);
          assert.ok(out.equals(plain));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('is refused in the chunk of any byte that was changed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(honest.cipher.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, difference) => {
          const cipher = Buffer.from(honest.cipher);
          cipher.writeUInt8(cipher.readUInt8(at) ^ difference, at);
          await refuses(cipher, `chunk ${String(Math.floor(at / STEP) + 1)} of 4`);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('is refused wherever it is cut, also at the border of a chunk', async () => {
    const cuts = fc.oneof(
      fc.nat(honest.cipher.length - 1),
      fc.nat(3).map((at) => at * STEP),
    );
    await fc.assert(
      fc.asyncProperty(cuts, (at) => refuses(honest.cipher.subarray(0, at), 'length')),
      { numRuns: 200 },
    );
  });

  test('is refused when anything follows it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 2 * STEP }), (more) =>
        refuses(Buffer.concat([honest.cipher, more]), 'length'),
      ),
      { numRuns: 50 },
    );
  });

  test('is refused when chunks are exchanged, repeated or left out', async () => {
    const chunks = [0, 1, 2, 3].map((at) => honest.cipher.subarray(at * STEP, (at + 1) * STEP));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3), { maxLength: 6 }), async (order) => {
        fc.pre(order.join() !== '0,1,2,3');
        await refuses(Buffer.concat(order.map((at) => chunks[at] ?? Buffer.alloc(0))));
      }),
      { numRuns: 200 },
    );
  });

  test('is refused when its signed length or its chunks are said to be others', async () => {
    const shorter = targetFor(CONTENT.subarray(0, CHUNK_BYTES));
    const as = chunkedAs(shorter, honest.encrypted);
    await refuses(honest.cipher.subarray(0, STEP), 'chunk 1 of 1', as);
    const wider = chunkedAs(honest.target, { ...honest.encrypted, chunkBytes: 8192 });
    await refuses(honest.cipher, 'length', wider);
  });

  test('is refused with the header of another wrapped key: it was made for that one alone', async () => {
    const { encrypted: other } = await encryptedImage(CONTENT, RECIPIENT);
    const as = chunkedAs(honest.target, { ...honest.encrypted, key: other.key });
    await refuses(honest.cipher, 'chunk 1 of 4', as);
  });
});

describe('the vectors of ENCRYPTED.md', () => {
  const contentKey = Buffer.from(Array.from({ length: 32 }, (_none, at) => at));
  const key = 'eyJhbGciOiJFQ0RILUVTIn0....';
  for (const [plain, found] of [
    [Buffer.from('plain'), (cipher: Buffer) => cipher.toString('hex')],
    [Buffer.alloc(4097), (cipher: Buffer) => createHash('sha256').update(cipher).digest('hex')],
  ] as const) {
    test(`are what both sides make of ${String(plain.length)} bytes`, async () => {
      const sealing = { contentKey, key, chunkBytes: CHUNK_BYTES, plainBytes: plain.length };
      const cipher = await gather(sealed(pieces(plain), sealing));
      assert.ok(DOCUMENT.includes(found(cipher)));
      const encrypted = { chunkBytes: CHUNK_BYTES, key, lengthBytes: 0, hashes: new Map() };
      const image = chunkedAs(targetFor(plain), encrypted);
      assert.ok(DOCUMENT.includes(image.bound.toString('hex')));
      const opened = await gather(decryptChunks(pieces(cipher), image, contentKey, 0));
      assert.ok(opened.equals(plain));
    });
  }
});
