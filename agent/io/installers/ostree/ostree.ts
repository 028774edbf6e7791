/**
 * OSTree: a target is a commit, and what runs is a deployment of one.
 *
 * The commit is the signed hash of the target; no ref is ever asked for. `ostree pull` checks each
 * object by its name as it comes, `prove` reads all of them again, and only what was proven can be
 * deployed. OSTree switches deployments atomically and keeps the one that runs.
 */
import { OtaError } from '../../../errors.ts';
import type { OpenImage, Progress, StreamingInstaller } from '../../../ports.ts';
import type { TrustedTarget } from '../../../uptane/plan.ts';
import type { Treehub } from '../../treehub.ts';
import { demandKind, guarded } from '../guard.ts';
import { commitOf, isComplete, verifyCommit } from './commit.ts';
import { explained, pullFailure } from './failures.ts';
import { findDamage } from './fsck.ts';
import { OstreeProgram, type Deployment } from './program.ts';
import { TREEHUB_URL, TreehubProxy } from './treehub-proxy.ts';

export interface OstreeSettings {
  readonly sysroot: string;
  readonly os: string;
  /** Where pulls come from, for messages. */
  readonly url: string;
  /** Remote of the repository whose rules for signatures hold; made without any if it is not there. */
  readonly remote: string;
  /** Set for new deployments, over those of the running one. */
  readonly kernelArguments: readonly string[];
  /** `shutdown`: OSTree stages the deployment, and writes it when the system goes down in order. */
  readonly finalize: 'now' | 'shutdown';
  readonly maxPullBytes: number;
  readonly timeoutMs: number;
}

/** Keeps the objects of the image from being pruned, and says that they were proven. */
const PROVEN = 'ota-agent/proven';

export class OstreeInstaller implements StreamingInstaller {
  readonly kind = 'ostree';
  readonly takes = 'stream';
  readonly needsReboot = true;
  readonly #settings: OstreeSettings;
  readonly #treehub: Treehub | undefined;
  readonly #ostree: OstreeProgram;

  /** @param treehub - absent where nothing is downloaded: to confirm, to roll back and to look */
  constructor(settings: OstreeSettings, treehub?: Treehub) {
    this.#settings = settings;
    this.#treehub = treehub;
    this.#ostree = new OstreeProgram(settings);
  }

  async check(target: TrustedTarget): Promise<void> {
    demandKind('commit', target, this.kind);
    commitOf(target);
    await this.#guard(target, async () => {
      await this.#booted();
      if ((await this.#ostree.setting('core.fsync')) !== 'false') return;
      const file = `${this.#ostree.repoPath}/config`;
      throw new Error(
        `core.fsync is off in ${file}: a power cut would spoil images; set it to true`,
      );
    });
  }

