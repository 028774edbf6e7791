/**
 * podman with a storage, locks and a state of its own, in namespaces that end as with a power cut.
 *
 * It is found again in its directory, so that a process that starts later has the same engine.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { endChild } from './end-child.ts';

const LARGE = { maxBuffer: 64 * 1024 * 1024 };
const NAMES = ['factory', 'update'] as const;
type Name = (typeof NAMES)[number];

/** Says why containers cannot run here, if they cannot. */
export function podmanProblem(): string | undefined {
  if (process.getuid?.() !== 0) return 'containers need root here';
  const missing = ['podman', 'podman-compose', 'busybox'].find(
    (name) => spawnSync(name, ['--help'], { stdio: 'ignore' }).error !== undefined,
  );
  return missing && `${missing} is not installed`;
}

/**
 * Ends with its standard input. crun has to be able to read the cgroups; what is known of containers
 * that run, and of their addresses, does not outlive a boot: podman's tmpfiles.d sees to it.
 */
const NAMESPACE = `mkdir -p /var/lib/cni
mount -t tmpfs cni /var/lib/cni
mount -t tmpfs run /run
umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup
mount -t proc proc /proc
echo
exec cat`;

export class Podman {
  readonly program: string;
  readonly #directory: string;
  readonly #driver: 'vfs' | 'overlay';
  #namespace: ChildProcess | undefined;

  constructor(directory: string, driver: 'vfs' | 'overlay' = 'vfs') {
    this.#directory = directory;
    this.#driver = driver;
    this.program = this.#at('podman');
  }

  /** Switches it on: what ran before does not run. */
  async start(): Promise<void> {
    mkdirSync(this.#directory, { recursive: true });
    for (const name of ['run', 'tmp']) rmSync(this.#at(name), { recursive: true, force: true });
    const args = ['-m', '-n', '--pid', '--fork', '--kill-child', 'sh', '-c', NAMESPACE];
    const namespace = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#namespace = namespace;
    await once(namespace.stdout, 'data');
    const children = `/proc/${String(namespace.pid)}/task/${String(namespace.pid)}/children`;
    this.#configure(readFileSync(children, 'utf8').trim());
  }

  #configure(init: string): void {
    writeFileSync(
      this.#at('containers.conf'),
      `[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "${this.#at('tmp')}"
[network]
network_config_dir = "${this.#at('net')}"
`,
    );
    const [root, run] = [this.#at('root'), this.#at('run')];
    const storage = `[storage]\ndriver = "${this.#driver}"\ngraphroot = "${root}"\nrunroot = "${run}"\n`;
    writeFileSync(this.#at('storage.conf'), storage);
    const configured = `CONTAINERS_CONF=${this.#at('containers.conf')} CONTAINERS_STORAGE_CONF=${this.#at('storage.conf')}`;
    writeFileSync(
      this.program,
      `#!/bin/sh
export ${configured}
TRACE=
[ ! -e ${this.#at('fault')} ] || . ${this.#at('fault')}
exec nsenter -t ${init} -m -n -p --wd="$PWD" $TRACE /usr/bin/podman "$@"
`,
      { mode: 0o755 },
    );
  }

  run(...args: readonly string[]): string {
    return execFileSync(this.program, args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
  }

  /** What podman-restart.service does at boot. */
  startAgain(): void {
    this.run('start', '--all', '--filter', 'restart-policy=always');
  }

  /** Ends what runs, at once. */
  clear(): void {
    const ids = this.run('ps', '-a', '-q')
      .split('\n')
      .filter((id) => id !== '');
    if (ids.length > 0) this.run('rm', '-f', '-t', '0', ...ids);
  }

  /** Asked of podman alone: `factory` or `update`, or what there is instead; empty for nothing. */
  running(): string {
    const images = this.run('ps', '--format', '{{.ImageID}}', '--no-trunc').trim();
    if (images === '') return '';
    const names = NAMES.filter((name) => {
      const inspect = ['image', 'inspect', '--format', '{{.Id}}', this.image(name)];
      const id = spawnSync(this.program, inspect).stdout.toString().trim();
      return id !== '' && images.includes(id);
    });
    return names.length === 1 ? (names[0] ?? '') : `neither: ${names.join()} ${images}`;
  }

  /** `NAME@sha256:HEX` */
  image(name: Name): string {
    return readFileSync(this.#at(`image-${name}.txt`), 'utf8');
  }

  archive(name: Name): Buffer {
    return readFileSync(this.#at(`${name}.tar.gz`));
  }

  /**
   * Makes images with busybox and nothing else, each as an OCI layout beside its compose file.
   *
   * @param service - more lines of its service
   */
  makeArchives(service: readonly string[] = []): void {
    for (const name of NAMES) this.#makeArchive(name, service);
  }

  #makeArchive(name: Name, service: readonly string[]): void {
    const root = this.#at(`tree-${name}`);
    mkdirSync(join(root, 'bin'), { recursive: true });
    cpSync('/bin/busybox', join(root, 'bin/busybox'));
    writeFileSync(join(root, 'version'), name);
    execFileSync('tar', ['-C', root, '-cf', this.#at('tree.tar'), '.'], LARGE);
    this.run('import', '--quiet', this.#at('tree.tar'), `localhost/${name}:made`);
    const layout = this.#at(`oci-${name}`);
    this.run('save', '--quiet', '--format', 'oci-dir', '-o', layout, `localhost/${name}:made`);
    this.run('rmi', '--force', `localhost/${name}:made`);
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
      readonly manifests: readonly { readonly digest: string }[];
    };
    const digest = index.manifests[0]?.digest ?? '';
    const image = `localhost/app@${digest}`;
    const packed = this.#at(`packed-${name}`);
    mkdirSync(join(packed, 'images'), { recursive: true });
    cpSync(layout, join(packed, 'images', digest.slice('sha256:'.length)), { recursive: true });
    writeFileSync(join(packed, 'docker-compose.yml'), composeFile(image, service));
    execFileSync('tar', ['-C', packed, '-czf', this.#at(`${name}.tar.gz`), '.'], LARGE);
    writeFileSync(this.#at(`image-${name}.txt`), image);
  }

  /** Power is cut: nothing of it runs any more. */
  async stop(): Promise<void> {
    const namespace = this.#namespace;
    this.#namespace = undefined;
    await endChild(namespace, 'SIGKILL');
  }

  #at(name: string): string {
    return join(this.#directory, name);
  }
}

const composeFile = (image: string, service: readonly string[]): string => `services:
  app:
    image: ${image}
    command: ["/bin/busybox", "sleep", "600"]
    stop_signal: SIGKILL
${service.map((line) => `    ${line}\n`).join('')}`;
