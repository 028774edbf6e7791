/**
 * A door to the treehub for one `ostree pull`: libostree speaks TLS with key files only, and the key
 * of this device is in a token.
 *
 * It listens on loopback while the pull runs, and lets in who knows a secret that only the environment
 * of that process has. Others on this device must not read the repository with its identity.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { OtaError } from '../../../errors.ts';
import type { Treehub, TreehubFile } from '../../treehub.ts';
import { DeltaTurn } from './delta-turn.ts';

/** Never resolves (RFC 6761 §6.4): without the proxy a pull reaches nobody. */
export const TREEHUB_URL = 'http://treehub.invalid';

/** What a pull by checksum needs. Refs are not among it: a name must not decide what is installed. */
const SERVED =
  /^(?:config|summary(?:\.sig)?|objects\/[0-9a-f]{2}\/[0-9a-f]{62}\.(?:commit|commitmeta|dirtree|dirmeta|filez)|delta-indexes\/[\w+-]{2}\/[\w+-]{41}\.index|deltas\/[\w+-]{2}\/[\w+-]{41,85}\/(?:superblock|\d{1,6}))$/u;
/** Nobody promised these, so that their absence explains nothing. */
const OPTIONAL = /^(?:summary|delta|config$)|\.commitmeta$/u;
const DELTA = 'deltas/';
const DETACHED = '.commitmeta';
/** libostree gives up on an answer that stays below 1000 bytes a second for 30 s. */
const DRIP = Buffer.alloc(200, '\n');
const DRIP_MS = 50;
const MAX_HOLD_MS = 20_000;

export interface PullLimits {
  /** Names the image in failures. */
  readonly filename: string;
  /** All bytes of one pull together: no metadata says how many there will be. */
  readonly maxBytes: number;
  readonly onBytes: (received: number) => void;
}

export class TreehubProxy {
  /** With the secret; for `http_proxy`. */
  readonly url: string;
  /** Why a request was not answered; the last one counts, because a pull repeats itself. */
  failure: Error | undefined;
  readonly #server: Server;
  readonly #treehub: Treehub;
  readonly #limits: PullLimits;
  readonly #expected: Buffer;
  readonly #turn = new DeltaTurn();
  #received = 0;

  static async open(treehub: Treehub, limits: PullLimits): Promise<TreehubProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TreehubProxy(server, treehub, limits);
  }

  private constructor(server: Server, treehub: Treehub, limits: PullLimits) {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port to listen on');
    const secret = randomBytes(32).toString('hex');
    this.url = `http://ota-agent:${secret}@127.0.0.1:${String(address.port)}`;
    this.#expected = Buffer.from(
      `Basic ${Buffer.from(`ota-agent:${secret}`).toString('base64')}`,
      'latin1',
    );
    this.#server = server;
    this.#treehub = treehub;
    this.#limits = limits;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void this.#answer(request, response);
    });
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refusal = this.#refusal(request);
    if (refusal !== undefined) {
      refuse(response, refusal);
      return;
    }
    const path = pathOf(request);
    const serve = (): Promise<void> => this.#serve(path, response);
    try {
      await (path.startsWith(DELTA) ? this.#turn.during(serve) : serve());
    } catch (error) {
      if (!isHangUp(error)) this.failure = asError(error);
      if (response.headersSent) response.destroy();
      else refuse(response, 502);
    }
  }

  async #serve(path: string, response: ServerResponse): Promise<void> {
    const file = await this.#treehub.open(path);
    if (file === undefined) await this.#absent(path, response);
    else await this.#send(path, file, response);
  }

  #refusal(request: IncomingMessage): number | undefined {
    const given = Buffer.from(request.headers['proxy-authorization'] ?? '', 'latin1');
    const known = given.length === this.#expected.length && timingSafeEqual(given, this.#expected);
    if (!known) return 407;
    if (request.method !== 'GET') return 405;
    return SERVED.test(pathOf(request)) ? undefined : 403;
  }

  async #absent(path: string, response: ServerResponse): Promise<void> {
    if (!OPTIONAL.test(path)) this.failure = new Error(`the treehub has no ${path}`);
    if (!path.endsWith(DETACHED) || this.#turn.isOver) {
      refuse(response, 404);
      return;
    }
    response.writeHead(404);
    await pipeline(Readable.from(this.#dripping(), { objectMode: false }), response);
  }

  async *#dripping(): AsyncGenerator<Uint8Array> {
    while (!this.#turn.isOver) {
      yield DRIP;
      await sleep(DRIP_MS);
    }
  }

  async #send(
    path: string,
    { lengthBytes, body }: TreehubFile,
    response: ServerResponse,
  ): Promise<void> {
    if (path.endsWith(DETACHED)) await this.#hold();
    if (lengthBytes !== undefined) response.setHeader('content-length', lengthBytes);
    await pipeline(Readable.from(this.#counted(path, body), { objectMode: false }), response);
  }

  async #hold(): Promise<void> {
    const endMs = performance.now() + MAX_HOLD_MS;
    while (!this.#turn.isOver && performance.now() < endMs) await sleep(DRIP_MS);
  }

  /** Stops the endless-data attack (Uptane Standard 2.1 §4.3.3). */
  async *#counted(path: string, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { filename, maxBytes, onBytes } = this.#limits;
    for await (const chunk of body) {
      this.#received += chunk.byteLength;
      if (this.#received > maxBytes) {
        throw new OtaError('IMAGE_TOO_LARGE', { filename, lengthBytes: maxBytes });
      }
      if (path.startsWith(DELTA)) this.#turn.received(chunk.byteLength);
      onBytes(this.#received);
      yield chunk;
    }
  }
}

/** A proxy is asked for whole URLs; `-` stands for anything that is not below the treehub. */
function pathOf({ url = '' }: IncomingMessage): string {
  return url.startsWith(`${TREEHUB_URL}/`) ? url.slice(TREEHUB_URL.length + 1) : '-';
}

function refuse(response: ServerResponse, status: number): void {
  const challenge = status === 407 ? { 'proxy-authenticate': 'Basic realm="ota-agent"' } : {};
  response.writeHead(status, { ...challenge, 'content-length': 0 }).end();
}

/** The pull ended, or was ended: that is no news of the treehub. */
function isHangUp(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE';
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
