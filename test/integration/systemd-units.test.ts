/** What systemd itself says about the units, without running them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test, type TestContext } from 'node:test';

import { temporaryDirectory } from '../support/temporary.ts';

const SYSTEMD = resolve(import.meta.dirname, '../../systemd');
const UNITS = readdirSync(SYSTEMD).filter((name) => /\.(service|socket|path|timer)$/.test(name));

/** Measured with systemd 252; the others of the field are at 4.6 and above. */
const EXPOSURE_BOUNDS = {
  'ota-agent.service': 1.4,
  'ota-agent-once.service': 1.4,
  'ota-agent-secrets.service': 1.4,
  'ota-agent-confirm.service': 0.5,
  'ota-agent-installer@.service': 1.1,
};

/** Of `ota-agent.service` with each. */
const DROP_INS = {
  'ab-slot.conf': 1.5,
  'rauc.conf': 1.4,
  'swupdate.conf': 1.6,
  'ostree.conf': 3.3,
};

/** The units as installed, except that the agent is a program that is there. */
function placeUnits(t: TestContext): string {
  const directory = temporaryDirectory('units');
  t.after(() => {
    directory.remove();
  });
  for (const name of UNITS) {
    const unit = readFileSync(join(SYSTEMD, name), 'utf8');
    writeFileSync(
      join(directory.path, name),
      unit.replace(/\/usr\/lib\/ota-agent\/bin\/[\w-]+/u, '/bin/true'),
    );
  }
  return directory.path;
}

function analyze(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  assert.equal(status, 0, `${stdout}${stderr}`);
  return `${stdout}${stderr}`;
}

test('systemd-analyze verify has nothing to say about any unit', (t) => {
  const directory = placeUnits(t);
  const units = UNITS.map((name) => join(directory, name));
  assert.equal(analyze('verify', '--man=no', ...units), '');
});

test('systemd-analyze verify does find a mistake', (t) => {
  const directory = placeUnits(t);
  const unit = join(directory, 'ota-agent.service');
  writeFileSync(unit, readFileSync(unit, 'utf8').replace('ProtectHome=', 'ProtectHomes='));
  assert.match(analyze('verify', '--man=no', unit), /Unknown key.* 'ProtectHomes'/);
});

for (const [name, bound] of Object.entries(EXPOSURE_BOUNDS)) {
  test(`the exposure of ${name} is at most ${String(bound)} of 10`, (t) => {
    const unit = join(placeUnits(t), name);
    const report = analyze('security', '--offline=true', '--no-pager', unit);
    const [, level = ''] = /Overall exposure level for \S+: ([\d.]+) /.exec(report) ?? [];
    t.diagnostic(`${name}: ${level}`);
    assert.ok(Number(level) > 0 && Number(level) <= bound, report);
  });
}

for (const [name, bound] of Object.entries(DROP_INS)) {
  test(`drop-ins/${name} is right, and leaves the daemon at ${String(bound)} of 10 at most`, (t) => {
    const directory = placeUnits(t);
    mkdirSync(join(directory, 'ota-agent.service.d'));
    copyFileSync(join(SYSTEMD, 'drop-ins', name), join(directory, 'ota-agent.service.d', name));
    const unit = join(directory, 'ota-agent.service');
    assert.equal(analyze('verify', '--man=no', unit), '');
    const report = analyze('security', '--offline=true', '--no-pager', unit);
    const [, level = ''] = /Overall exposure level for \S+: ([\d.]+) /.exec(report) ?? [];
    assert.ok(Number(level) > 0 && Number(level) <= bound, report);
  });
}

test('every drop-in is held to a bound', () => {
  assert.deepEqual(readdirSync(join(SYSTEMD, 'drop-ins')).sort(), Object.keys(DROP_INS).sort());
});

const asRoot = { skip: process.getuid?.() === 0 ? false : 'only root can give files to others' };

test('system users and temporary files are written as systemd reads them', asRoot, (t) => {
  const root = placeUnits(t);
  mkdirSync(join(root, 'etc'));
  for (const name of ['passwd', 'group']) copyFileSync(join('/etc', name), join(root, 'etc', name));
  const apply = (program: string, ...args: readonly string[]): void => {
    const { status, stderr } = spawnSync(program, [`--root=${root}`, ...args], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
  };
  apply('systemd-sysusers', join(SYSTEMD, 'sysusers.d/ota-agent.conf'));
  const groups = readFileSync(join(root, 'etc/group'), 'utf8');
  for (const group of ['tee', 'teeclnt', 'tss']) {
    assert.match(groups, new RegExp(`^${group}:.*[:,]ota-agent(,|$)`, 'm'));
  }
  apply('systemd-tmpfiles', '--create', join(SYSTEMD, 'tmpfiles.d/ota-agent.conf'));
  assert.deepEqual(readdirSync(join(root, 'run/ota-agent')), ['conf.d']);
});

test('systemd/README.md says why each line of the sandbox is there', () => {
  const readme = readFileSync(join(SYSTEMD, 'README.md'), 'utf8');
  const unexplained = UNITS.flatMap((name) => {
    const [, service = ''] = readFileSync(join(SYSTEMD, name), 'utf8').split('[Service]\n');
    const keys = service.split('\n[')[0]?.match(/^\w+(?==)/gm) ?? [];
    return keys.filter((key) => !readme.includes(`\`${key}=`)).map((key) => `${name}: ${key}`);
  });
  assert.deepEqual(unexplained, []);
});
