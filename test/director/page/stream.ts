/** Server-sent events: the fleet, the rollouts and one device's life, whenever they have changed. */
import type { ServerResponse } from 'node:http';

import type { FastifyInstance } from 'fastify';

const EVERY_MS = 1000;
/** Proxies cut what is silent. */
const COMMENT_EVERY = 20;
/** What every reader is told, and under which name. */
const TOLD = { fleet: '/fleet', rollouts: '/rollouts', images: '/images', status: '/status' };

interface Reader {
  /** Whose life is looked at; empty: nobody's. */
  readonly device: string;
  last: string;
  silence: number;
}

export class Stream {
  readonly #operator: FastifyInstance;
  readonly #readers = new Map<ServerResponse, Reader>();
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;

  constructor(operator: FastifyInstance) {
    this.#operator = operator;
  }

  /** @param device - whose life is told, too; empty: nobody's */
  add(response: ServerResponse, device: string): void {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    this.#readers.set(response, { device, last: '', silence: 0 });
    response.once('close', () => {
      this.#readers.delete(response);
      if (this.#readers.size === 0) this.close();
    });
    this.#timer ??= setInterval(() => void this.#look(), EVERY_MS);
    void this.#look();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const response of this.#readers.keys()) response.destroy();
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      await this.#tellAll();
    } finally {
      this.#isLooking = false;
    }
  }

  async #tellAll(): Promise<void> {
    const common = await this.#ask(TOLD);
    const stories = new Map<string, string>();
    for (const [response, reader] of this.#readers) {
      const { device } = reader;
      const story = stories.get(device) ?? (await this.#storyOf(device));
      stories.set(device, story);
      tell(response, reader, `data: {${[common, story].filter((one) => one !== '').join()}}\n\n`);
    }
  }

  async #storyOf(device: string): Promise<string> {
    if (device === '') return '';
    return this.#ask({ story: `/devices/${encodeURIComponent(device)}/story` });
  }

  /** Members of an object in JSON: the answers, or `trouble`. */
  async #ask(routes: Readonly<Record<string, string>>): Promise<string> {
    const answers = await Promise.all(
      Object.entries(routes).map(async ([name, url]) => {
        const { statusCode, body } = await this.#operator.inject({ method: 'GET', url });
        return { isRight: statusCode === 200, text: `"${name}":${body}`, body };
      }),
    );
    const broken = answers.find(({ isRight }) => !isRight);
    return broken === undefined
      ? answers.map(({ text }) => text).join()
      : `"trouble":${broken.body}`;
  }
}

function tell(response: ServerResponse, reader: Reader, text: string): void {
  reader.silence += 1;
  const isNews = text !== reader.last;
  if (response.destroyed || (!isNews && reader.silence < COMMENT_EVERY)) return;
  reader.silence = 0;
  reader.last = text;
  response.write(isNews ? text : ': nothing new\n\n');
}
