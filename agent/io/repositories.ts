/** The Repositories and Director ports over HTTP, as the device gateway speaks it. */
import type { GatewayUrls } from '../config-rules.ts';
import { causeOf, isOtaError, OtaError, type Repo } from '../errors.ts';
import type { Director, Repositories } from '../ports.ts';
import type { DeviceEvent } from '../uptane/manifest.ts';
import type { TrustedTarget } from '../uptane/plan.ts';
import type { Instant } from '../uptane/time.ts';
import type { Answer } from '../uptane/verify.ts';
import { parseHttpDate } from './http-date.ts';
import type { HttpClient, Response } from './http.ts';
import { ImagePlaces, type ImageSource } from './image-places.ts';
import { demandRate, limitRate, type MinimumRate } from './limit-bytes.ts';
import { parseRetryAfter } from './retry-after.ts';

/** Statuses with which the field's servers say "there is no such file"; 424 is OTA-CE's. */
const ABSENT = new Set([403, 404, 424]);

const NO_MIRRORS: ImageSource = {
  mirrors: [],
  maxBytesPerSecond: undefined,
  failing: () => undefined,
};

export class HttpRepositories implements Repositories {
  readonly #http: HttpClient;
  readonly #urls: GatewayUrls;
  readonly #rate: MinimumRate;
  readonly #places: ImagePlaces;
  readonly #maxBytesPerSecond: number | undefined;

  constructor(
    http: HttpClient,
    urls: GatewayUrls,
    rate: MinimumRate,
    source: ImageSource = NO_MIRRORS,
  ) {
    this.#http = http;
    this.#urls = urls;
    this.#rate = rate;
    this.#places = new ImagePlaces(source);
    this.#maxBytesPerSecond = source.maxBytesPerSecond;
  }

  async fetchMetadata(repo: Repo, file: string, maxBytes: number): Promise<Answer> {
    const base = repo === 'director' ? this.#urls.director : this.#urls.image;
    const url = `${base}/${file}`;
    const response = await this.#http.send({ method: 'GET', url });
    if (ABSENT.has(response.status)) {
      await response.discard();
      return undefined;
    }
    if (response.status !== 200) throw await answered(url, response);
    const body = demandRate(response.body, this.#rate, file);
    return collect(body, maxBytes, () => {
      throw new OtaError('METADATA_TOO_LARGE', { repo, file, maxBytes });
    });
  }

  /**
   * A place that breaks off is followed by the next, from where it stopped. Only what the last one says
   * is a failure.
   */
  async *openImage(target: TrustedTarget, offsetBytes: number): AsyncGenerator<Uint8Array> {
    const places = this.#places.of(target, `${this.#urls.image}/targets`);
    const last = places.at(-1);
    let position = offsetBytes;
    for (const url of places) {
      try {
        for await (const chunk of this.#limited(this.#imageFrom(url, position, target))) {
          this.#places.served(target, url);
          position += chunk.byteLength;
          yield chunk;
        }
        // A mirror with less than all of it is followed by the next, too.
        if (position >= target.lengthBytes) return;
      } catch (error) {
        if (url === last || !(error instanceof Error)) throw error;
        this.#places.failed(url, error);
      }
    }
  }

  distrust(target: TrustedTarget): void {
    this.#places.distrust(target);
  }

  async *#imageFrom(
    url: string,
    offsetBytes: number,
    { filename }: TrustedTarget,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield* demandRate(this.#imageBody(url, offsetBytes), this.#rate, filename);
    } catch (error) {
      if (isOtaError(error) && error.code === 'DOWNLOAD_TOO_SLOW') throw error;
      const cause = causeOf(error);
      throw new OtaError('DOWNLOAD_FAILED', { filename, url, cause }, { cause: error });
    }
  }

