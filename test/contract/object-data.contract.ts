/**
 * What the Trusted Storage API promises a TA about data streams, enumerators and keys, whichever
 * storage is below it. Run once per storage.
 *
 * GlobalPlatform TEE Internal Core API v1.3 §5.6, §5.8, §5.9, as OP-TEE implements it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
  ALL,
  answers,
  BAD_PARAMETERS,
  BYTES,
  eachTest,
  id,
  ITEM_NOT_FOUND,
  META,
  NO_SPACE,
  OVERFLOW,
  panics,
  PRIVATE,
  PRIVATE_REE,
  READ,
  SHARED,
} from '../unit/tee/objects/fixture.ts';
import type { TrustedStorageFixture } from './trusted-storage.contract.ts';

const [SET, CUR, END] = [0, 1, 2];
const AES = 0xa000_0010;

export function objectDataContract(name: string, open: () => TrustedStorageFixture): void {
  describe(`trusted objects' data: ${name}`, () => {
    const t = eachTest(open);

    describe('the data stream', () => {
      test('is read from the position on, and ends with fewer bytes and then none', () => {
        const handle = t().create('a');
        assert.deepEqual(t().ta.streams.read(handle, 20), BYTES.slice(0, 20));
        assert.deepEqual(t().ta.streams.read(handle, 20), BYTES.slice(20));
        assert.deepEqual(t().ta.streams.read(handle, 20), new Uint8Array(0));
        t().ta.streams.seek(handle, 100, CUR);
        assert.deepEqual(t().ta.streams.read(handle, 20), new Uint8Array(0));
        assert.equal(t().ta.persistent.info(handle).dataPosition, 132);
      });

      test('is written at the position, over what is there and on beyond its end', () => {
        const handle = t().create('a');
        t().ta.streams.seek(handle, -2, END);
        t().ta.streams.write(handle, id('xyz'));
        const expected = Buffer.concat([BYTES.slice(0, 30), id('xyz')]);
        assert.deepEqual(Buffer.from(t().dataOf(handle)), expected);
        assert.equal(t().ta.persistent.info(handle).dataSizeBytes, 33);
        assert.deepEqual(Buffer.from(t().stored('a')), expected);
      });

      test('has zeros between its end and what is written after it', () => {
        const handle = t().create('a');
        t().ta.streams.seek(handle, 40, SET);
        assert.equal(
          t().ta.persistent.info(handle).dataSizeBytes,
          32,
          'seeking does not lengthen it',
        );
        t().ta.streams.write(handle, id('x'));
        assert.deepEqual(
          Buffer.from(t().stored('a')),
          Buffer.concat([BYTES, new Uint8Array(8), id('x')]),
        );
      });

      test('is not lengthened by nothing', () => {
        const handle = t().create('a');
        t().ta.streams.seek(handle, 40, SET);
        t().ta.streams.write(handle, new Uint8Array(0));
        assert.deepEqual(t().stored('a'), BYTES);
      });

      test('is cut, and lengthened with zeros; the position stays', () => {
        const handle = t().create('a');
        t().ta.streams.seek(handle, 20, SET);
        t().ta.streams.truncate(handle, 10);
        assert.equal(t().ta.persistent.info(handle).dataPosition, 20);
        assert.deepEqual(t().ta.streams.read(handle, 5), new Uint8Array(0));
        t().ta.streams.truncate(handle, 12);
        assert.equal(t().ta.persistent.info(handle).dataSizeBytes, 12);
        assert.deepEqual(
          Buffer.from(t().stored('a')),
          Buffer.concat([BYTES.slice(0, 10), Buffer.alloc(2)]),
        );
      });

      test('is sought from its start, the position or its end, never before its start', () => {
        const handle = t().create('a');
        const position = (offset: number, whence: number): number => {
          t().ta.streams.seek(handle, offset, whence);
          return t().ta.persistent.info(handle).dataPosition;
        };
        assert.equal(position(10, SET), 10);
        assert.equal(position(5, CUR), 15);
        assert.equal(position(-4, CUR), 11);
        assert.equal(position(-100, CUR), 0);
        assert.equal(position(-2, END), 30);
        assert.equal(position(3, END), 35);
        assert.equal(position(-33, END), 0);
        assert.equal(position(0xffff_ffff, SET), 0xffff_ffff);
        for (const [offset, whence] of [
          [1, CUR],
          [0x1_0000_0000, SET],
          [0xffff_ffff, END],
        ] as const) {
          answers(() => position(offset, whence), OVERFLOW);
        }
        assert.equal(t().ta.persistent.info(handle).dataPosition, 0xffff_ffff);
        for (const whence of [3, -1]) panics(() => position(0, whence), BAD_PARAMETERS);
      });

      test('has no byte at a position that has no number: TEE_ERROR_OVERFLOW', () => {
        const handle = t().create('a');
        t().ta.streams.seek(handle, 0xffff_ffff, SET);
        answers(() => {
          t().ta.streams.write(handle, id('x'));
        }, OVERFLOW);
        assert.deepEqual(t().ta.streams.read(handle, 10), new Uint8Array(0));
        assert.deepEqual(t().stored('a'), BYTES);
      });

      test('is no longer than a storage can hold: TEE_ERROR_STORAGE_NO_SPACE, and it stays', () => {
        const handle = t().create('a');
        answers(() => {
          t().ta.streams.truncate(handle, 0xffff_ffff);
        }, NO_SPACE);
        t().ta.streams.seek(handle, 0xffff_fff0, SET);
        answers(() => {
          t().ta.streams.write(handle, id('x'));
        }, NO_SPACE);
        assert.equal(t().ta.persistent.info(handle).dataSizeBytes, 32);
        assert.deepEqual(t().stored('a'), BYTES);
      });

      test('has a position and a remembered size for each handle', () => {
        const one = t().create('a', SHARED);
        const two = t().ta.persistent.open(PRIVATE, id('a'), SHARED);
        t().ta.streams.seek(one, 0, END);
        t().ta.streams.write(one, id('more'));
        assert.equal(t().ta.persistent.info(two).dataPosition, 0);
        assert.equal(t().ta.persistent.info(two).dataSizeBytes, 32, 'OP-TEE keeps it per handle');
        assert.equal(t().ta.streams.read(two, 1000).byteLength, 36);
      });
    });

    describe('enumerating', () => {
      function names(enumerator: number): string[] {
        const found: string[] = [];
        for (;;) {
          try {
            found.push(Buffer.from(t().ta.enumerators.next(enumerator).id).toString());
          } catch {
            return found;
          }
        }
      }

      test('nothing is TEE_ERROR_ITEM_NOT_FOUND at the start, and so is going on', () => {
        const enumerator = t().ta.enumerators.allocate();
        answers(() => t().ta.enumerators.next(enumerator), ITEM_NOT_FOUND);
        answers(() => {
          t().ta.enumerators.start(enumerator, PRIVATE);
        }, ITEM_NOT_FOUND);
        answers(() => t().ta.enumerators.next(enumerator), ITEM_NOT_FOUND);
      });

      test('shows what there was at the start, less what is gone since', () => {
        for (const each of ['a', 'b', 'c']) t().closed(each);
        const enumerator = t().ta.enumerators.allocate();
        t().ta.enumerators.start(enumerator, PRIVATE);
        t().closed('d');
        t().ta.persistent.closeAndDelete(t().ta.persistent.open(PRIVATE, id('b'), META));
        assert.deepEqual(names(enumerator), ['a', 'c']);
        answers(() => t().ta.enumerators.next(enumerator), ITEM_NOT_FOUND);
        t().ta.enumerators.start(enumerator, PRIVATE_REE);
        assert.deepEqual(names(enumerator), ['a', 'c', 'd']);
      });

      test('starts anew when it is started again, and is over when it is reset', () => {
        for (const each of ['a', 'b']) t().closed(each);
        const enumerator = t().ta.enumerators.allocate();
        t().ta.enumerators.start(enumerator, PRIVATE);
        t().ta.enumerators.next(enumerator);
        t().ta.enumerators.start(enumerator, PRIVATE);
        assert.deepEqual(names(enumerator), ['a', 'b']);
        t().ta.enumerators.start(enumerator, PRIVATE);
        t().ta.enumerators.reset(enumerator);
        answers(() => t().ta.enumerators.next(enumerator), ITEM_NOT_FOUND);
      });

      test('describes an object, and that nobody has opened it by this', () => {
        const handle = t().create('a');
        const enumerator = t().ta.enumerators.allocate();
        t().ta.enumerators.start(enumerator, PRIVATE);
        assert.deepEqual(t().ta.enumerators.next(enumerator).info, {
          objectType: 0xa000_00bf,
          objectSizeBits: 0,
          maxObjectSizeBits: 0,
          objectUsage: 0xffff_ffff,
          dataSizeBytes: 32,
          dataPosition: 0,
          handleFlags: 0x3_0000,
        });
        assert.equal(t().ta.persistent.info(handle).handleFlags, 0x3_0000 | ALL);
      });

      test('with an enumerator that is not there is a panic', () => {
        const freed = t().ta.enumerators.allocate();
        t().ta.enumerators.free(freed);
        for (const enumerator of [freed, 99]) {
          panics(() => {
            t().ta.enumerators.free(enumerator);
          }, BAD_PARAMETERS);
          panics(() => {
            t().ta.enumerators.reset(enumerator);
          }, BAD_PARAMETERS);
          panics(() => {
            t().ta.enumerators.start(enumerator, PRIVATE);
          }, BAD_PARAMETERS);
          panics(() => t().ta.enumerators.next(enumerator), BAD_PARAMETERS);
        }
        t().ta.enumerators.free(0);
        t().ta.enumerators.reset(0);
      });
    });

    describe('keys', () => {
      function generated(): number {
        const key = t().ta.transient.allocate(AES, 256);
        t().ta.transient.generateKey(key, 192);
        return key;
      }

      test('are kept beside the data, and described as they were', () => {
        const key = generated();
        const secret = t().ta.transient.operationKey(key);
        const given = { flags: ALL, attributes: key, data: BYTES };
        t().ta.persistent.close(t().ta.persistent.create(PRIVATE, id('k'), given));
        assert.deepEqual(t().stored('k'), BYTES);
        t().restart();
        const handle = t().ta.persistent.open(PRIVATE, id('k'), READ);
        assert.deepEqual(t().ta.transient.operationKey(handle), secret);
        const { objectType, objectSizeBits, maxObjectSizeBits } = t().ta.persistent.info(handle);
        assert.deepEqual([objectType, objectSizeBits, maxObjectSizeBits], [AES, 192, 256]);
        const copy = t().ta.persistent.create(PRIVATE, id('l'), {
          flags: READ,
          attributes: handle,
        });
        assert.deepEqual(t().ta.transient.operationKey(copy), secret);
        assert.deepEqual(t().stored('l'), new Uint8Array(0));
      });

      test('turn into persistent objects in place when no new handle is asked for', () => {
        const key = generated();
        const secret = t().ta.transient.operationKey(key);
        t().ta.persistent.persist(PRIVATE, id('k'), { flags: ALL, attributes: key, data: BYTES });
        assert.deepEqual(t().ta.transient.operationKey(key), secret);
        assert.deepEqual(t().dataOf(key), BYTES);
        assert.deepEqual(t().stored('k'), BYTES);
      });

      test('lose usages for good, for every handle', () => {
        const attributes = generated();
        const one = t().ta.persistent.create(PRIVATE, id('k'), { flags: SHARED, attributes });
        const two = t().ta.persistent.open(PRIVATE, id('k'), SHARED);
        t().ta.persistent.restrictUsage(one, 0x0f);
        t().ta.persistent.restrictUsage(two, 0xfa);
        for (const handle of [one, two])
          assert.equal(t().ta.persistent.info(handle).objectUsage, 0x0a);
        t().restart();
        const handle = t().ta.persistent.open(PRIVATE, id('k'), 0);
        assert.equal(t().ta.persistent.info(handle).objectUsage, 0x0a);
      });
    });
  });
}
