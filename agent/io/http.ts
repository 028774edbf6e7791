/** HTTP to the gateway: one connection, kept or resumed, and another for each image. */
import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';

import type { Agent, Dispatcher } from 'undici';

import { causeOf, isOtaError, OtaError } from '../errors.ts';
import { NO_TUNNEL, type ProxyFor } from './http-proxy.ts';
import { TlsConnector, type GroundedContext } from './tls-connector.ts';
import { HUNG_UP } from './tls-ends.ts';
import type { ServerPolicy } from './tls-policy.ts';
import { TlsRefusal } from './tls-refusal.ts';
import { signingFailure } from './tls-signing.ts';
import type { LeftSessions } from './tls-tickets.ts';

export interface HttpOptions {
  /** Identity and trusted CA; a function where they may change while the process runs. */
  readonly secureContext: SecureContext | (() => GroundedContext);
  /** What the process before this one has left. */
  readonly sessions?: LeftSessions | undefined;
  /** Longest wait for a connection, for headers, and for the next bytes of a body. */
  readonly timeoutMs: number;
  readonly userAgent: string;
  /** Only for tools: a device speaks TLS whatever a URL says. */
  readonly plainHttp?: boolean;
  /** What a server has to prove besides; by default nothing. */
  readonly policy?: ServerPolicy;
  /** Which servers are reached through a proxy; by default none. */
  readonly proxyFor?: ProxyFor;
}

export interface Request {
  readonly method: 'GET' | 'PUT' | 'POST';
  readonly url: string;
  readonly body?: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Response {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: AsyncIterable<Uint8Array>;
  /** Reads what is left, so that the connection can be used again; gives up on a long or slow body. */
  discard(): Promise<void>;
}

export class HttpClient {
  #agent: Promise<Agent> | undefined;
  readonly #connector: TlsConnector;
  readonly #options: HttpOptions;
  readonly #downloads = new Set<Socket>();

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#connector = new TlsConnector(options);
  }

