/** The Telemetry port over HTTP, as the field's gateways take it. */
import type { Telemetry } from '../../ports.ts';
import type { HttpClient } from '../http.ts';
import { answered, JSON_BODY } from '../repositories.ts';
import type { SqliteStore } from '../store/store.ts';
import type { Content, Source } from './source.ts';

/** It may be another time: everything else is what the gateway thinks of it. */
const LATER = new Set([408, 425, 429]);
/** It keeps no such thing. */
const NOT_KEPT = new Set([404, 405, 410, 501]);

type Facts = Pick<SqliteStore, 'fact' | 'saveFact'>;

export class HttpTelemetry implements Telemetry {
  readonly #http: Pick<HttpClient, 'send'>;
  readonly #base: string;
  readonly #store: Facts;
  readonly #sources: readonly Source[];

  /** @param base - of the gateway */
  constructor(
    http: Pick<HttpClient, 'send'>,
    base: string,
    store: Facts,
    sources: readonly Source[],
  ) {
    this.#http = http;
    this.#base = base;
    this.#store = store;
    this.#sources = sources;
  }

  async report(failed: (error: unknown) => void): Promise<void> {
    for (const source of this.#sources) {
      try {
        await this.#tell(source);
      } catch (error) {
        failed(error);
      }
    }
  }

  /** What a gateway has refused once it is not offered again: it would be refused at every poll. */
  async #tell({ path, read }: Source): Promise<void> {
    const content = await read();
    const told = `telemetry${path}`;
    if (content === undefined || (await this.#store.fact(told)) === content.version) return;
    const refusal = await this.#put(path, content);
    await this.#store.saveFact(told, content.version);
    if (refusal !== undefined) throw refusal;
  }

  /**
   * @returns why it does not want it
   * @throws OtaError GATEWAY_* where it may want it later
   */
  async #put(path: string, content: Content): Promise<Error | undefined> {
    const url = `${this.#base}${path}`;
    const body = Buffer.from(JSON.stringify(await content.body()));
    const response = await this.#http.send({ method: 'PUT', url, body, headers: JSON_BODY });
    const { status } = response;
    if (status < 300 || NOT_KEPT.has(status)) {
      await response.discard();
      return undefined;
    }
    const refusal = await answered(url, response);
    if (status >= 500 || LATER.has(status)) throw refusal;
    return refusal;
  }
}