  /** The target's own bytes do not exist: what is pulled are the objects of its commit. */
  async receive(target: TrustedTarget, _open: OpenImage, progress: Progress): Promise<void> {
    const treehub = this.#treehub;
    if (treehub === undefined) throw new OtaError('BUG', { what: 'a pull without a network' });
    await this.#guard(target, async () => {
      const commit = commitOf(target);
      if (await isComplete(this.#ostree.repoPath, commit)) return;
      const { remote, maxPullBytes: maxBytes } = this.#settings;
      const unsigned = ['--no-gpg-verify', '--no-sign-verify'];
      await this.#ostree.repo([
        'remote',
        'add',
        '--if-not-exists',
        ...unsigned,
        remote,
        TREEHUB_URL,
      ]);
      const { filename, lengthBytes } = target;
      const onBytes = (received: number): void => {
        progress(received, lengthBytes);
      };
      const proxy = await TreehubProxy.open(treehub, { filename, maxBytes, onBytes });
      try {
        await this.#pull(commit, proxy.url);
      } catch (error) {
        const { url } = this.#settings;
        const { repoPath } = this.#ostree;
        throw await pullFailure(error, { target, repoPath, url }, proxy.failure);
      } finally {
        await proxy.close();
      }
    });
  }

  async prove(target: TrustedTarget, progress: Progress): Promise<void> {
    await this.#guard(target, async () => {
      const commit = commitOf(target);
      if (!(await isComplete(this.#ostree.repoPath, commit))) {
        throw new Error(
          `commit ${commit} is not complete in ${this.#ostree.repoPath}: pull it again`,
        );
      }
      await verifyCommit(this.#ostree.repoPath, target);
      const damage = await findDamage(this.#ostree, commit);
      if (damage !== undefined) throw await explained(damage, target, this.#ostree.repoPath);
      await this.#ostree.repo(['refs', '--force', `--create=${PROVEN}`, commit]);
      progress(target.lengthBytes, target.lengthBytes);
    });
  }

  async activate(target: TrustedTarget): Promise<void> {
    await this.#guard(target, async () => {
      const commit = commitOf(target);
      if ((await this.#ostree.commitOf(PROVEN)) !== commit) {
        throw new Error(`commit ${commit} was never proven, so that it is not deployed`);
      }
      const [first] = await this.#ostree.deployments();
      if (first?.commit === commit) return;
      const { kernelArguments, finalize } = this.#settings;
      const stage = finalize === 'shutdown' ? ['--stage'] : [];
      await this.#deploy(commit, [...kernelArguments.map((one) => `--karg=${one}`), ...stage]);
    });
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    return this.#guard(target, async () => {
      const { commit } = await this.#booted();
      return commit === commitOf(target);
    });
  }

  /** A deployment is permanent already; what only an update needed goes. */
  async confirm(target: TrustedTarget): Promise<void> {
    await this.#guard(target, () => this.#tidy());
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#guard(target, async () => {
      const commit = commitOf(target);
      const booted = await this.#booted();
      if (booted.commit === commit) await this.#choosePrevious(booted);
      else await this.#dropPending(commit);
      await this.#tidy();
    });
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    return this.#guard({ ecu: '-' }, async () => {
      const booted = await this.#booted();
      const version = /'(?<version>[^']+)'/u.exec(await this.#ostree.version())?.groups?.[
        'version'
      ];
      const { remote, sysroot, url } = this.#settings;
      const deployments = (await this.#ostree.deployments())
        .map(({ commit, role }) => `${commit}${role === '' ? '' : ` (${role})`}`)
        .join(', ');
      const found = { version: version ?? 'unknown', os: booted.os, booted: booted.commit };
      return { ...found, deployments, sysroot, treehub: url, remote };
    });
  }

  async #pull(commit: string, proxy: string): Promise<void> {
    const args = [
      'pull',
      `--url=${TREEHUB_URL}`,
      '--network-retries=2',
      this.#settings.remote,
      commit,
    ];
    // In the environment, which others cannot read: the address of the proxy holds its secret.
    await this.#ostree.repo(args, { http_proxy: proxy, no_proxy: '', NO_PROXY: '' });
  }

  async #deploy(commit: string, options: readonly string[]): Promise<void> {
    try {
      await this.#ostree.admin(['deploy', `--os=${this.#settings.os}`, ...options, commit]);
    } catch (error) {
      throw await explained(error, { filename: commit }, this.#ostree.repoPath);
    }
  }

  async #booted(): Promise<Deployment> {
    const booted = (await this.#ostree.deployments()).find(({ isBooted }) => isBooted);
    const { os, sysroot } = this.#settings;
    if (booted === undefined) {
      throw new Error(
        `what runs was not booted from an OSTree deployment of ${sysroot}: see ostree admin status`,
      );
    }
    if (booted.os === os) return booted;
    throw new Error(`${booted.os} runs, and installer.ostree_os says ${os}: set it to what runs`);
  }

  /**
   * Where ostree can, the deployment from before is chosen as it is. That of Debian 12 cannot: there
   * the same commit is deployed once more, with the local changes in `/etc` of now.
   */
  async #choosePrevious({ os, commit }: Deployment): Promise<void> {
    const [first, ...others] = await this.#ostree.deployments();
    if (first?.commit !== commit) return;
    const previous = others.find((one) => one.os === os && one.commit !== commit);
    if (previous === undefined) {
      throw new Error(`there is no deployment to go back to: ${commit} is the only one of ${os}`);
    }
    if (await this.#ostree.knows('set-default')) {
      await this.#ostree.admin(['set-default', String(previous.index)]);
    } else {
      await this.#deploy(previous.commit, []);
    }
  }

  async #dropPending(commit: string): Promise<void> {
    for (;;) {
      const deployments = await this.#ostree.deployments();
      const booted = deployments.findIndex(({ isBooted }) => isBooted);
      const pending = deployments.find((one) => one.commit === commit && one.index < booted);
      if (pending === undefined) return;
      await this.#ostree.admin(['undeploy', String(pending.index)]);
    }
  }

  /** Objects go that no deployment needs; which deployments stay is OSTree's own rule. */
  async #tidy(): Promise<void> {
    await this.#ostree.repo(['refs', '--delete', PROVEN]);
    await this.#ostree.admin(['cleanup']);
  }

  #guard<T>({ ecu }: Pick<TrustedTarget, 'ecu'>, act: () => Promise<T>): Promise<T> {
    return guarded({ installer: this.kind, ecu }, act);
  }
}
