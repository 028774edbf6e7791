/** One repository's part of what was kept. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { isOtaError, OtaError } from '../../../agent/errors.ts';
import { KeptFiles } from '../../../agent/uptane/kept-files.ts';
import type { Common, File } from '../../../agent/uptane/metadata.ts';
import { parseInstant } from '../../../agent/uptane/time.ts';

const BYTES = Buffer.from('kept');
const body: Common = { version: 1, expiresAt: parseInstant('2026-12-01T00:00:00Z', 'test') };
const parse = (bytes: Uint8Array): File<Common> => ({
  ...{ bytes, body },
  countSigners: () => 0,
  hasHashes: () => true,
});
const kept = (): KeptFiles =>
  new KeptFiles(
    'director',
    new Map([
      ['director/root', BYTES],
      ['image/targets', BYTES],
      ['damaged!/snapshot', BYTES],
    ]),
  );

describe('what was kept', () => {
  test('belongs to one repository, however much other names look alike (R1)', () => {
    const files = kept();
    assert.deepEqual(
      ['root', 'targets', 'snapshot'].map((role) => files.has(role)),
      [true, false, false],
    );
  });

  test('is these bytes and no others', () => {
    const files = kept();
    assert.equal(files.holds('root', Buffer.from('kept')), true);
    assert.equal(files.holds('root', Buffer.from('kepT')), false);
    assert.equal(files.holds('targets', BYTES), false);
  });

  test('is read once, and anew when it was replaced', () => {
    const files = kept();
    assert.equal(files.read('targets', parse), undefined);
    const first = files.read('root', parse);
    assert.deepEqual(first?.bytes, BYTES);
    assert.equal(files.read('root', parse), first);
    const next = parse(Buffer.from('next'));
    files.replace('root', next);
    assert.equal(files.read('root', parse), next);
    assert.equal(files.holds('root', Buffer.from('next')), true);
  });

  test('is gone when it was forgotten, which is told once', () => {
    const files = kept();
    assert.equal(files.forget('root'), true);
    assert.equal(files.forget('root'), false);
    assert.equal(files.has('root'), false);
    assert.equal(files.read('root', parse), undefined);
  });
});

describe('damage (P9)', () => {
  const refusal = new OtaError('METADATA_MALFORMED', { path: 'director/root', want: 'UTF-8' });
  const fail = (error: Error) => (): never => {
    throw error;
  };

  test('is STORAGE_CORRUPT, with what was found as its cause', () => {
    for (const read of [
      () => kept().read('root', fail(refusal)),
      () => kept().require('root', fail(refusal)),
    ]) {
      assert.throws(read, (error) => {
        assert.ok(isOtaError(error) && error.code === 'STORAGE_CORRUPT');
        assert.deepEqual(error.details, {
          path: 'director/root',
          cause: refusal.message,
          remedy: 'restore the trusted metadata or provision the device again',
        });
        assert.equal(error.cause, refusal);
        return true;
      });
    }
  });

  test('is not what an error of ours is taken for', () => {
    const bug = new TypeError('bug');
    assert.throws(() => kept().read('root', fail(bug)), bug);
  });

  test('is a file that has to be there and is not', () => {
    assert.throws(
      () => kept().require('timestamp', parse),
      (error) =>
        isOtaError(error) && error.code === 'STORAGE_CORRUPT' && error.details.cause === 'missing',
    );
  });
});
