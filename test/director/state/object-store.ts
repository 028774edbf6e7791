/**
 * Published images in a bucket of any store that speaks S3: signature version 4, bucket in the path.
 *
 * Objects are named by their SHA-256, which is what a signed request says of its body anyway: the store
 * refuses what arrives otherwise.
 */
import { createReadStream } from 'node:fs';
import { once } from 'node:events';
import {
  request as requestHttp,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { request as requestHttps } from 'node:https';
import { pipeline } from 'node:stream/promises';

import { AwsV4Signer } from 'aws4fetch';

import { DirectorFailure, reasonOf, Refusal } from '../failure.ts';

export interface ObjectStoreSettings {
  /** `https://HOST/BUCKET`. */
  readonly url: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** A part of an object, in bytes; without `end`, to the end. */
export interface Span {
  readonly start: number;
  /** Of the first byte that is not wanted. */
  readonly end?: number;
}

interface Call {
  readonly sha256?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The file to send. */
  readonly body?: { readonly path: string; readonly lengthBytes: number };
}

const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
/** What S3 takes in one request. */
const MAX_BYTES = 5 * 1024 ** 3;
const SILENCE_MS = 30_000;
/** As curl waits. */
const UNASKED_MS = 1000;
const ANSWER_CHARACTERS = 2000;

export class ObjectStore {
  readonly #settings: ObjectStoreSettings;

  constructor(settings: ObjectStoreSettings) {
    this.#settings = settings;
  }

  /** @throws DirectorFailure when the bucket is not there, or the key may not read it */
  async verify(): Promise<void> {
    const where = this.#settings.url;
    const remedy =
      'make the bucket, and look at IMAGES_S3_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY';
    try {
      await discard(await this.#call('GET', '?max-keys=1'));
    } catch (cause) {
      const what = `cannot use the image store: ${reasonOf(cause)}`;
      throw new DirectorFailure(what, { where, remedy }, { cause });
    }
  }

  /** @throws Refusal 413 `image_too_large` · 503 `image_store_unavailable` */
  async put(sha256: string, path: string, lengthBytes: number): Promise<void> {
    if (lengthBytes > MAX_BYTES) {
      const what = `the image store takes ${String(MAX_BYTES)} bytes at once, not ${String(lengthBytes)}`;
      throw new Refusal(413, 'image_too_large', what);
    }
    await discard(await this.#call('PUT', `/${sha256}`, { sha256, body: { path, lengthBytes } }));
  }

  /** Asks for one byte: some stores answer HEAD with a body, which ends the connection in disorder. */
  async has(sha256: string): Promise<boolean> {
    const answer = await this.#send('GET', `/${sha256}`, { headers: { range: 'bytes=0-0' } });
    const { statusCode = 0 } = answer;
    if (![200, 206, 404, 416].includes(statusCode)) {
      throw unavailable(`GET was answered ${String(statusCode)} ${await reasonIn(answer)}`);
    }
    answer.destroy();
    // 416: it is there, and empty.
    return statusCode !== 404;
  }

  /** @throws Refusal 503 `image_store_unavailable` */
  async *read(sha256: string, { start, end }: Span = { start: 0 }): AsyncGenerator<Buffer> {
    if (end !== undefined && start >= end) return;
    const range = `bytes=${String(start)}-${end === undefined ? '' : String(end - 1)}`;
    const isWhole = start === 0 && end === undefined;
    const answer = await this.#call('GET', `/${sha256}`, isWhole ? {} : { headers: { range } });
    try {
      if (!isWhole && answer.statusCode !== 206) {
        throw unavailable(`${range} of ${sha256} was answered ${String(answer.statusCode)}`);
      }
      for await (const chunk of answer) yield chunk as Buffer;
    } finally {
      // Whoever stops reading has no use for the rest.
      answer.destroy();
    }
  }

  async remove(sha256: string): Promise<void> {
    await discard(await this.#call('DELETE', `/${sha256}`));
  }

  /** @throws Refusal 503 `image_store_unavailable` for what is not success */
  async #call(method: string, path: string, call: Call = {}): Promise<IncomingMessage> {
    const answer = await this.#send(method, path, call);
    const { statusCode = 0 } = answer;
    if (statusCode >= 200 && statusCode < 300) return answer;
    throw unavailable(`${method} was answered ${String(statusCode)} ${await reasonIn(answer)}`);
  }

  async #send(method: string, path: string, call: Call): Promise<IncomingMessage> {
    const { sha256 = EMPTY_SHA256, headers = {}, body } = call;
    const { url, ...keys } = this.#settings;
    const signer = new AwsV4Signer({
      ...keys,
      method,
      url: `${url}${path}`,
      service: 's3',
      headers: { ...headers, 'x-amz-content-sha256': sha256 },
    });
    const signed = await signer.sign();
    const options: RequestOptions = {
      method,
      headers: {
        ...Object.fromEntries(signed.headers.entries()),
        'content-length': String(body?.lengthBytes ?? 0),
        ...(body === undefined ? {} : { expect: '100-continue' }),
      },
      timeout: SILENCE_MS,
      // A connection that the store has given up would cost an image.
      agent: false,
    };
    const send = signed.url.protocol === 'https:' ? requestHttps : requestHttp;
    const sent = send(signed.url, options);
    sent.once('timeout', () => sent.destroy(new Error('it does not answer')));
    try {
      const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
      if (body === undefined) sent.end();
      else sendWhenAsked(body.path, sent);
      return (await answered)[0];
    } catch (cause) {
      throw unavailable(reasonOf(cause), cause);
    }
  }
}

/**
 * A store that refuses says so before it is sent an image, whose sending would end in a connection reset
 * that can overtake the answer. One that does not know the question gets the image without asking for it.
 */
function sendWhenAsked(path: string, sent: ClientRequest): void {
  const send = (): void => {
    clearTimeout(timer);
    sent.off('continue', send);
    pipeline(createReadStream(path), sent).catch(() => undefined);
  };
  const timer = setTimeout(send, UNASKED_MS);
  sent.once('continue', send);
  sent.once('response', (answer: IncomingMessage) => {
    clearTimeout(timer);
    sent.off('continue', send);
    answer.once('end', () => sent.destroy());
  });
  sent.once('close', () => {
    clearTimeout(timer);
  });
}

async function reasonIn(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer.setEncoding('utf8')) {
    text = (text + String(chunk)).slice(0, ANSWER_CHARACTERS);
  }
  return /<Code>([^<]*)<\/Code>/u.exec(text)?.[1] ?? text;
}

async function discard(answer: IncomingMessage): Promise<void> {
  answer.resume();
  await once(answer, 'end');
}

function unavailable(why: string, cause?: unknown): Refusal {
  return new Refusal(503, 'image_store_unavailable', `the image store: ${why}`, {
    cause,
    headers: { 'retry-after': '30' },
  });
}
