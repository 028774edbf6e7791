/**
 * The three images of the Dockerfile, built on bases of this machine's making, and run.
 *
 *     npm run images:check            agent, staging and ci: everything that `npm run setup` installs
 *     IMAGES=agent,staging npm run images:check
 *
 * Needs root, the Debian packages debootstrap and buildah, and a network to build with; the containers
 * have none. The bases stay in test/.cache/images.
 */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { Podman } from '../support/podman.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const CACHE = join(ROOT, 'test/.cache/images');
const WANTED = (process.env['IMAGES'] ?? 'agent,staging,ci').split(',');
const SERVES_WITHIN_MS = 60_000;

const directory = temporaryDirectory('images');
const podman = new Podman(join(directory.path, 'engine'), 'overlay');

before(async () => {
  execFileSync('sh', [join(ROOT, 'test/package/base.sh'), CACHE], { stdio: 'inherit' });
  await podman.start();
  for (const name of ['base', 'node-base']) await importTree(name);
  for (const target of WANTED) await build(target);
});

after(async () => {
  if (existsSync(podman.program)) podman.clear();
  await podman.stop();
  directory.remove();
});

const engine = (name: string): string => join(directory.path, 'engine', name);

/** On this machine's network: podman's own program is in a namespace that has none. */
async function buildah(...argv: readonly string[]): Promise<string> {
  const storage = ['--root', engine('root'), '--runroot', engine('run')];
  const args = [...storage, '--storage-driver', 'overlay', ...argv];
  const { stdout } = await promisify(execFile)('buildah', args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

async function importTree(name: string): Promise<void> {
  const container = await buildah('from', 'scratch');
  await buildah('add', '--quiet', container, join(CACHE, name), '/');
  await buildah('commit', '--quiet', '--rm', container, `localhost/${name}`);
}

async function build(target: string): Promise<void> {
  const bases = ['BASE=localhost/base', 'NODE_BASE=localhost/node-base'];
  const options = ['--isolation', 'chroot', '--network', 'host', '--layers', '--pull-never'];
  const args = bases.flatMap((base) => ['--build-arg', base]);
  const tag = ['--target', target, '--tag', `localhost/ota-agent-${target}`];
  await buildah('build', ...options, ...args, ...tag, ROOT);
}

interface Ended {
  readonly exit: number | null;
  readonly output: string;
}

function run(...argv: readonly string[]): Ended {
  const { status, stdout, stderr } = spawnSync(podman.program, argv, { encoding: 'utf8' });
  return { exit: status, output: `${stdout}${stderr}` };
}

function demand(...argv: readonly string[]): string {
  const { exit, output } = run(...argv);
  assert.equal(exit, 0, `${argv.join(' ')}\n${output}`);
  return output.trim();
}

const ALONE = ['run', '--rm', '--network', 'none'];

function testImage(name: string, title: string, act: () => Promise<void> | void): void {
  const skip = WANTED.includes(name) ? false : `IMAGES does not name ${name}`;
  test(`${name}: ${title}`, { skip }, act);
}

testImage('agent', 'the program, as a user without rights, and nothing to build with', () => {
  const image = 'localhost/ota-agent-agent';
  assert.match(demand(...ALONE, image, '--version'), /^\d+\.\d+\.\d+$/);
  assert.match(demand(...ALONE, image, 'config', 'check'), /^valid/);
  const { exit, output } = run(...ALONE, image, 'doctor');
  assert.equal(exit, 2, output);
  assert.match(output, /✘ gateway-name/u);
  const shell = [...ALONE, '--entrypoint', 'sh', image, '-c'];
  assert.equal(demand(...shell, 'id -un; stat -c %U /var/lib/ota-agent'), 'ota-agent\nota-agent');
  assert.equal(demand(...shell, 'command -v gcc npm || echo neither'), 'neither');
});

testImage('staging', 'a Director that enrols, and a TEE, from a volume', async () => {
  const image = 'localhost/ota-agent-staging';
  const volume = join(directory.path, 'srv');
  mkdirSync(volume);
  demand('run', '-d', '--name', 'staging', '--network', 'none', '-v', `${volume}:/srv`, image);
  const ask = `fetch('https://localhost:30444/.well-known/est/cacerts')
    .then((answer) => console.log(answer.status))`;
  const trust = ['-e', 'NODE_EXTRA_CA_CERTS=/srv/director/server-ca.pem'];
  await until('an answer', () => run('exec', ...trust, 'staging', 'node', '-e', ask));
  const socket = ['--storage', '/srv/tee', '--socket', '/srv/tee.sock'];
  demand('exec', '-d', 'staging', 'npm', 'run', 'tee', '--', ...socket);
  const list = 'pkcs11js'; // The client library loads, and finds the socket.
  const open = `const { PKCS11 } = require('${list}'); const token = new PKCS11();
    token.load('/usr/src/ota-agent/test/tee/build/libtee-cryptoki.so'); token.C_Initialize();
    console.log(token.C_GetSlotList(true).length > 0 ? 200 : 0)`;
  const at = ['-e', 'OTA_TEE_SOCKET=/srv/tee.sock'];
  await until('a token', () => run('exec', ...at, 'staging', 'node', '-e', open));
});

async function until(what: string, look: () => Ended): Promise<void> {
  const deadline = performance.now() + SERVES_WITHIN_MS;
  for (;;) {
    const { exit, output } = look();
    if (exit === 0 && output.trim() === '200') return;
    const logs = performance.now() < deadline ? '' : run('logs', 'staging').output;
    assert.ok(performance.now() < deadline, `never there: ${what}\n${output}${logs}`);
    await sleep(500);
  }
}

testImage('ci', 'a test runs in it, of those that need real parts', () => {
  const image = 'localhost/ota-agent-ci';
  const files = ['test/unit/decode.test.ts', 'test/integration/token-softhsm.test.ts'];
  demand(...ALONE, image, 'node_modules/.bin/node', '--test', ...files);
});
