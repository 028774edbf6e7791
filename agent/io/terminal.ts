/** The Reporter port for people: a progress bar on a terminal, plain lines elsewhere. */
import type { WriteStream } from 'node:tty';

import type { Reporter } from '../ports.ts';
import type { Log } from './log.ts';
import type { ProgressView } from './progress-view.ts';

/** @param stream - where the bar is drawn; a bar only on a terminal */
export async function openReporter(log: Log, stream: WriteStream): Promise<Reporter> {
  const bar = stream.isTTY ? await openBar(stream) : new Milestones(log);
  return {
    transition: (from, to, facts) => {
      bar.stop();
      log.info('cycle', { from, to, ...facts });
    },
    progress: (phase, filename, done, total) => {
      bar.update(phase, filename, done, total);
    },
    refused: (error) => {
      bar.stop();
      log.warn(error.message);
    },
  };
}

/** Loaded on a terminal only: a daemon has no use for it. */
async function openBar(stream: WriteStream): Promise<ProgressView> {
  const { ProgressBar } = await import('./progress-bar.ts');
  return new ProgressBar(stream);
}

/** Quarters only: a log is read later, and every line costs a write. */
class Milestones implements ProgressView {
  readonly #log: Log;
  #last = '';

  constructor(log: Log) {
    this.#log = log;
  }

  update(phase: string, filename: string, done: number, total: number): void {
    if (total === 0) return;
    const percent = Math.floor((done * 4) / total) * 25;
    const milestone = `${phase} ${filename} ${String(percent)}`;
    if (milestone === this.#last || percent === 0) return;
    this.#last = milestone;
    this.#log.info(`${phase} ${String(percent)}%`, { filename });
  }

  stop(): void {
    this.#last = '';
  }
}
