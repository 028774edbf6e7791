/**
 * The Debian package under a real dpkg and systemd: installed, upgraded, removed, purged.
 *
 *     npm run package:check
 *
 * Outside `npm test`, because two packages are built; some minutes. Needs the Debian package lintian.
 * Nothing on this machine changes.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';

import { bootSystem, whyNotBootable, type BootedSystem } from '../support/booted-system.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const directory = temporaryDirectory('package');
const env = { ...process.env, DPKG_DEB_COMPRESSOR_TYPE: 'gzip', SOURCE_DATE_EPOCH: '1767225600' };
const ARCH = process.arch === 'x64' ? 'amd64' : process.arch;
const CONFFILE = '/etc/ota-agent/conf.d/10-device.toml';

let system: BootedSystem;

function build(name: string): string {
  const out = join(directory.path, name);
  execFileSync('sh', [join(ROOT, 'systemd/package/package.sh'), out], { env });
  return out;
}

before(async () => {
  const unable = whyNotBootable();
  assert.equal(unable, undefined);
  const deb = join(build('first'), `ota-agent_${version()}_${ARCH}.deb`);
  const booted = await bootSystem((layer) => {
    mkdirSync(join(layer, 'opt'), { recursive: true });
    cpSync(deb, join(layer, 'opt/1.deb'));
    cpSync(nextVersion(deb), join(layer, 'opt/2.deb'));
    return Promise.resolve();
  }, []);
  if (typeof booted === 'string') assert.fail(booted);
  system = booted;
});

after(async () => {
  await (system as BootedSystem | undefined)?.stop();
  directory.remove();
});

function version(): string {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

/** The same files as a later version. */
function nextVersion(deb: string): string {
  const tree = join(directory.path, 'tree');
  const next = join(directory.path, 'next.deb');
  execFileSync('dpkg-deb', ['--raw-extract', deb, tree]);
  const control = join(tree, 'DEBIAN/control');
  writeFileSync(control, readFileSync(control, 'utf8').replace(/^Version: .*$/mu, '$&+next'));
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zgzip', '-z1', '--build', tree, next]);
  rmSync(tree, { recursive: true });
  return next;
}

async function demand(program: string, ...args: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await system.run(program, ...args);
  assert.equal(exit, 0, `${[program, ...args].join(' ')}\n${stdout}${stderr}`);
  return stdout.trim();
}

async function isThere(path: string): Promise<boolean> {
  return (await system.run('test', '-e', path)).exit === 0;
}

test('installs: a user, a program, a unit that is enabled and waits for provisioning', async () => {
  await demand('dpkg', '--install', '/opt/1.deb');
  assert.equal(await demand('ota-agent', '--version'), version());
  assert.match(await demand('ota-agent', 'config', 'check'), /^valid/);
  assert.match(await demand('id', 'ota-agent'), /ota-agent/);
  assert.equal(await demand('stat', '-c', '%U:%G %a', '/run/ota-agent'), 'root:ota-agent 1775');
  assert.equal(await demand('systemctl', 'is-enabled', 'ota-agent'), 'enabled');
  assert.equal(
    await demand('systemctl', 'show', 'ota-agent', '--value', '-p', 'ConditionResult'),
    'no',
  );
  for (const unit of ['ota-agent-confirm.service', 'ota-agent-secrets.timer']) {
    assert.equal((await system.run('systemctl', 'is-enabled', unit)).stdout.trim(), 'disabled');
  }
  assert.equal(await demand('dpkg', '--verify', 'ota-agent'), '');
});

test('a provisioned device starts it: the condition holds once there is a database', async () => {
  await demand('install', '-d', '-o', 'ota-agent', '-m', '700', '/var/lib/ota-agent');
  await demand('touch', '/var/lib/ota-agent/ota-agent.db');
  await system.run('systemctl', 'start', 'ota-agent');
  const result = await demand('systemctl', 'show', 'ota-agent', '--value', '-p', 'ConditionResult');
  assert.equal(result, 'yes');
  await demand('systemctl', 'stop', 'ota-agent');
});

test('an upgrade keeps what the administrator changed, and what was disabled', async () => {
  system.write(CONFFILE, '[log]\nlevel = "debug"\n');
  await demand('systemctl', 'disable', 'ota-agent');
  await demand('dpkg', '--install', '/opt/2.deb');
  assert.match(await demand('dpkg-query', '-W', '-f', '${Version}', 'ota-agent'), /\+next$/);
  assert.match(await demand('cat', CONFFILE), /debug/);
  assert.equal(
    (await system.run('systemctl', 'is-enabled', 'ota-agent')).stdout.trim(),
    'disabled',
  );
  assert.ok(await isThere('/var/lib/ota-agent/ota-agent.db'));
});

test('removal leaves configuration and state; purging takes both, and nothing of others', async () => {
  system.write('/etc/ota-agent/gateway-ca.pem', 'the administrator’s');
  await demand('dpkg', '--remove', 'ota-agent');
  assert.ok(!(await isThere('/usr/lib/ota-agent')));
  assert.ok(await isThere(CONFFILE));
  assert.ok(await isThere('/var/lib/ota-agent/ota-agent.db'));
  await demand('dpkg', '--purge', 'ota-agent');
  assert.ok(!(await isThere(CONFFILE)));
  assert.ok(!(await isThere('/var/lib/ota-agent')));
  assert.ok(await isThere('/etc/ota-agent/gateway-ca.pem'));
  assert.equal((await system.run('dpkg-query', '-W', 'ota-agent')).exit, 1);
});

test('lintian finds no error in it', () => {
  const deb = join(directory.path, 'first', `ota-agent_${version()}_${ARCH}.deb`);
  execFileSync('lintian', ['--fail-on', 'error', deb], { stdio: 'inherit' });
});

test('two builds are the same bytes: package, tarball and SBOM', () => {
  const [first, second] = [join(directory.path, 'first'), build('second')];
  const digests = (path: string): string =>
    execFileSync('sh', ['-c', 'sha256sum *'], { cwd: path, encoding: 'utf8' });
  assert.equal(digests(second), digests(first));
});
