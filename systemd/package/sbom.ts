/**
 * What is in a package that others have made: a CycloneDX SBOM, and their licences in full.
 *
 *     node systemd/package/sbom.ts METAFILE NODE_DIRECTORY DESTINATION
 *
 * `npm sbom` knows what the lock file names; the bundle's metafile, what of that is shipped. Time and
 * serial number follow from SOURCE_DATE_EPOCH and the components, so that the same sources give the same
 * bytes.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

interface Component {
  readonly name: string;
  readonly version: string;
  readonly 'bom-ref': string;
}

interface Sbom {
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly {
    readonly ref: string;
    readonly dependsOn?: readonly string[];
  }[];
}

const ROOT = resolve(import.meta.dirname, '../..');
/** Beside what esbuild has put into the bundle; `bundle.ts` copies these as they are. */
const COPIED = ['pkcs11js', 'sqlite3', 'bindings', 'file-uri-to-path'];

const [metafile, nodeDirectory, destination] = process.argv.slice(2);
const epoch = process.env['SOURCE_DATE_EPOCH'];
if (metafile === undefined || nodeDirectory === undefined || destination === undefined) {
  throw new Error('usage: sbom.ts METAFILE NODE_DIRECTORY DESTINATION');
}
if (epoch === undefined || !/^\d+$/u.test(epoch)) throw new Error('SOURCE_DATE_EPOCH is not set');

const node = JSON.parse(readFileSync(join(nodeDirectory, 'package.json'), 'utf8')) as {
  readonly version: string;
};
const shipped = shippedModules(metafile);
const sbom = reduced(asNpmSaysIt(), new Set([...shipped].map(referenceOf)));
writeFileSync(join(destination, 'sbom.cdx.json'), `${JSON.stringify(sbom, undefined, 2)}\n`);
writeFileSync(join(destination, 'third-party-licenses.txt'), licences(shipped, nodeDirectory));

/** Directories below the checkout, such as `node_modules/undici`. */
function shippedModules(path: string): ReadonlySet<string> {
  const { outputs } = JSON.parse(readFileSync(path, 'utf8')) as {
    readonly outputs: Record<string, { readonly inputs: Record<string, unknown> }>;
  };
  const inputs = Object.values(outputs).flatMap((output) => Object.keys(output.inputs));
  const bundled = inputs.flatMap(
    (input) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//u.exec(input)?.[1] ?? [],
  );
  return new Set([...bundled, ...COPIED.map((name) => `node_modules/${name}`)]);
}

function asNpmSaysIt(): Sbom {
  // Not `--omit dev`: that also leaves out what is used by both.
  const argv = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'];
  const output = execFileSync('npm', argv, { cwd: ROOT, maxBuffer: 64 * 1024 * 1024 });
  return JSON.parse(output.toString()) as Sbom;
}

/** As npm names a component. */
function referenceOf(path: string): string {
  const { name, version } = manifestOf(path);
  return `${name}@${version}`;
}

function reduced(all: Sbom, references: ReadonlySet<string>): object {
  const components = all.components.filter((one) => references.has(one['bom-ref']));
  const found = new Set(components.map((one) => one['bom-ref']));
  const missing = [...references].filter((one) => !found.has(one));
  if (missing.length > 0) throw new Error(`npm does not know of ${missing.join(', ')}`);
  const runtime = {
    type: 'platform',
    name: 'node',
    version: node.version,
    'bom-ref': `node@${node.version}`,
    purl: `pkg:generic/node@${node.version}`,
    cpe: `cpe:2.3:a:nodejs:node.js:${node.version}:*:*:*:*:*:*:*`,
    licenses: [{ license: { id: 'MIT' } }],
  };
  const kept = new Set([all.metadata.component, ...components].map((one) => one['bom-ref']));
  const digest = createHash('sha256')
    .update([...kept].sort().join())
    .digest('hex');
  return {
    ...all,
    serialNumber: `urn:uuid:${uuidOf(digest)}`,
    metadata: {
      ...all.metadata,
      timestamp: new Date(Number(epoch) * 1000).toISOString(),
      // npm calls it after the directory that it lies in.
      component: { ...all.metadata.component, type: 'application', name: 'ota-agent' },
    },
    components: [...components, runtime],
    dependencies: all.dependencies
      .filter(({ ref }) => kept.has(ref))
      .map(({ ref, dependsOn = [] }) => ({
        ref,
        dependsOn: dependsOn.filter((one) => kept.has(one)),
      })),
  };
}

/** Version 8, whose bits are the maker's own (RFC 9562 §5.8). */
function uuidOf(digest: string): string {
  const bits = `${digest.slice(0, 12)}8${digest.slice(13, 16)}8${digest.slice(17, 32)}`;
  return bits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/u, '$1-$2-$3-$4-$5');
}

function manifestOf(path: string): {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
} {
  return JSON.parse(readFileSync(join(ROOT, path, 'package.json'), 'utf8')) as never;
}

function licences(modules: ReadonlySet<string>, nodePath: string): string {
  const parts = [...modules].sort().map((path) => {
    const { name, version, license } = manifestOf(path);
    const text = licenceText(join(ROOT, path)) ?? 'No text of its own.\n';
    return `${name} ${version} (${license ?? 'see below'})\n\n${text}`;
  });
  const ofNode = `Node.js ${node.version}\n\n${licenceText(nodePath) ?? ''}`;
  return [ofNode, ...parts].join(`\n${'-'.repeat(79)}\n\n`);
}

function licenceText(path: string): string | undefined {
  const file = readdirSync(path).find((name) => /^licen[cs]e(\.|$|-)/iu.test(name));
  return file === undefined ? undefined : readFileSync(join(path, file), 'utf8');
}
