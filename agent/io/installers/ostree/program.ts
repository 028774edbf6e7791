/** The program `ostree`: how it is called, and what its words mean. */
import { runTool, ToolFailure } from '../../run-tool.ts';

export interface OstreePlace {
  /** Root of the system, `/` on a device. */
  readonly sysroot: string;
  readonly timeoutMs: number;
}

export interface Deployment {
  /** Position in the order of the boot loader; 0 is what the next boot takes. */
  readonly index: number;
  readonly os: string;
  readonly commit: string;
  readonly isBooted: boolean;
  /** As ostree says: `pending`, `staged`, `rollback`; empty for others. */
  readonly role: string;
}

/** It ran and ended with an error. */
export class OstreeError extends Error {
  override readonly name = 'OstreeError';
  /** All that it wrote to its standard error. */
  readonly said: string;

  constructor(command: string, said: string) {
    super(`ostree ${command}: ${lastLine(said)}`);
    this.said = said;
  }
}

const PROGRAM = 'ostree';
const REMEDIES: Readonly<Record<ToolFailure['reason'], string>> = {
  missing: 'install ostree',
  timeout:
    'see whether another ostree holds its lock, or whether installer.ostree_timeout is too short',
  output: 'report it: it says more than any of its commands should',
  signal: 'see the system log; it goes on from there with the next try',
};

export class OstreeProgram {
  readonly #place: OstreePlace;

  constructor(place: OstreePlace) {
    this.#place = place;
  }

  get repoPath(): string {
    return `${this.#place.sysroot.replace(/\/+$/u, '')}/ostree/repo`;
  }

  /**
   * Runs `ostree ARGS… --repo=…`.
   *
   * @returns what it wrote to its standard output
   * @throws OstreeError if it says no; Error if it cannot run, with what to do
   */
  repo(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
    return this.#run([...args, `--repo=${this.repoPath}`], env);
  }

  /** Runs `ostree admin ARGS… --sysroot=…`. */
  admin(args: readonly string[]): Promise<string> {
    return this.#run(['admin', ...args, `--sysroot=${this.#place.sysroot}`], {});
  }

  /** @returns `undefined` where the configuration of the repository does not say */
  async setting(key: string): Promise<string | undefined> {
    try {
      return (await this.repo(['config', 'get', key])).trim();
    } catch (error) {
      if (error instanceof OstreeError) return undefined;
      throw error;
    }
  }

  /** @returns `undefined` if there is no such ref */
  async commitOf(ref: string): Promise<string | undefined> {
    try {
      return (await this.repo(['rev-parse', ref])).trim();
    } catch (error) {
      if (error instanceof OstreeError) return undefined;
      throw error;
    }
  }

  version(): Promise<string> {
    return this.#run(['--version'], {});
  }

  /** Whether this version has a command of `ostree admin`. */
  async knows(command: string): Promise<boolean> {
    const help = await this.#run(['admin', '--help'], {});
    return new RegExp(`^ +${command} `, 'mu').test(help);
  }

  async deployments(): Promise<readonly Deployment[]> {
    return parseStatus(await this.admin(['status']));
  }

  async #run(args: readonly string[], changes: NodeJS.ProcessEnv): Promise<string> {
    const { timeoutMs } = this.#place;
    const env = { ...process.env, LC_ALL: 'C', ...changes };
    try {
      const { code, stdout, stderr } = await runTool(PROGRAM, args, { timeoutMs, env });
      if (code === 0) return stdout;
      const words = args.slice(0, args[0] === 'admin' ? 2 : 1).join(' ');
      throw new OstreeError(words, stderr === '' ? `exit code ${String(code)}` : stderr);
    } catch (error) {
      if (!(error instanceof ToolFailure)) throw error;
      throw new Error(`${error.message}; ${REMEDIES[error.reason]}`, { cause: error });
    }
  }
}

const DEPLOYMENT =
  /^(?<booted>[* ]) (?<os>\S+) (?<commit>[0-9a-f]{64})\.\d+(?: \((?<role>\w+)\))?$/u;

/** What `ostree admin status` prints; the star is libostree's own finding of what `/` is. */
function parseStatus(text: string): readonly Deployment[] {
  const found = text.split('\n').flatMap((line) => {
    const match = DEPLOYMENT.exec(line);
    return match?.groups === undefined ? [] : [match.groups];
  });
  return found.map(({ booted, os, commit, role }, index) => ({
    index,
    os: os ?? '',
    commit: commit ?? '',
    isBooted: booted === '*',
    role: role ?? '',
  }));
}

function lastLine(text: string): string {
  const line = text.trim().split('\n').at(-1) ?? '';
  return line.replace(/^error: /u, '');
}
