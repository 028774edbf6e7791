/** The gateway's OSTree repository, read over the connection of the device. */
import { OtaError } from '../errors.ts';
import type { HttpClient } from './http.ts';
import { demandRate, type MinimumRate } from './limit-bytes.ts';
import { answered } from './repositories.ts';

/** One file of it, unchecked: what is in a repository is checked by its name. */
export interface TreehubFile {
  /** As the server says; `undefined` where it does not. */
  readonly lengthBytes: number | undefined;
  readonly body: AsyncIterable<Uint8Array>;
}

export interface Treehub {
  /**
   * @param path - below the repository, such as `objects/ab/….filez`
   * @returns `undefined` when the server says it has no such file (403, 404, 410, 424)
   * @throws OtaError GATEWAY_*; DOWNLOAD_TOO_SLOW while the body is read
   */
  open(path: string): Promise<TreehubFile | undefined>;
}

const ABSENT = new Set([403, 404, 410, 424]);

export class HttpTreehub implements Treehub {
  readonly #http: Pick<HttpClient, 'send'>;
  readonly #url: string;
  readonly #rate: MinimumRate;

  /** @param url - of the repository, without a slash at the end */
  constructor(http: Pick<HttpClient, 'send'>, url: string, rate: MinimumRate) {
    this.#http = http;
    this.#url = url;
    this.#rate = rate;
  }

  async open(path: string): Promise<TreehubFile | undefined> {
    const url = `${this.#url}/${path}`;
    const response = await this.#http.send({ method: 'GET', url });
    if (ABSENT.has(response.status)) {
      await response.discard();
      return undefined;
    }
    if (response.status !== 200) throw await answered(url, response);
    const length = response.headers['content-length'];
    return {
      lengthBytes: typeof length === 'string' ? readLength(length, url) : undefined,
      body: demandRate(response.body, this.#rate, path),
    };
  }
}

function readLength(text: string, url: string): number {
  if (/^\d{1,15}$/u.test(text)) return Number(text);
  throw new OtaError('GATEWAY_ANSWER', { url, status: 200, answer: `content-length ${text}` });
}
