/** What happens in the daemon, to whoever listens: at most a few, and none of them may be slow. */
import type { ServerResponse } from 'node:http';

import { permitted, type Facts } from '../log-fields.ts';
import type { EventSink } from './observed.ts';

const MAX_LISTENERS = 16;
/** A listener that is behind by more is cut off: it can ask for the status and listen again. */
const MAX_BEHIND_BYTES = 256 * 1024;
/** So that a listener that has gone is found, and one that waits knows that we live. */
const HEARTBEAT_MS = 15_000;

/** Source: HTML Living Standard §9.2, "Server-sent events". */
export class EventHub implements EventSink {
  readonly #listeners = new Set<ServerResponse>();
  #heartbeat: NodeJS.Timeout | undefined;

  /** @returns false when there are too many already */
  add(response: ServerResponse): boolean {
    if (this.#listeners.size >= MAX_LISTENERS) return false;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(': listening\n\n');
    this.#listeners.add(response);
    response.once('close', () => {
      this.#listeners.delete(response);
      if (this.#listeners.size === 0) this.#stop();
    });
    this.#heartbeat ??= setInterval(() => {
      this.#write(':\n\n');
    }, HEARTBEAT_MS).unref();
    return true;
  }

  publish(event: string, facts: Facts): void {
    if (this.#listeners.size === 0) return;
    this.#write(`event: ${event}\ndata: ${JSON.stringify(permitted(facts))}\n\n`);
  }

  close(): void {
    this.#stop();
    for (const listener of this.#listeners) listener.end();
  }

  #write(text: string): void {
    for (const listener of this.#listeners) {
      if (listener.writableLength > MAX_BEHIND_BYTES) listener.destroy();
      else listener.write(text);
    }
  }

  #stop(): void {
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }
}
