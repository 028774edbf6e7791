/**
 * What the Trusted Storage API promises a TA about whole objects, whichever storage is below it. Run
 * once per storage.
 *
 * GlobalPlatform TEE Internal Core API v1.3 §5.7, as OP-TEE implements it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { OpenObjects } from '../tee/secure-world/objects/sharing.ts';
import { Memory } from '../tee/secure-world/world/operation.ts';
import {
  ACCESS_CONFLICT,
  ACCESS_DENIED,
  ALL,
  answers,
  BAD_PARAMETERS,
  BAD_STATE,
  BYTES,
  eachTest,
  id,
  instanceOn,
  ITEM_NOT_FOUND,
  META,
  OVERWRITE,
  panics,
  PRIVATE,
  PRIVATE_REE,
  PRIVATE_RPMB,
  READ,
  SHARE_READ,
  SHARE_WRITE,
  SHARED,
  WRITE,
} from '../unit/tee/objects/fixture.ts';
import type { TrustedStorageFixture } from './trusted-storage.contract.ts';

const SET = 0;
const OTHER_TA = '731e279e-aafb-4575-a771-38caa6f0cca6';

export function trustedObjectsContract(name: string, open: () => TrustedStorageFixture): void {
  describe(`trusted objects: ${name}`, () => {
    const t = eachTest(open);

    describe('storage identifiers', () => {
      test('name the REE-FS as private storage and by itself: the same objects', () => {
        t().closed('a');
        const handle = t().ta.persistent.open(PRIVATE_REE, id('a'), READ);
        answers(() => t().ta.persistent.open(PRIVATE, id('a'), READ), ACCESS_CONFLICT);
        t().ta.persistent.close(handle);
      });

      test('of a storage that there is not are TEE_ERROR_ITEM_NOT_FOUND', () => {
        for (const storage of [0, 2, PRIVATE_RPMB, 0x8000_0001, 0xffff_ffff]) {
          answers(() => t().ta.persistent.open(storage, id('a'), READ), ITEM_NOT_FOUND);
          answers(() => t().ta.persistent.create(storage, id('a'), { flags: 0 }), ITEM_NOT_FOUND);
          const enumerator = t().ta.enumerators.allocate();
          answers(() => {
            t().ta.enumerators.start(enumerator, storage);
          }, ITEM_NOT_FOUND);
        }
      });
    });

    describe('object identifiers', () => {
      test('have 0 to 64 bytes, and more is a panic', () => {
        for (const bytes of [0, 1, 64]) {
          const given = { flags: META, data: Uint8Array.of(bytes) };
          t().ta.persistent.close(t().ta.persistent.create(PRIVATE, new Uint8Array(bytes), given));
        }
        const tooLong = new Uint8Array(65);
        const handle = t().create('a');
        panics(() => t().ta.persistent.open(PRIVATE, tooLong, READ), BAD_PARAMETERS);
        panics(() => t().ta.persistent.create(PRIVATE, tooLong, { flags: 0 }), BAD_PARAMETERS);
        panics(() => {
          t().ta.persistent.rename(handle, tooLong);
        }, BAD_PARAMETERS);
      });

      test("in the client's memory are a panic, since it could change them", () => {
        t().closed('a');
        const shared = new Memory(id('a'), 1, false);
        const handle = t().ta.persistent.open(PRIVATE, id('a'), META);
        panics(() => t().ta.persistent.open(PRIVATE, shared, READ), ACCESS_DENIED);
        panics(() => t().ta.persistent.create(PRIVATE, shared, { flags: 0 }), ACCESS_DENIED);
        panics(() => {
          t().ta.persistent.rename(handle, shared);
        }, ACCESS_DENIED);
      });

      test('of one TA mean nothing to another', () => {
        t().closed('a');
        const other = instanceOn(t().fixture.storage, new OpenObjects(), OTHER_TA);
        answers(() => other.persistent.open(PRIVATE, id('a'), READ), ITEM_NOT_FOUND);
      });
    });

    describe('flags', () => {
      test('that TEE_OpenPersistentObject does not know are a panic, OVERWRITE among them', () => {
        t().closed('a');
        const known = READ | WRITE | META | SHARE_READ | SHARE_WRITE;
        for (let bit = 0; bit < 32; bit += 1) {
          const flags = (1 << bit) >>> 0;
          if ((flags & known) !== 0)
            t().ta.persistent.close(t().ta.persistent.open(PRIVATE, id('a'), flags));
          else panics(() => t().ta.persistent.open(PRIVATE, id('a'), flags), BAD_PARAMETERS);
        }
      });

      test('that TEE_CreatePersistentObject does not know are a panic, and nothing is created', () => {
        const known = READ | WRITE | META | SHARE_READ | SHARE_WRITE | OVERWRITE;
        for (let bit = 0; bit < 32; bit += 1) {
          const flags = (1 << bit) >>> 0;
          if ((flags & known) !== 0) continue;
          panics(() => t().ta.persistent.create(PRIVATE, id('a'), { flags }), BAD_PARAMETERS);
        }
        answers(() => t().ta.persistent.open(PRIVATE, id('a'), READ), ITEM_NOT_FOUND);
      });

      test('decide who may have an object open beside whom (tee_pobj_check_access)', () => {
        t().closed('a');
        const other = instanceOn(t().fixture.storage, t().claims);
        const every = Array.from({ length: 64 }, (_, flags) => flags).filter(
          (each) => (each & 8) === 0,
        );
        for (const one of every) {
          const held = t().ta.persistent.open(PRIVATE, id('a'), one);
          for (const two of every) {
            const act = (): number => other.persistent.open(PRIVATE, id('a'), two);
            if (areCompatible(one, two)) other.persistent.close(act());
            else answers(act, ACCESS_CONFLICT);
          }
          t().ta.persistent.close(held);
        }
      });
    });

    describe('creating', () => {
      test('is durable and whole, and gives a handle at the start of the stream', () => {
        const handle = t().create('a', READ);
        assert.deepEqual(t().ta.streams.read(handle, 10), BYTES.slice(0, 10));
        assert.deepEqual(t().stored('a'), BYTES);
      });

      test('what is there without OVERWRITE is TEE_ERROR_ACCESS_CONFLICT, open or not', () => {
        const handle = t().create('a');
        answers(() => t().create('a', ALL, id('other')), ACCESS_CONFLICT);
        t().ta.persistent.close(handle);
        answers(() => t().create('a', ALL, id('other')), ACCESS_CONFLICT);
        assert.deepEqual(t().stored('a'), BYTES);
      });

      test('with OVERWRITE replaces what nobody has open, and refuses what somebody has', () => {
        const handle = t().create('a');
        answers(() => t().create('a', READ | OVERWRITE, id('b')), ACCESS_CONFLICT);
        assert.deepEqual(t().dataOf(handle), BYTES);
        t().ta.persistent.close(handle);
        t().ta.persistent.close(t().create('a', READ | OVERWRITE, id('b')));
        assert.deepEqual(t().stored('a'), id('b'));
      });

      test('with OVERWRITE what is shared shows its other handles the new data', () => {
        const handle = t().create('a', SHARED);
        const replacing = t().create('a', SHARED | OVERWRITE, id('new'));
        assert.deepEqual(t().dataOf(handle), id('new'));
        assert.deepEqual(t().dataOf(replacing), id('new'));
      });
    });

    describe('access', () => {
      test('that a handle was not opened for is a panic', () => {
        t().closed('a');
        for (const flags of [0, READ, WRITE, META]) {
          const handle = t().ta.persistent.open(PRIVATE, id('a'), flags);
          if ((flags & READ) === 0) panics(() => t().ta.streams.read(handle, 1), ACCESS_CONFLICT);
          if ((flags & WRITE) === 0) {
            panics(() => {
              t().ta.streams.write(handle, id('x'));
            }, ACCESS_CONFLICT);
            panics(() => {
              t().ta.streams.truncate(handle, 1);
            }, ACCESS_CONFLICT);
          }
          if ((flags & META) === 0) {
            panics(() => {
              t().ta.persistent.rename(handle, id('b'));
            }, BAD_STATE);
            panics(() => {
              t().ta.persistent.closeAndDelete(handle);
            }, BAD_STATE);
          }
          t().ta.persistent.close(handle);
        }
        assert.deepEqual(t().stored('a'), BYTES);
      });

      test('through a handle that the instance does not have is a panic in every function', () => {
        const stale = t().create('a');
        t().ta.persistent.close(stale);
        const other = instanceOn(t().fixture.storage);
        const theirs = other.persistent.open(PRIVATE, id('a'), ALL);
        assert.equal(theirs, stale, 'handles are per instance');
        for (const handle of [stale, 0, 77, -1]) {
          panics(() => t().ta.persistent.info(handle), BAD_PARAMETERS);
          panics(() => t().ta.streams.read(handle, 1), BAD_PARAMETERS);
          for (const act of [
            () => {
              t().ta.persistent.restrictUsage(handle, 0);
            },
            () => {
              t().ta.persistent.rename(handle, id('b'));
            },
            () => {
              t().ta.streams.write(handle, id('b'));
            },
            () => {
              t().ta.streams.truncate(handle, 0);
            },
            () => {
              t().ta.streams.seek(handle, 0, SET);
            },
          ])
            panics(act, BAD_PARAMETERS);
          if (handle === 0) continue;
          panics(() => {
            t().ta.persistent.close(handle);
          }, BAD_PARAMETERS);
          panics(() => {
            t().ta.persistent.closeAndDelete(handle);
          }, BAD_PARAMETERS);
        }
        t().ta.persistent.close(0);
        t().ta.persistent.closeAndDelete(0);
        assert.deepEqual(t().stored('a'), BYTES);
      });
    });

    describe('deleting', () => {
      test('ends the object and the handle', () => {
        const handle = t().create('a');
        t().ta.persistent.closeAndDelete(handle);
        panics(() => t().ta.persistent.info(handle), BAD_PARAMETERS);
        t().restart();
        answers(() => t().ta.persistent.open(PRIVATE, id('a'), READ), ITEM_NOT_FOUND);
      });
    });

    describe('renaming', () => {
      test('moves the object and what its handle stands for', () => {
        const handle = t().create('a');
        t().ta.persistent.rename(handle, id('b'));
        assert.deepEqual(t().dataOf(handle), BYTES);
        answers(() => t().ta.persistent.open(PRIVATE, id('b'), READ), ACCESS_CONFLICT);
        answers(() => t().ta.persistent.open(PRIVATE, id('a'), READ), ITEM_NOT_FOUND);
        t().ta.streams.truncate(handle, 3);
        assert.deepEqual(t().stored('b'), BYTES.slice(0, 3));
      });

      test('onto an object, open or not, or onto itself is TEE_ERROR_ACCESS_CONFLICT', () => {
        const handle = t().create('a');
        const other = t().create('b', SHARED, id('other'));
        answers(() => {
          t().ta.persistent.rename(handle, id('b'));
        }, ACCESS_CONFLICT);
        t().ta.persistent.close(other);
        answers(() => {
          t().ta.persistent.rename(handle, id('b'));
        }, ACCESS_CONFLICT);
        answers(() => {
          t().ta.persistent.rename(handle, id('a'));
        }, ACCESS_CONFLICT);
        assert.deepEqual(t().dataOf(handle), BYTES);
        assert.deepEqual(t().stored('b'), id('other'));
      });
    });
  });
}

/** The rule as the specification words it, one sentence a line. */
function areCompatible(one: number, two: number): boolean {
  const has = (flags: number, flag: number): boolean => (flags & flag) === flag;
  if (has(one, META) || has(two, META)) return false;
  if (has(one, SHARE_READ) !== has(two, SHARE_READ)) return false;
  if (has(one, SHARE_WRITE) !== has(two, SHARE_WRITE)) return false;
  if (!has(one, SHARE_READ) && (has(one, READ) || has(two, READ))) return false;
  if (!has(one, SHARE_WRITE) && (has(one, WRITE) || has(two, WRITE))) return false;
  return true;
}
