/** The processes that a fleet lives in. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import type { Poll } from './device.ts';
import type { FromWorker, Share, ToWorker, Usage } from './messages.ts';

const MAIN = join(import.meta.dirname, 'worker-main.ts');
const NOTHING: Usage = { cpuMs: 0, residentBytes: 0 };

export class Workers {
  readonly #children: readonly ChildProcess[];
  readonly #usage: Usage[];
  readonly #ended: Promise<never>;
  #isStopping = false;

  private constructor(children: readonly ChildProcess[], polled: (polls: readonly Poll[]) => void) {
    this.#children = children;
    this.#usage = children.map(() => NOTHING);
    for (const [at, child] of children.entries()) {
      child.on('message', (message: FromWorker) => {
        if (message.is !== 'polls') return;
        this.#usage[at] = message.usage;
        polled(message.polls);
      });
    }
    this.#ended = Promise.race(
      children.map(async (child, at) => {
        const [code] = (await once(child, 'exit')) as [number | null];
        if (this.#isStopping) return new Promise<never>(() => undefined);
        throw new Error(`process ${String(at)} of the fleet ended with ${String(code)}`);
      }),
    );
    this.#ended.catch(() => undefined);
  }

  /** @param env - in which a token is seen */
  static start(
    count: number,
    env: Readonly<Record<string, string>>,
    polled: (polls: readonly Poll[]) => void,
  ): Workers {
    const children = Array.from({ length: count }, () =>
      fork(MAIN, { env: { ...process.env, ...env } }),
    );
    return new Workers(children, polled);
  }

  /** Makes identities, and registers them. */
  async prepare(shares: readonly Share[]): Promise<void> {
    await this.#each(
      (at) => {
        const share = shares[at];
        if (share === undefined) throw new Error('a process without a share');
        return { do: 'prepare', share };
      },
      (answer) => answer.is === 'prepared',
    );
  }

  start(startedAtMs: number): void {
    for (const child of this.#children) send(child, { do: 'start', startedAtMs });
  }

  /** @returns how many devices run which image */
  async stop(): Promise<ReadonlyMap<string, number>> {
    this.#isStopping = true;
    const exits = this.#children.map((child) => once(child, 'exit'));
    const images = new Map<string, number>();
    await this.#each(
      () => ({ do: 'stop' }),
      (answer) => {
        if (answer.is !== 'stopped') return false;
        for (const [image, devices] of Object.entries(answer.images))
          images.set(image, (images.get(image) ?? 0) + devices);
        return true;
      },
    );
    await Promise.all(exits);
    return images;
  }

  /** Whoever still runs is killed; nothing is lost that anybody wants. */
  kill(): void {
    this.#isStopping = true;
    for (const child of this.#children) child.kill('SIGKILL');
  }

  /** Rejects when a process ends before its time. */
  async whileAlive<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#ended]);
  }

  get usage(): Usage {
    return this.#usage.reduce((sum, one) => ({
      cpuMs: sum.cpuMs + one.cpuMs,
      residentBytes: sum.residentBytes + one.residentBytes,
    }));
  }

  async #each(
    ask: (at: number) => ToWorker,
    isAnswer: (answer: FromWorker) => boolean,
  ): Promise<void> {
    const all = this.#children.map(async (child, at) => {
      const answered = new Promise<void>((resolve) => {
        const listen = (answer: FromWorker): void => {
          if (!isAnswer(answer)) return;
          child.off('message', listen);
          resolve();
        };
        child.on('message', listen);
      });
      send(child, ask(at));
      await answered;
    });
    await this.whileAlive(Promise.all(all));
  }
}

function send(child: ChildProcess, message: ToWorker): void {
  child.send(message);
}
