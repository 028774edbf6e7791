/**
 * The Debian package under a real dpkg and systemd, as the getting-started document has it made, installed
 * and used; then upgraded, removed and purged. Nothing on this machine changes.
 */
import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';

import { bootSystem, whyNotBootable, type BootedSystem } from '../support/booted-system.ts';
import { commandsOf, type DocumentCommand } from '../support/document.ts';
import { DocumentReader } from '../support/document-reader.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const DOCUMENT = join(ROOT, 'provisioning/GETTING-STARTED.md');
const CONFFILE = '/etc/ota-agent/conf.d/10-device.toml';
/** Of the same files, only packed loosely: a minute less. */
const QUICK = 'export QUICK=yes';
const TEN_MINUTES_MS = 600_000;

let unable = whyNotBootable();
let system: BootedSystem;
let reader: DocumentReader;
let typedMs = 0;

before(async () => {
  if (unable !== undefined) return;
  const options = { privateNetwork: true, directories: [ROOT] };
  const booted = await bootSystem(() => Promise.resolve(), [], options);
  if (typeof booted === 'string') {
    unable = booted;
    return;
  }
  system = booted;
  reader = new DocumentReader(DOCUMENT, () => booted.start('bash'), [`cd ${ROOT}`, QUICK]);
  await type(FIRST);
});

after(async () => {
  await (system as BootedSystem | undefined)?.stop();
});

const COMMANDS = commandsOf(DOCUMENT);
const FIRST = COMMANDS.filter(({ section }) => section === COMMANDS[0]?.section);
/** What it says about going away again is typed when the package goes. */
const LAST = COMMANDS.filter(({ section }) => section === COMMANDS.at(-1)?.section);

async function type(commands: readonly DocumentCommand[]): Promise<void> {
  const startedMs = performance.now();
  for (const command of commands) await reader.type(command);
  typedMs += performance.now() - startedMs;
}

async function demand(program: string, ...args: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await system.run(program, ...args);
  assert.equal(exit, 0, `${[program, ...args].join(' ')}\n${stdout}${stderr}`);
  return stdout.trim();
}

const shell = (script: string): Promise<string> => demand('sh', '-c', `cd ${ROOT}/dist; ${script}`);

async function isThere(path: string): Promise<boolean> {
  return (await system.run('test', '-e', path)).exit === 0;
}

/** Registered before it is known whether the machine can boot a system, so it asks when it runs. */
function testInside(title: string, act: (t: TestContext) => Promise<void>): void {
  test(title, { timeout: 300_000 }, async (t) => {
    if (unable === undefined) await act(t);
    else t.skip(unable);
  });
}

testInside('installs a user, a program, and a unit that is enabled and waits', async () => {
  assert.match(await demand('id', 'ota-agent'), /ota-agent/);
  assert.equal(await demand('stat', '-c', '%U:%G %a', '/run/ota-agent'), 'root:ota-agent 1775');
  await demand('systemctl', 'start', 'ota-agent');
  const condition = ['show', 'ota-agent', '--value', '-p', 'ConditionResult'];
  assert.equal(await demand('systemctl', ...condition), 'no');
  for (const unit of ['ota-agent-confirm.service', 'ota-agent-secrets.timer']) {
    assert.equal((await system.run('systemctl', 'is-enabled', unit)).stdout.trim(), 'disabled');
  }
  assert.equal(await demand('dpkg', '--verify', 'ota-agent'), '');
});

testInside('the manual page is found, and every shell completes at the first Tab', async () => {
  assert.match(await demand('man', '--where', 'ota-agent'), /man8\/ota-agent\.8\.gz$/);
  const bash = '. /usr/share/bash-completion/completions/ota-agent; complete -p ota-agent';
  assert.match(await demand('bash', '-c', bash), /_ota_agent/);
  assert.match(await demand('fish', '-c', "complete -C 'ota-agent prov'"), /^provision\t/);
  const zsh = `autoload -Uz compinit && compinit -u -D && print $_comps[ota-agent]
    _describe() { print -l -- \${(P)2} }; words=(ota-agent prov); CURRENT=2; _ota-agent`;
  assert.match(await demand('zsh', '-f', '-c', zsh), /^_ota-agent\n[^]*\nprovision:/);
});

testInside('lintian finds no error in it', async () => {
  // Without Node.js, of which it would read 108 MB: npm run package:check has it judge that, too.
  await shell(`dpkg-deb --raw-extract ota-agent_*.deb judged
    cp --no-preserve=timestamps /usr/bin/true judged/usr/lib/ota-agent/bin/node
    sed -i '/bin.node$/d' judged/DEBIAN/md5sums
    dpkg-deb --root-owner-group -Zgzip -z1 --build judged judged.deb
    lintian --allow-root --fail-on error judged.deb`);
});

testInside('GETTING-STARTED.md: every command does what it says, in ten minutes', async (t) => {
  await type(COMMANDS.filter((one) => !FIRST.includes(one) && !LAST.includes(one)));
  const seconds = (typedMs / 1000).toFixed(0);
  t.diagnostic(
    `${String(COMMANDS.length)} commands, ${seconds} s from the checkout to the last update`,
  );
  assert.ok(typedMs < TEN_MINUTES_MS);
});

testInside('an upgrade restarts what runs, and keeps what the administrator changed', async () => {
  const pid = ['show', 'ota-agent', '--value', '-p', 'MainPID'];
  const before = await demand('systemctl', ...pid);
  await shell(`dpkg-deb --raw-extract ota-agent_*.deb next
    sed -i 's/^Version: .*/&+next/' next/DEBIAN/control
    dpkg-deb --root-owner-group -Zgzip -z1 --build next next.deb`);
  // This machine's policy may say that packages start nothing.
  await demand('rm', '-f', '/usr/sbin/policy-rc.d');
  await shell('dpkg --install next.deb');
  assert.match(await demand('dpkg-query', '-W', '-f', '${Version}', 'ota-agent'), /\+next$/);
  assert.match(await demand('cat', CONFFILE), /127\.0\.0\.1:30443/);
  assert.notEqual(await demand('systemctl', ...pid), before);
  assert.equal(await demand('systemctl', 'is-active', 'ota-agent'), 'active');
});

testInside('an upgrade enables and starts nothing that was disabled', async () => {
  await demand('systemctl', 'disable', '--now', 'ota-agent');
  await shell('dpkg --install next.deb');
  for (const question of ['is-enabled', 'is-active']) {
    const { exit } = await system.run('systemctl', question, 'ota-agent');
    assert.notEqual(exit, 0, question);
  }
  assert.ok(await isThere('/var/lib/ota-agent/ota-agent.db'));
});

testInside('removal leaves configuration and state; purging takes both, nothing else', async () => {
  await demand('dpkg', '--remove', 'ota-agent');
  assert.ok(!(await isThere('/usr/lib/ota-agent')));
  assert.ok(await isThere(CONFFILE));
  assert.ok(await isThere('/var/lib/ota-agent/ota-agent.db'));
  await type(LAST.slice(0, -1));
  assert.ok(!(await isThere(CONFFILE)));
  assert.ok(!(await isThere('/var/lib/ota-agent')));
  assert.ok(await isThere('/etc/ota-agent/gateway-ca.pem'));
  assert.equal((await system.run('dpkg-query', '-W', 'ota-agent')).exit, 1);
  await type(LAST.slice(-1));
});
