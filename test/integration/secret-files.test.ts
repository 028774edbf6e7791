/** Files of secrets: in memory, for one user, replaced whole. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

import { SecretFiles } from '../../agent/io/secrets/secret-files.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

let memory: string;
let path: string;
beforeEach(() => {
  memory = mkdtempSync('/dev/shm/ota-agent-secrets-');
  path = join(memory, 'secrets');
});
afterEach(() => {
  rmSync(memory, { recursive: true });
});

const secrets = (values: Record<string, string>): Map<string, Buffer> =>
  new Map(Object.entries(values).map(([name, value]) => [name, Buffer.from(value)]));

test('each is a file of its own that this user alone can read', async () => {
  const changed = await new SecretFiles(path).replace(secrets({ db: 'one', api: 'two' }));
  assert.deepEqual(changed, ['api', 'db']);
  assert.equal(readFileSync(join(path, 'db'), 'utf8'), 'one');
  assert.equal(statSync(join(path, 'db')).mode & 0o777, 0o400);
  assert.equal(statSync(path).mode & 0o777, 0o700);
});

test('what is the same is not touched, what is other is replaced whole, what is gone is removed', async () => {
  const files = new SecretFiles(path);
  await files.replace(secrets({ db: 'one', api: 'two', old: 'x' }));
  const before = statSync(join(path, 'db')).ino;
  writeFileSync(join(path, 'api.new'), 'left by a crash');
  const changed = await files.replace(secrets({ db: 'one', api: 'three' }));
  assert.deepEqual(changed, ['api', 'old']);
  assert.equal(statSync(join(path, 'db')).ino, before);
  assert.deepEqual(readdirSync(path).sort(), ['api', 'db']);
});

test('a directory on a disk is refused, and nothing is written there', async (t) => {
  const disk = temporaryDirectory('secrets');
  t.after(() => {
    disk.remove();
  });
  const place = join(disk.path, 'secrets');
  await rejectsCode(new SecretFiles(place).replace(secrets({ db: 'one' })), 'SECRETS_PLACE', {
    path: place,
    problem: 'it is on a disk: what was there once can be read again',
    remedy: 'set secrets.directory to a place below /run, where a tmpfs is mounted',
  });
  assert.deepEqual(readdirSync(place), []);
});

test('a directory that others may use, or that is a link, is refused', async () => {
  mkdirSync(path);
  chmodSync(path, 0o755);
  const uid = String(process.geteuid?.());
  await rejectsCode(new SecretFiles(path).replace(secrets({ db: 'one' })), 'SECRETS_PLACE', {
    path,
    problem: `others may use it: mode 0755, owner ${uid}`,
    remedy: 'make it mode 0700 and this user’s own, or remove it',
  });
  const link = join(memory, 'link');
  symlinkSync(path, link);
  await rejectsCode(new SecretFiles(link).replace(secrets({ db: 'one' })), 'SECRETS_PLACE', {
    path: link,
    problem: 'it is not a directory',
    remedy: 'remove it',
  });
  assert.deepEqual(readdirSync(path), []);
});
