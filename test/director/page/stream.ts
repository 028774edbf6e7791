/** Server-sent events: the fleet and the rollouts, whenever they have changed. */
import type { ServerResponse } from 'node:http';

import type { FastifyInstance } from 'fastify';

const EVERY_MS = 1000;
/** Proxies cut what is silent. */
const COMMENT_EVERY = 20;

export class Stream {
  readonly #operator: FastifyInstance;
  readonly #readers = new Set<ServerResponse>();
  #timer: NodeJS.Timeout | undefined;
  #last = '';
  #silence = 0;

  constructor(operator: FastifyInstance) {
    this.#operator = operator;
  }

  add(reader: ServerResponse): void {
    reader.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    this.#readers.add(reader);
    reader.once('close', () => {
      this.#readers.delete(reader);
      if (this.#readers.size === 0) this.close();
    });
    if (this.#last !== '') reader.write(this.#last);
    this.#timer ??= setInterval(() => void this.#look(), EVERY_MS);
    void this.#look();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#last = '';
    for (const reader of this.#readers) reader.destroy();
  }

  async #look(): Promise<void> {
    const paths = ['/fleet', '/rollouts', '/images', '/status'];
    const answers = await Promise.all(
      paths.map(async (url) => this.#operator.inject({ method: 'GET', url })),
    );
    const broken = answers.find(({ statusCode }) => statusCode !== 200);
    const [fleet, rollouts, images, status] = answers.map(({ body }) => body);
    const data =
      broken === undefined
        ? `{"fleet":${String(fleet)},"rollouts":${String(rollouts)},"images":${String(images)},"status":${String(status)}}`
        : `{"trouble":${broken.body}}`;
    this.#say(`data: ${data}\n\n`);
  }

  #say(text: string): void {
    this.#silence += 1;
    const isNews = text !== this.#last;
    if (!isNews && this.#silence < COMMENT_EVERY) return;
    this.#silence = 0;
    this.#last = text;
    for (const reader of this.#readers) reader.write(isNews ? text : ': nothing new\n\n');
  }
}
