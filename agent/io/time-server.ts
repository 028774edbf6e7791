/** The TimeServer port over HTTP. */
import { isOtaError, OtaError } from '../errors.ts';
import type { TimeServer } from '../ports.ts';
import { readTimeKeys } from '../uptane/attested-time.ts';
import type { Authority } from '../uptane/keys.ts';
import type { HttpClient } from './http.ts';
import { demandRate, type MinimumRate } from './limit-bytes.ts';
import { answered, collect, JSON_BODY } from './repositories.ts';
import { readTextFile } from './text-file.ts';

/** A few signatures of the largest kind, and the nonces of a vehicle full of ECUs. */
const MAX_TIME_BYTES = 64 * 1024;

export class HttpTimeServer implements TimeServer {
  readonly authority: Authority;
  readonly #http: HttpClient;
  readonly #url: string;
  readonly #rate: MinimumRate;

  constructor(http: HttpClient, url: string, authority: Authority, rate: MinimumRate) {
    this.authority = authority;
    this.#http = http;
    this.#url = url;
    this.#rate = rate;
  }

  async askTime(request: Uint8Array): Promise<Uint8Array> {
    const url = this.#url;
    const asked = { method: 'POST', url, body: request, headers: JSON_BODY } as const;
    const response = await this.#http.send(asked);
    if (response.status !== 200) throw await answered(url, response);
    return collect(demandRate(response.body, this.#rate, 'time'), MAX_TIME_BYTES, () => {
      const limit = { repo: 'director', file: 'time', maxBytes: MAX_TIME_BYTES } as const;
      throw new OtaError('METADATA_TOO_LARGE', limit);
    });
  }
}

/** @throws OtaError FILE_UNREADABLE, also for a file that holds no keys */
export async function loadTimeKeys(path: string): Promise<Authority> {
  const what = 'the keys of the time server';
  const remedy =
    'set uptane.time_keys to a JSON file with keys, as in root metadata, and threshold';
  const text = await readTextFile(path, what, remedy);
  try {
    return readTimeKeys(Buffer.from(text));
  } catch (error) {
    if (!isOtaError(error)) throw error;
    const cause = error.message;
    throw new OtaError('FILE_UNREADABLE', { path, what, cause, remedy }, { cause: error });
  }
}
