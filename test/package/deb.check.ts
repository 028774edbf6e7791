/**
 * The package as it is shipped: judged as a whole, and the same bytes when it is made again.
 *
 *     npm run package:check
 *
 * Outside `npm test`, which has package.test.ts, because two packages are built; some minutes.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';

import { temporaryDirectory } from '../support/temporary.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const directory = temporaryDirectory('package');
const env = { ...process.env, SOURCE_DATE_EPOCH: '1767225600' };

function build(name: string): string {
  const out = join(directory.path, name);
  execFileSync('sh', [join(ROOT, 'systemd/package/package.sh'), out], { env });
  return out;
}

let first: string;
before(() => {
  first = build('first');
});
after(() => {
  directory.remove();
});

function inDirectory(path: string, script: string): string {
  return execFileSync('sh', ['-c', script], { cwd: path, encoding: 'utf8' });
}

test('lintian finds no error in it', () => {
  inDirectory(first, 'lintian --allow-root --fail-on error ./*.deb');
});

test('two builds are the same bytes: package, tarball and SBOM', () => {
  const second = build('second');
  const digests = 'sha256sum *';
  assert.equal(inDirectory(second, digests), inDirectory(first, digests));
});
