import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import fc from 'fast-check';

import { isOtaError, OtaError } from '../../agent/errors.ts';
import { StagingDirectory } from '../../agent/io/staging.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const content = Buffer.alloc(2_500_000, 'image ');
const target = targetFor(content);
const silent = (): undefined => undefined;

describe('the staging directory', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let staging: StagingDirectory;
  beforeEach(() => {
    directory = temporaryDirectory('staging');
    staging = new StagingDirectory(directory.path, 0);
  });
  afterEach(() => {
    directory.remove();
  });
  const partials = (): string[] => readdirSync(directory.path).filter((n) => n.endsWith('.part'));

  test('receives an image byte for byte, however the network cuts it up', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 70_000 })), async (cuts) => {
        const fresh = new StagingDirectory(join(directory.path, cuts.length.toString()), 0);
        const path = await fresh.receive(target, () => pieces(content, cuts), silent);
        assert.ok(readFileSync(path).equals(content));
      }),
      { numRuns: 20 },
    );
  });

  test('a place that is no directory is what is wrong with the storage, whatever is asked of it', async () => {
    const file = join(directory.path, 'file');
    writeFileSync(file, '');
    const path = join(file, 'staging');
    const nowhere = new StagingDirectory(path, 0);
    const details = {
      path,
      cause: `ENOTDIR: not a directory, mkdir '${path}'`,
      remedy: 'check the file system under storage.path',
    };
    await rejectsCode(nowhere.demandSpace([target]), 'STORAGE_FAILED', details);
    const received = nowhere.receive(target, () => pieces(content, []), silent);
    await rejectsCode(received, 'STORAGE_FAILED', details);
  });

  test('resumes after the way failed: only what is missing is asked for', async () => {
    const asked: number[] = [];
    const broken = async function* (offset: number): AsyncGenerator<Uint8Array> {
      asked.push(offset);
      yield* pieces(content.subarray(offset, offset + 1_200_000), []);
      await Promise.resolve();
      if (offset < 2_000_000) {
        throw new OtaError('DOWNLOAD_FAILED', { filename: 'f', url: 'u', cause: 'reset' });
      }
    };
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await assert.rejects(staging.receive(target, broken, silent), isOtaError);
    }
    const path = await staging.receive(target, broken, silent);
    assert.ok(readFileSync(path).equals(content));
    assert.equal(asked[0], 0);
    assert.ok(
      asked.slice(1).every((offset, index) => offset > (asked[index] ?? 0)),
      String(asked),
    );
  });

  test('an image that is complete is not asked for again, also by a later process', async () => {
    const path = await staging.receive(target, () => pieces(content, []), silent);
    const later = new StagingDirectory(directory.path, 0);
    const never = (): never => assert.fail('asked again');
    assert.equal(await later.receive(target, never, silent), path);
  });

  test('an image that somebody took away since it was proven is fetched again', async () => {
    const path = await staging.receive(target, () => pieces(content, []), silent);
    rmSync(path);
    assert.equal(await staging.receive(target, () => pieces(content, []), silent), path);
    assert.ok(readFileSync(path).equals(content));
  });

  test('a complete image that rotted on disk is found out and fetched again', async () => {
    const path = await staging.receive(target, () => pieces(content, []), silent);
    writeFileSync(path, 'rotten');
    const later = new StagingDirectory(directory.path, 0);
    await later.receive(target, () => pieces(content, []), silent);
    assert.ok(readFileSync(path).equals(content));
  });

  test('refuses an image with one wrong bit, names the hash and keeps nothing of it', async () => {
    const forged = Buffer.from(content);
    forged[7] = (forged[7] ?? 0) ^ 1;
    await rejectsCode(
      staging.receive(target, () => pieces(forged, []), silent),
      'IMAGE_HASH_MISMATCH',
      {
        filename: target.filename,
        algorithm: 'sha256',
        signed: target.hashes.get('sha256') ?? '',
        computed: targetFor(forged).hashes.get('sha256') ?? '',
      },
    );
    assert.deepEqual(readdirSync(directory.path), []);
  });

  test('checks every hash that was signed, not just the first', async () => {
    const hashes = new Map([...target.hashes, ['sha512', '00'.repeat(64)]]);
    const twice = targetFor(content, { hashes });
    await assert.rejects(
      staging.receive(twice, () => pieces(content, []), silent),
      (error) =>
        isOtaError(error) &&
        error.code === 'IMAGE_HASH_MISMATCH' &&
        error.details.algorithm === 'sha512',
    );
  });

  test('refuses a truncated and an endless image', async () => {
    const { filename, lengthBytes } = target;
    const short = content.subarray(0, 100);
    await rejectsCode(
      staging.receive(target, () => pieces(short, []), silent),
      'IMAGE_TRUNCATED',
      {
        filename,
        lengthBytes,
        receivedBytes: 100,
      },
    );
    const long = Buffer.concat([content, Buffer.alloc(1)]);
    await assert.rejects(
      staging.receive(target, () => pieces(long, []), silent),
      (error) => isOtaError(error) && error.code === 'IMAGE_TOO_LARGE',
    );
    assert.deepEqual(partials(), []);
  });

  test('says how much is missing before it downloads, and asks for nothing', async () => {
    const huge = new StagingDirectory(directory.path, Number.MAX_SAFE_INTEGER - content.length);
    await assert.rejects(
      huge.receive(target, () => assert.fail('asked'), silent),
      (error) =>
        isOtaError(error) &&
        error.code === 'SPACE_INSUFFICIENT' &&
        error.details.neededBytes === Number.MAX_SAFE_INTEGER &&
        error.details.freeBytes > 0,
    );
  });

  test('a disk that fills up on the way is SPACE_INSUFFICIENT and what is there stays', async (t) => {
    const mount = join(directory.path, 'small');
    await mkdir(mount);
    if (!mountTmpfs(mount, '2m')) {
      t.skip('mounting a small tmpfs needs root');
      return;
    }
    try {
      const small = new StagingDirectory(mount, 0);
      const lying = targetFor(content, { lengthBytes: 1_000_000 });
      await assert.rejects(
        small.receive(target, () => pieces(content, []), silent),
        (error) => isOtaError(error) && error.code === 'SPACE_INSUFFICIENT',
      );
      writeFileSync(join(mount, 'filler'), Buffer.alloc(1_700_000));
      await assert.rejects(
        small.receive(lying, () => pieces(content, []), silent),
        (error) => isOtaError(error) && error.code === 'SPACE_INSUFFICIENT',
      );
    } finally {
      execFileSync('umount', [mount]);
    }
  });

  test('sweeps what no plan wants and keeps what one does', async () => {
    await staging.receive(target, () => pieces(content, []), silent);
    const other = Buffer.from('other');
    await staging.receive(targetFor(other), () => pieces(other, []), silent);
    await staging.sweep([target]);
    assert.equal(readdirSync(directory.path).length, 1);
    assert.ok(existsSync(await staging.receive(target, () => assert.fail('asked'), silent)));
  });
});

function mountTmpfs(path: string, size: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

async function* pieces(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const cut of cuts) {
    if (at >= bytes.length) return;
    yield await Promise.resolve(bytes.subarray(at, at + cut));
    at += cut;
  }
  if (at < bytes.length) yield bytes.subarray(at);
}
