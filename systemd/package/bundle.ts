/**
 * Puts the agent and its JavaScript libraries into few files: what a device runs.
 *
 *     node systemd/package/bundle.ts DIRECTORY [--metafile FILE] [--native MODULES] [--run NODE]
 *
 * NODE is the device's Node.js, or a program that runs it here; `none` where this machine cannot.
 * The same sources give the same bytes, wherever the checkout and the directory are. All files lie flat
 * in `DIRECTORY/agent`: a program that the agent starts, or a file that it reads, lies beside whoever
 * names it, in the sources and here.
 */
import { cpSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { build, type BuildOptions } from 'esbuild';

import { buildWorker } from './compiled.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** What is started as a process or thread of its own; each has to have a name of its own. */
const PROGRAMS = [
  'agent/main.ts',
  'agent/commands/doctor/examiner.ts',
  'agent/io/image-worker.ts',
  'agent/io/tls-provider-probe.ts',
  'agent/io/token/probe-module-main.ts',
  'provisioning/factory/device-main.ts',
  'provisioning/pkcs12-worker.ts',
];
const READ_AT_RUN_TIME = ['agent/io/store/schema.sql'];
/** Their addons are found by where their JavaScript lies. */
const NATIVE = ['pkcs11js', 'sqlite3'];
const LOADED_BY_NATIVE = ['bindings', 'file-uri-to-path'];
/** Of a native module and what it needs, only what is loaded. */
const LOADED =
  /^(package\.json|LICENSE(\.md)?|[^/]+\.js|lib|lib\/[^/]+\.js|build|build\/Release|build\/Release\/[^/]+\.node)$/u;

/** CommonJS libraries ask for Node's own modules with `require`. */
const REQUIRE =
  "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    metafile: { type: 'string' },
    native: { type: 'string', default: join(ROOT, 'node_modules') },
    run: { type: 'string', default: process.execPath },
  },
});
const [directory] = positionals;
if (directory === undefined) {
  process.stderr.write(
    'usage: bundle.ts DIRECTORY [--metafile FILE] [--native MODULES] [--run NODE]\n',
  );
  process.exit(2);
}
const agent = resolve(directory, 'agent');
const modules = join(directory, 'node_modules');
for (const path of [agent, modules]) rmSync(path, { recursive: true, force: true });
const OPTIONS = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: 'node',
  target: 'node24.15',
  external: NATIVE,
  // Names stay: a trace from the field has to say which function it was.
  minifyWhitespace: true,
  minifySyntax: true,
  keepNames: true,
  legalComments: 'none',
  logLevel: 'warning',
} satisfies BuildOptions;
const { metafile } = await build({
  ...OPTIONS,
  entryPoints: PROGRAMS,
  outdir: agent,
  entryNames: '[name]',
  chunkNames: '[name]-[hash]',
  splitting: true,
  format: 'esm',
  banner: { js: REQUIRE },
  metafile: true,
});
for (const path of READ_AT_RUN_TIME) {
  cpSync(join(ROOT, path), join(agent, basename(path)));
}
writeFileSync(join(directory, 'package.json'), '{ "type": "module" }\n');
for (const name of [...NATIVE, ...LOADED_BY_NATIVE]) copyModule(name);
// It runs, so it needs the native modules.
const worker = await buildWorker(agent, OPTIONS, values.run);
if (values.metafile !== undefined) {
  const inputs = { ...metafile.inputs, ...worker.inputs };
  const outputs = { ...metafile.outputs, ...worker.outputs };
  writeFileSync(values.metafile, JSON.stringify({ inputs, outputs }));
}

function copyModule(name: string): void {
  const from = realpathSync(join(values.native, name));
  const filter = (path: string): boolean =>
    path === from || LOADED.test(path.slice(from.length + 1));
  cpSync(from, join(modules, name), { recursive: true, filter });
}
