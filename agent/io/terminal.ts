/** The Reporter port for people: a progress bar on a terminal, plain lines elsewhere. */
import type { WriteStream } from 'node:tty';

import { Presets, SingleBar } from 'cli-progress';

import type { Log } from './log.ts';
import type { Reporter } from '../ports.ts';

/** @param stream - where the bar is drawn; a bar only on a terminal */
export function openReporter(log: Log, stream: WriteStream): Reporter {
  const bar = stream.isTTY ? new Bar(stream) : new Milestones(log);
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

interface ProgressView {
  update(phase: string, filename: string, done: number, total: number): void;
  stop(): void;
}

class Bar implements ProgressView {
  readonly #stream: WriteStream;
  #bar: SingleBar | undefined;
  #subject = '';
  #startedAt = 0;

  constructor(stream: WriteStream) {
    this.#stream = stream;
  }

  update(phase: string, filename: string, done: number, total: number): void {
    const subject = `${phase} ${filename}`;
    if (subject !== this.#subject) this.#start(subject, total);
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const rate = seconds > 0 ? `${mebibytes(done / seconds)}/s` : '';
    this.#bar?.update(done, { subject, done: mebibytes(done), of: mebibytes(total), rate });
    if (done === total) this.stop();
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#subject = '';
  }

  #start(subject: string, total: number): void {
    this.stop();
    this.#subject = subject;
    this.#startedAt = performance.now();
    const format = '  {bar} {percentage}% {done} of {of}, {rate}, {subject}';
    this.#bar = new SingleBar(
      { format, stream: this.#stream, barsize: 24 },
      Presets.shades_classic,
    );
    this.#bar.start(total, 0, { subject, done: '', of: '', rate: '' });
  }
}

/** Quarters only: a log is read later, and every line costs a write. */
class Milestones implements ProgressView {
  readonly #log: Log;
  #last = '';

  constructor(log: Log) {
    this.#log = log;
  }

  update(phase: string, filename: string, done: number, total: number): void {
    const percent = total === 0 ? 100 : Math.floor((done * 4) / total) * 25;
    const milestone = `${phase} ${filename} ${String(percent)}`;
    if (milestone === this.#last || percent === 0) return;
    this.#last = milestone;
    this.#log.info(`${phase} ${String(percent)}%`, { filename });
  }

  stop(): void {
    this.#last = '';
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
