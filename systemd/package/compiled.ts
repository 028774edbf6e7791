/**
 * The program that works for the daemon, as it starts fastest: one file, and beside it what V8 made of it.
 *
 * Node.js has such a cache of its own (`NODE_COMPILE_CACHE`): a directory for each user and kind of
 * processor, written on the device by whoever runs there. This one is installed read-only, and the same
 * bytes for everybody. V8 refuses what another version has made, and compiles anew.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { build, type BuildOptions, type Metafile } from 'esbuild';

const NAME = 'worker-main';

/**
 * Nothing by chance: how texts are hashed, what is worth compiling better, and what is collected when. And
 * how each is by default, which is what a cache is taken with.
 */
const FLAGS = [
  ['--hash-seed=1', '--hash-seed=0'],
  ['--no-sparkplug', '--sparkplug'],
  ['--no-profile-guided-optimization', '--profile-guided-optimization'],
  ['--initial-heap-size=512', '--initial-heap-size=0'],
  ['--min-semi-space-size=64', '--min-semi-space-size=0'],
] as const;

/**
 * @param agent - where the bundle's other programs lie
 * @param options - of all builds
 * @param node - the Node.js of the device, or what runs it on this machine; `none`: nothing is compiled
 */
export async function buildWorker(
  agent: string,
  options: BuildOptions,
  node: string,
): Promise<Metafile> {
  const { outputFiles, metafile } = await build({
    ...options,
    entryPoints: ['agent/commands/run/worker-main.ts'],
    outfile: join(agent, `${NAME}.cjs`),
    format: 'cjs',
    // All is in one file: nothing is left to import.
    supported: { 'dynamic-import': false },
    define: { 'import.meta': 'importMeta' },
    banner: { js: '(function (require, importMeta) {' },
    footer: { js: '})' },
    metafile: true,
    write: false,
  });
  const [{ contents } = { contents: new Uint8Array() }] = outputFiles;
  const digest = createHash('sha256').update(contents).digest('hex');
  // Of the source V8 compares the length with what it has compiled.
  const program = `${NAME}-${digest.slice(0, 8)}`;
  writeFileSync(join(agent, `${program}.cjs`), contents);
  await build({
    ...options,
    entryPoints: ['systemd/package/start-compiled.ts'],
    outfile: join(agent, `${NAME}.js`),
    format: 'esm',
    define: { PROGRAM: JSON.stringify(program) },
  });
  if (node !== 'none') {
    const flags = FLAGS.map(([flag]) => flag);
    const main = join(import.meta.dirname, 'code-cache.ts');
    const args = [...flags, main, agent, program, ...FLAGS.map(([, flag]) => flag)];
    // No NODE_OPTIONS, and no other cache.
    const env = { PATH: process.env['PATH'] };
    execFileSync(node, args, { env, stdio: 'inherit' });
  }
  return metafile;
}
