import type { WriteStream } from 'node:tty';

import { Presets, SingleBar } from 'cli-progress';

import type { ProgressView } from './progress-view.ts';

/** One bar for each phase of each image, with bytes and rate. */
export class ProgressBar implements ProgressView {
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
    const format =
      total === 0
        ? '  {done}, {rate}, {subject}'
        : '  {bar} {percentage}% {done} of {of}, {rate}, {subject}';
    this.#bar = new SingleBar(
      { format, stream: this.#stream, barsize: 24 },
      Presets.shades_classic,
    );
    this.#bar.start(total, 0, { subject, done: '', of: '', rate: '' });
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