  /** undici costs more memory than everything else: it is loaded when there is something to ask. */
  async #open(): Promise<Agent> {
    const { Agent } = (await import('undici')).default;
    const { timeoutMs } = this.#options;
    return new Agent({
      connect: this.#connector.connect,
      connections: 1,
      pipelining: 1,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      // Longer than the server's own, so that the server decides and we see a clean close.
      keepAliveTimeout: 120_000,
    });
  }

  /**
   * Sends one request and returns when its headers are there.
   *
   * @throws OtaError GATEWAY_UNREACHABLE, GATEWAY_TLS, GATEWAY_TIMEOUT
   * @throws OtaError TOKEN_FAILED if the token does not sign the handshake
   */
  async send(request: Request): Promise<Response> {
    const url = new URL(request.url);
    try {
      const agent = await (this.#agent ??= this.#open());
      const response = await agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: request.method,
        body: request.body === undefined ? null : Buffer.from(request.body),
        headers: { 'user-agent': this.#options.userAgent, ...request.headers },
      });
      return this.#answer(request.url, response);
    } catch (error) {
      throw this.#translated(await this.#explained(error, url), request.url);
    }
  }

  /**
   * A GET of something large, in memory that is fixed: a piece of the body is valid until the next is
   * asked for. Its connection ends with the body, or when nobody reads on.
   *
   * @throws OtaError as `send` does
   */
  async download(url: string, headers: Readonly<Record<string, string>>): Promise<Response> {
    const to = new URL(url);
    // Without TLS a tool is at work, and no device.
    if (to.protocol !== 'https:') return this.send({ method: 'GET', url, headers });
    const { timeoutMs, userAgent } = this.#options;
    try {
      const { askFor } = await import('./http-download.ts');
      const { Inlet } = await import('./http-inlet.ts');
      const inlet = new Inlet();
      const socket = await this.#connector.open(to, inlet.onread);
      this.#downloads.add(socket);
      socket.once('close', () => this.#downloads.delete(socket));
      const fields = { 'user-agent': userAgent, ...headers };
      const answer = await askFor(to, fields, { socket, inlet, timeoutMs });
      const discard = (): Promise<void> => Promise.resolve(void socket.destroy());
      return { ...answer, body: this.#received(answer.body, url), discard };
    } catch (error) {
      throw this.#translated(await this.#explained(error, to), url);
    }
  }

  /** Of the last connection that was secured, such as `TLSv1.3`. */
  get protocol(): string | undefined {
    return this.#connector.protocol;
  }

  /** Of this device, in the last connection that was secured. */
  get localAddress(): string | undefined {
    return this.#connector.localAddress;
  }

  /** For the process that follows this one. */
  leaveSessions(): LeftSessions | undefined {
    return this.#connector.leaveSessions();
  }

  /** The next request opens a connection, with the identity of then; those in progress go on. */
  async reconnect(): Promise<void> {
    const before = await this.#agent;
    this.#agent = undefined;
    await before?.close();
  }

  /** Ends the connections; requests in progress fail. */
  async close(): Promise<void> {
    for (const socket of this.#downloads) socket.destroy();
    const agent = await this.#agent;
    await agent?.destroy();
  }

  #answer(url: string, response: Dispatcher.ResponseData): Response {
    return {
      status: response.statusCode,
      headers: response.headers,
      body: this.#received(response.body, url),
      discard: () => discard(response.body, this.#options.timeoutMs),
    };
  }

  async *#received(body: AsyncIterable<Uint8Array>, url: string): AsyncGenerator<Uint8Array> {
    try {
      yield* body;
    } catch (error) {
      throw this.#translated(error, url);
    }
  }

  /** A connection that ends without an answer may have been a certificate refused. */
  async #explained(error: unknown, url: URL): Promise<unknown> {
    if (!ENDED.has(codeOf(error)) || this.#connector.lastAlert !== undefined) return error;
    if (url.protocol === 'http:' && this.#options.plainHttp === true) return error;
    return (await this.#connector.diagnose(url)) ?? error;
  }

  #translated(error: unknown, url: string): Error {
    const closed = codeOf(error) === 'UND_ERR_SOCKET' ? this.#connector.lastAlert : undefined;
    return translated(closed ?? error, url, this.#options.timeoutMs);
  }
}

/** Bounded as a whole: `bodyTimeout` starts anew with every byte that trickles in. */
async function discard(body: Dispatcher.ResponseData['body'], timeoutMs: number): Promise<void> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    await body.dump({ limit: 64 * 1024, signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

const TIMEOUTS: Readonly<Record<string, string>> = {
  UND_ERR_CONNECT_TIMEOUT: 'connecting',
  UND_ERR_HEADERS_TIMEOUT: 'waiting for the answer',
  UND_ERR_BODY_TIMEOUT: 'receiving',
};

function translated(error: unknown, url: string, timeoutMs: number): Error {
  if (isOtaError(error)) return error;
  const code = codeOf(error);
  const phase = TIMEOUTS[code];
  if (phase !== undefined) {
    return new OtaError('GATEWAY_TIMEOUT', { url, phase, timeoutMs }, { cause: error });
  }
  const ofToken = signingFailure(error);
  if (ofToken !== undefined) return ofToken;
  const remedy = error instanceof TlsRefusal ? error.remedy : tlsRemedy(code);
  if (remedy !== undefined) {
    return new OtaError('GATEWAY_TLS', { url, cause: causeOf(error), remedy }, { cause: error });
  }
  return new OtaError(
    'GATEWAY_UNREACHABLE',
    { url, cause: causeOf(error), remedy: unreachableRemedy(code) },
    { cause: error },
  );
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

const ENDED = new Set(['ECONNRESET', 'UND_ERR_SOCKET', 'EPIPE']);

/** What a failed handshake says, and what to do about it; the first that fits. */
const TLS_REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /^(UNABLE_TO_VERIFY_LEAF|UNABLE_TO_GET_ISSUER|SELF_SIGNED_CERT|DEPTH_ZERO|CERT_SIGNATURE)/u,
    'the gateway is not signed by the CA in gateway.ca: check that file, or who answers there',
  ],
  [
    /^CERT_REVOKED$/u,
    'the CA has revoked that certificate: do not trust it, ask who runs the gateway',
  ],
  [
    /^(UNABLE_TO_GET_CRL|CRL_|ERROR_IN_CRL|UNABLE_TO_DECRYPT_CRL)/u,
    'bring current lists to gateway.crl, one for every CA of the gateway, and check the clock',
  ],
  [
    /^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/u,
    "check this device's clock first, then the validity of the gateway's certificate",
  ],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/u, "gateway.url must use a name in the gateway's certificate"],
  [
    new RegExp(`^${HUNG_UP}$`, 'u'),
    "it does not accept this device's certificate: foreign, revoked, or expired by its clock",
  ],
  [
    /^ERR_SSL_.*CERTIFICATE_EXPIRED/u,
    "the gateway says this device's certificate has expired: run ota-agent provision to renew it",
  ],
  [
    /^ERR_SSL_.*(UNKNOWN_CA|BAD_CERTIFICATE)/u,
    "the gateway does not know the CA of this device's certificate: enrol with its own",
  ],
  [
    /^ERR_SSL_.*(CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE)/u,
    'the gateway refused to go on without a client certificate it accepts',
  ],
  [/^ERR_(SSL|TLS)_/u, 'the TLS handshake failed: see the cause'],
];

/** `undefined` when TLS is not the reason. */
function tlsRemedy(code: string): string | undefined {
  return TLS_REMEDIES.find(([pattern]) => pattern.test(code))?.[1];
}

function unreachableRemedy(code: string): string {
  if (code === 'ECONNREFUSED') return 'nothing listens there: check gateway.url and the gateway';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'the name does not resolve: check DNS';
  if (code === NO_TUNNEL) {
    return 'check gateway.proxy or HTTPS_PROXY, and that the proxy lets this device through';
  }
  if (ENDED.has(code)) return 'the gateway ended the connection without an answer: see its log';
  return 'check the network; it is tried again at the next poll';
}
