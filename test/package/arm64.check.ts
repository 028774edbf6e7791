/**
 * The tarball for arm64, made on this machine and run on it by qemu-user with Debian's arm64 libraries.
 *
 *     npm run package:arm64
 *
 * Needs g++-aarch64-linux-gnu, binutils-aarch64-linux-gnu and qemu-user-static, and a network for what is
 * unpacked under test/.cache/cross-arm64. A board is another thing: its kernel and its token are not here.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';

import { isCacheTaken } from '../support/code-cache.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PRIMARY } from '../support/uptane-world.ts';
import { VerifyFixture } from '../support/verify-fixture.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const LIBRARIES = join(ROOT, 'test/.cache/cross-arm64/debian');
const directory = temporaryDirectory('arm64');
const installed = join(directory.path, 'root/usr/lib/ota-agent');
const fixture = new VerifyFixture();

before(() => {
  const sh = (script: string, ...args: readonly string[]): void => {
    const env = { ...process.env, QUICK: 'yes' };
    execFileSync('sh', [join(ROOT, 'systemd/package', script), ...args], { env, stdio: 'inherit' });
  };
  sh('cross-arm64.sh');
  sh('package.sh', directory.path, 'arm64');
  const tarball = readdirSync(directory.path).find((name) => name.endsWith('-arm64.tar.gz')) ?? '';
  const script = `mkdir root && tar -C root -xzf ${tarball}`;
  execFileSync('sh', ['-c', script], { cwd: directory.path });
});

after(() => {
  fixture.remove();
  directory.remove();
});

function node(...argv: readonly string[]): { readonly exit: number | null; readonly out: string } {
  const program = [
    '-L',
    LIBRARIES,
    join(installed, 'bin/node'),
    '--max-semi-space-size=1',
    ...argv,
  ];
  const { status, stdout, stderr } = spawnSync('qemu-aarch64-static', program, {
    encoding: 'utf8',
  });
  assert.equal(stderr, '');
  return { exit: status, out: stdout.trim() };
}

const agent = (...argv: readonly string[]): ReturnType<typeof node> =>
  node(join(installed, 'agent/main.js'), ...argv);

test('its Node.js is one for arm64, and the agent says its version', () => {
  assert.equal(node('-p', 'process.arch').out, 'arm64');
  assert.match(agent('--version').out, /^\d+\.\d+\.\d+$/);
});

test('config check accepts what is shipped with it, and refuses a key that does not exist', () => {
  const [good, bad] = [join(installed, 'conf.d'), join(directory.path, 'bad.toml')];
  assert.match(agent('config', 'check', '--config', good).out, /^valid/);
  execFileSync('sh', ['-c', `echo 'nonsense = 1' >${bad}`]);
  const { exit, out } = agent('config', 'check', '--config', bad, '--json');
  assert.deepEqual([exit, (JSON.parse(out) as { code: string }).code], [2, 'CONFIG_INVALID']);
});

test('verify accepts an update with its image, and refuses one byte that is another', () => {
  fixture.world.release('fw-1.bin');
  fixture.serve();
  fixture.write('image/targets/fw-1.bin', 'fw-1.bin');
  const verify = (): ReturnType<typeof node> =>
    agent(
      ...['verify', '--json', '--time', '2026-11-21T00:00:00Z', '--images'],
      ...['--director', fixture.at('director'), '--image', fixture.at('image')],
      ...['--ecu', PRIMARY.serial, '--hardware-id', PRIMARY.hardwareId],
    );
  const good = verify();
  assert.equal((JSON.parse(good.out) as { outcome: string }).outcome, 'update');
  assert.equal(good.exit, 0);
  fixture.write('image/targets/fw-1.bin', 'fw-1.bim');
  const bad = verify();
  const { outcome, code } = JSON.parse(bad.out) as { outcome: string; code: string };
  assert.deepEqual([bad.exit, outcome, code], [31, 'refused', 'IMAGE_HASH_MISMATCH']);
});

test('both native modules load: a database answers, and a PKCS#11 library that is none is said', () => {
  const script = `const [{ default: sqlite }, { PKCS11 }] =
      [await import('sqlite3'), (await import('pkcs11js')).default];
    const database = new sqlite.Database(':memory:');
    database.get('select 6 * 7 as answer', (error, row) => console.log(error ?? row.answer));
    try { new PKCS11().load('/nowhere.so'); } catch (error) { console.log(error.message); }`;
  const file = join(installed, 'agent/probe.mjs');
  execFileSync('sh', ['-c', 'cat >"$0"', file], { input: script });
  const { out } = node(file);
  assert.match(out, /^42$/mu);
  assert.match(out, /nowhere\.so/u);
});

test('its V8 takes what was compiled for the worker', () => {
  assert.equal(node('-p', isCacheTaken(join(installed, 'agent'))).out, 'true');
});
