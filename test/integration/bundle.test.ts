/** What a device runs: few files, the same from the same sources, that work as the sources do. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { isCacheTaken } from '../support/code-cache.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const directory = temporaryDirectory('bundle');
const bundle = join(directory.path, 'here/bundle');
const metafile = join(directory.path, 'metafile.json');
const BUILD = 'systemd/package/bundle.ts';
const PARTS = ['bundle', 'code-cache', 'compiled', 'start-compiled'];

let world: World;

before(async () => {
  await run([join(ROOT, BUILD), bundle, '--metafile', metafile]);
  world = await openWorld('blank', { program: join(bundle, 'agent/main.js') });
});

after(async () => {
  await (world as World | undefined)?.close();
  directory.remove();
});

function run(args: readonly string[]): Promise<{ readonly stdout: string }> {
  return promisify(execFile)(process.execPath, args, { timeout: 60_000 });
}

/** Path and digest of every file. */
function contentsOf(path: string): readonly string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => {
      const digest = createHash('sha256').update(readFileSync(file)).digest('hex');
      return `${file.slice(path.length)} ${digest}`;
    })
    .sort();
}

/** A module says in them how its files are to be read, and some say it once more in a folder. */
function manifestsAbove(path: string): readonly string[] {
  const above = dirname(path);
  if (above === '.') return [];
  const manifest = join(above, 'package.json');
  return [...(existsSync(join(ROOT, manifest)) ? [manifest] : []), ...manifestsAbove(above)];
}

test('another checkout in another place makes the same bytes', async () => {
  const other = join(directory.path, 'there');
  const { inputs } = JSON.parse(readFileSync(metafile, 'utf8')) as { inputs: object };
  for (const input of Object.keys(inputs)) {
    for (const path of [input, ...manifestsAbove(input)]) {
      if (!existsSync(join(other, path))) cpSync(join(ROOT, path), join(other, path));
    }
  }
  const natives = ['pkcs11js', 'sqlite3', 'bindings', 'file-uri-to-path'];
  for (const name of ['esbuild', '@esbuild', ...natives]) {
    symlinkSync(join(ROOT, 'node_modules', name), join(other, 'node_modules', name));
  }
  const builders = PARTS.map((name) => `systemd/package/${name}.ts`);
  for (const path of ['package.json', 'tsconfig.json', ...builders, 'agent/io/store/schema.sql']) {
    mkdirSync(dirname(join(other, path)), { recursive: true });
    cpSync(join(ROOT, path), join(other, path));
  }
  const elsewhere = join(directory.path, 'elsewhere');
  await run([join(other, BUILD), elsewhere]);
  assert.deepEqual(contentsOf(elsewhere), contentsOf(bundle));
});

test('every program that the agent starts is in the bundle, beside whoever names it', () => {
  const { outputs } = JSON.parse(readFileSync(metafile, 'utf8')) as {
    outputs: Record<string, { readonly inputs: object }>;
  };
  const sources = new Set(Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs)));
  const programs = [...sources]
    .filter((path) => !path.startsWith('node_modules/'))
    .flatMap((path) => {
      const text = readFileSync(join(ROOT, path), 'utf8');
      return [...text.matchAll(/import\.meta\.(?:dirname|url)\b/gu)].map((match) => {
        const line = text.slice(
          text.lastIndexOf('\n', match.index),
          text.indexOf('\n', match.index),
        );
        const named = /`([\w-]+)\$\{extname\(import\.meta\.filename\)\}`|'([\w.]+)'/u.exec(line);
        assert.ok(named !== null, `${path}: ${line.trim()}`);
        return named[1] === undefined ? (named[2] ?? '') : `${named[1]}.js`;
      });
    });
  assert.ok(programs.length >= 6, programs.join());
  for (const program of programs) assert.ok(existsSync(join(bundle, 'agent', program)), program);
});

test('V8 takes what it has compiled for the worker, run as the daemon is', async () => {
  const question = isCacheTaken(join(bundle, 'agent'));
  const { stdout } = await run(['--max-semi-space-size=1', '-p', question]);
  assert.equal(stdout.trim(), 'true');
});

test('says its version and what is wrong with a configuration', async () => {
  const { stdout } = await run([join(bundle, 'agent/main.js'), '--version']);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  assert.equal(stdout.trim(), version);
  const { exit, stderr } = await world.device.agent(['config', 'nothing']);
  assert.equal(exit, 2, stderr);
});

test('gets its identity, is examined, and installs an update, from the bundle alone', async () => {
  const provisioned = await world.device.agent(['provision']);
  assert.equal(provisioned.exit, 0, said(provisioned));
  const doctor = await world.device.agent(['doctor']);
  assert.equal(doctor.exit, 0, said(doctor));
  const content = Buffer.alloc(100_000, 'bundled');
  await world.offer('bundled.img', content);
  const updated = await world.device.agent(['once']);
  assert.equal(updated.exit, 11, said(updated));
  world.device.boot();
  const confirmed = await world.device.agent(['once']);
  assert.equal(confirmed.exit, 0, said(confirmed));
  assert.ok(world.device.running(content.length).equals(content));
});
