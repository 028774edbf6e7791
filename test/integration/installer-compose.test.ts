/** Containers by digest, with the real podman where it can run here. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { ComposeInstaller } from '../../agent/io/installers/compose/compose.ts';
import { parseDefinition } from '../../agent/io/installers/compose/definition.ts';
import { installerContract, takeImage, type Running } from '../contract/installer.contract.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const DIGEST = 'a'.repeat(64);
const LIMITS = { maxBytes: 64 * 1024 * 1024, maxEntries: 100, allowSetuid: false };

describe('a compose file', () => {
  const wanting = (found: string): RegExp =>
    new RegExp(`service app has image ${found}, want NAME@sha256:DIGEST and no tag`, 'u');
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['with a tag', '{image: app:1}', wanting('"app:1"')],
    ['with tag and digest', `{image: "app:1@sha256:${DIGEST}"}`, wanting('"app:1@sha256:a+"')],
    ['with no image', '{command: run}', wanting('"nothing"')],
    ['with a variable', '{image: "${IMAGE}"}', wanting('"\\$\\{IMAGE\\}"')],
    ['with a short digest', '{image: "app@sha256:abc"}', wanting('"app@sha256:abc"')],
    ['that builds', '{build: .}', /service app has "build"/u],
    ['that extends another', `{extends: {file: b.yml, service: app}}`, /has "extends"/u],
  ];
  for (const [what, service, problem] of cases) {
    test(`${what} is refused`, () => {
      assert.throws(() => parseDefinition(`services: {app: ${service}}`), problem);
    });
  }

  test('that another reader of YAML may read differently is refused', () => {
    const image = `image: app@sha256:${DIGEST}`;
    const merged = `x: &x {image: "app:1"}\nservices:\n  app:\n    <<: *x\n`;
    assert.throws(() => parseDefinition(merged), /cannot be read: .*alias/iu);
    const twice = `services:\n  app:\n    ${image}\n    image: app:1\n`;
    assert.throws(() => parseDefinition(twice), /cannot be read: .*unique/u);
    assert.throws(() => parseDefinition('include: [b.yml]\nservices: {}'), /has "include"/u);
    assert.throws(() => parseDefinition('services: {}'), /has no services/u);
    assert.throws(() => parseDefinition('[]'), /is no mapping/u);
  });

  test('with digests is given to the engine as it was understood', () => {
    const image = `registry.example.com:5000/team/app@sha256:${DIGEST}`;
    const { images, text } = parseDefinition(`services:\n  app:\n    image: ${image}\n`);
    assert.deepEqual([...images], [['app', image]]);
    assert.deepEqual(JSON.parse(text), { services: { app: { image } } });
  });
});

test('an engine that is missing is named before anything is downloaded', async (t) => {
  const temporary = temporaryDirectory('compose');
  t.after(() => {
    temporary.remove();
  });
  const installer = new ComposeInstaller({
    kind: 'podman',
    engine: ['/nonexistent/podman'],
    compose: ['/nonexistent/podman-compose'],
    project: 'none',
    path: join(temporary.path, 'current'),
    limits: LIMITS,
    timeoutMs: 1000,
    healthMs: 1000,
  });
  const target = targetFor(Buffer.from('{}'), { filename: 'app.yml' });
  await rejectsCode(installer.check(target), 'INSTALL_FAILED', {
    installer: 'compose',
    ecu: 'ecu-1',
    cause: '/nonexistent/podman cannot be run: ENOENT: spawn /nonexistent/podman ENOENT',
  });
  await rejectsCode(
    installer.check(targetFor(Buffer.from('x'), { filename: 'app.bin' })),
    'INSTALL_FAILED',
    {
      installer: 'compose',
      ecu: 'ecu-1',
      cause: 'app.bin is named neither as a compose file (.yml, .yaml, .json) nor as a tar',
    },
  );
});

/** podman with a storage of its own, in a mount namespace whose cgroups crun can read. */
interface Podman {
  readonly program: string;
  readonly namespace: ChildProcess;
  readonly images: Readonly<Record<'factory' | 'update', string>>;
  readonly archives: Readonly<Record<'factory' | 'update', Buffer>>;
}

const LARGE = { maxBuffer: 64 * 1024 * 1024 };
const PROJECT = `otatest${String(process.pid)}`;