  #limited(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    const bytesPerSecond = this.#maxBytesPerSecond;
    return bytesPerSecond === undefined ? body : limitRate(body, bytesPerSecond);
  }

  async *#imageBody(url: string, offsetBytes: number): AsyncGenerator<Uint8Array> {
    const headers = offsetBytes > 0 ? { range: `bytes=${String(offsetBytes)}-` } : {};
    const response = await this.#http.download(url, headers);
    if (response.status === 206) yield* response.body;
    else if (response.status === 200) yield* skipBytes(response.body, offsetBytes);
    // 416: nothing is left beyond what we have; length and hashes decide whether that is right.
    else if (response.status === 416) await response.discard();
    else throw await answered(url, response);
  }
}

export class HttpDirector implements Director {
  readonly #http: HttpClient;
  readonly #urls: GatewayUrls;

  constructor(http: HttpClient, urls: GatewayUrls) {
    this.#http = http;
    this.#urls = urls;
  }

  async putManifest(body: Uint8Array): Promise<Instant | undefined> {
    const url = `${this.#urls.director}/manifest`;
    const response = await this.#http.send({ method: 'PUT', url, body, headers: JSON_BODY });
    if (response.status !== 200) throw await answered(url, response);
    await response.discard();
    return parseHttpDate(response.headers['date']);
  }

  async postEvents(events: readonly DeviceEvent[]): Promise<number> {
    const url = this.#urls.events;
    if (url === undefined) return events.length;
    const response = await this.#post(url, events);
    if (response.status >= 300 && !NOT_KEPT.has(response.status)) {
      throw await answered(url, response);
    }
    await response.discard();
    const tooLarge = response.status === 413 && events.length > 1;
    return tooLarge ? this.postEvents(events.slice(0, events.length / 2)) : events.length;
  }

  /** Follows one redirect as a POST: OTA-CE's gateway answers 301 for its own documented path. */
  async #post(url: string, events: readonly DeviceEvent[]): Promise<Response> {
    const body = Buffer.from(JSON.stringify(events));
    const response = await this.#http.send({ method: 'POST', url, body, headers: JSON_BODY });
    const location = response.headers['location'];
    if (![301, 307, 308].includes(response.status) || typeof location !== 'string') return response;
    await response.discard();
    const next = new URL(location, url);
    if (next.origin !== new URL(url).origin) return response;
    return this.#http.send({ method: 'POST', url: next.href, body, headers: JSON_BODY });
  }
}

/** Nobody to keep events for, or one event that no batch is small enough for: they are dropped. */
const NOT_KEPT = new Set([404, 413]);
export const JSON_BODY = { 'content-type': 'application/json' };
const ANSWER_BYTES = 200;
const ANSWER_MS = 1000;

/** The server's own words, cut short and on one line, for the error. */
export async function answered(
  url: string,
  response: Response,
): Promise<OtaError<'GATEWAY_ANSWER'>> {
  const start = performance.now();
  let text = '';
  const { location } = response.headers;
  if (response.status >= 300 && response.status < 400 && typeof location === 'string') {
    text = `redirects are not followed; this one leads to ${location} `;
  }
  for await (const chunk of response.body) {
    text += Buffer.from(chunk).toString('utf8');
    if (text.length > ANSWER_BYTES || performance.now() - start > ANSWER_MS) break;
  }
  const answer = text.slice(0, ANSWER_BYTES).replace(/\s+/gu, ' ');
  const retryAfterSeconds = parseRetryAfter(response.headers);
  return new OtaError('GATEWAY_ANSWER', {
    url,
    status: response.status,
    answer,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

/** A whole body, as long as it stays within `maxBytes`. */
export async function collect(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  tooLarge: () => never,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let received = 0;
  for await (const chunk of body) {
    received += chunk.byteLength;
    if (received > maxBytes) tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** For a server that ignored `Range`: what we have already is thrown away as it comes. */
async function* skipBytes(
  body: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<Uint8Array> {
  let left = bytes;
  for await (const chunk of body) {
    if (left >= chunk.byteLength) left -= chunk.byteLength;
    else {
      yield chunk.subarray(left);
      left = 0;
    }
  }
}