async function podmanIn(directory: string): Promise<Podman> {
  const at = (name: string): string => join(directory, name);
  writeFileSync(
    at('containers.conf'),
    `[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_config_dir = "${at('net')}"
`,
  );
  const storage = `[storage]\ndriver = "vfs"\ngraphroot = "${at('root')}"\nrunroot = "${at('run')}"\n`;
  writeFileSync(at('storage.conf'), storage);
  const program = at('podman');
  // One namespace for all calls: the network of a container is a mount in it.
  const setUp =
    'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; echo; exec sleep 600';
  const namespace = spawn('unshare', ['-m', 'sh', '-c', setUp], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(namespace.stdout, 'data');
  writeFileSync(
    program,
    `#!/bin/sh
export CONTAINERS_CONF=${at('containers.conf')} CONTAINERS_STORAGE_CONF=${at('storage.conf')}
exec nsenter -t ${String(namespace.pid)} -m --wd="$PWD" podman "$@"
`,
    { mode: 0o755 },
  );
  const made = (['factory', 'update'] as const).map((name) =>
    makeArchive(directory, program, name),
  );
  const [factory, update] = made;
  if (factory === undefined || update === undefined) throw new Error('no images');
  return {
    program,
    namespace,
    images: { factory: factory.image, update: update.image },
    archives: { factory: factory.archive, update: update.archive },
  };
}

/** An image with busybox and nothing else, as an OCI layout beside its compose file. */
function makeArchive(
  directory: string,
  program: string,
  name: string,
): { readonly image: string; readonly archive: Buffer } {
  const root = join(directory, `image-${name}`);
  mkdirSync(join(root, 'bin'), { recursive: true });
  cpSync('/bin/busybox', join(root, 'bin/busybox'));
  writeFileSync(join(root, 'version'), name);
  const tree = execFileSync('tar', ['-C', root, '-c', '.'], LARGE);
  const run = (args: readonly string[], input?: Buffer): string =>
    execFileSync(program, args, { input: input ?? '', stdio: ['pipe', 'pipe', 'pipe'] }).toString();
  run(['import', '--quiet', '-', `localhost/${name}:made`], tree);
  const layout = join(directory, `oci-${name}`);
  run(['save', '--quiet', '--format', 'oci-dir', '-o', layout, `localhost/${name}:made`]);
  run(['rmi', '--force', `localhost/${name}:made`]);
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    readonly manifests: readonly { readonly digest: string }[];
  };
  const digest = index.manifests[0]?.digest ?? '';
  const image = `localhost/app@${digest}`;
  const packed = join(directory, `packed-${name}`);
  mkdirSync(join(packed, 'images'), { recursive: true });
  cpSync(layout, join(packed, 'images', digest.slice('sha256:'.length)), { recursive: true });
  const command = '["/bin/busybox", "sleep", "600"]';
  const file = `services:\n  app:\n    image: ${image}\n    command: ${command}\n    stop_signal: SIGKILL\n`;
  writeFileSync(join(packed, 'docker-compose.yml'), file);
  return { image, archive: execFileSync('tar', ['-C', packed, '-cz', '.'], LARGE) };
}

/** Says why not, if not. */
function whyNoPodman(): string | undefined {
  if (process.getuid?.() !== 0) return 'containers need root here';
  const missing = ['podman', 'podman-compose', 'busybox'].find(
    (name) => spawnSync(name, ['--help'], { stdio: 'ignore' }).error !== undefined,
  );
  return missing && `${missing} is not installed`;
}

const NO_PODMAN = whyNoPodman();

describe('compose with podman', { skip: NO_PODMAN ?? false }, () => {
  const temporary = temporaryDirectory('podman');
  let podman: Podman;
  before(async () => {
    podman = await podmanIn(temporary.path);
  });
  const clear = (): void => {
    const said = spawnSync(podman.program, ['ps', '-a', '-q']).stdout.toString();
    const ids = said.split('\n').filter((id) => id !== '');
    if (ids.length > 0) spawnSync(podman.program, ['rm', '-f', '-t', '0', ...ids]);
  };
  after(() => {
    clear();
    spawnSync(podman.program, ['network', 'rm', '-f', `${PROJECT}_default`]);
    podman.namespace.kill('SIGKILL');
    temporary.remove();
  });

  const installerIn = (directory: string): ComposeInstaller =>
    new ComposeInstaller({
      kind: 'podman',
      engine: [podman.program],
      compose: ['podman-compose', '--podman-path', podman.program],
      project: PROJECT,
      path: join(directory, 'current'),
      limits: LIMITS,
      timeoutMs: 60_000,
      healthMs: 20_000,
    });

  /** Asked of podman alone. */
  const running = (): Running => {
    const format = ['ps', '--format', '{{.Image}} {{.ImageID}}', '--no-trunc'];
    const images = execFileSync(podman.program, format).toString();
    const ids = (['factory', 'update'] as const).filter((name) => {
      const inspect = ['image', 'inspect', '--format', '{{.Id}}', podman.images[name]];
      const id = spawnSync(podman.program, inspect).stdout.toString().trim();
      return id !== '' && images.includes(id.slice(0, 12));
    });
    return ids.length === 1 ? (ids[0] ?? 'factory') : `neither: ${ids.join()} ${images}`;
  };

  installerContract('compose, images in the archive', async (directory) => {
    clear();
    const installer = installerIn(directory);
    const factory = targetFor(podman.archives.factory, { filename: 'app-1.tar.gz' });
    const staged = join(directory, 'factory.tar.gz');
    writeFileSync(staged, podman.archives.factory);
    await takeImage({ installer, target: factory }, staged);
    await installer.activate(factory);
    await installer.confirm(factory);
    return {
      installer,
      target: targetFor(podman.archives.update, { filename: 'app-2.tar.gz' }),
      content: podman.archives.update,
      running,
      boot: () => undefined,
    };
  });
});
