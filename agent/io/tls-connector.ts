/** TLS connections that resume: undici's own session cache holds weak references and loses them. */
import { connect as connectPlain, type Socket } from 'node:net';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';

import { errors, type buildConnector } from 'undici';

const DIAGNOSIS_MS = 2000;
/** Code of the error for a server that hangs up after the handshake. */
export const HUNG_UP = 'ERR_TLS_HUNG_UP';

class HungUp extends Error {
  readonly code = HUNG_UP;

  constructor() {
    super('the gateway hung up right after the handshake, before it was asked anything');
  }
}

export class TlsConnector {
  readonly #secureContext: () => SecureContext;
  #context: SecureContext | undefined;
  readonly #timeoutMs: number;
  readonly #plainHttp: boolean;
  readonly #tickets = new Map<string, Buffer>();
  /**
   * The last TLS alert of any connection. In TLS 1.3 a gateway refuses a certificate after the
   * handshake, and undici then says no more than that the other side closed.
   */
  lastAlert: Error | undefined;

  /**
   * @param secureContext - the identity; connections offer the last ticket of the same server. A
   *   function is asked for every connection, and another context forgets the tickets
   * @param plainHttp - whether an http URL is spoken to in the clear; else that is TLS, too
   */
  constructor(
    secureContext: SecureContext | (() => SecureContext),
    timeoutMs: number,
    plainHttp = false,
  ) {
    this.#secureContext = typeof secureContext === 'function' ? secureContext : () => secureContext;
    this.#timeoutMs = timeoutMs;
    this.#plainHttp = plainHttp;
  }

  readonly connect: buildConnector.connector = (options, callback) => {
    this.lastAlert = undefined;
    if (this.#plainHttp && options.protocol === 'http:') {
      const port = Number(options.port === '' ? 80 : options.port);
      const plain = connectPlain({ host: options.hostname, port }).setNoDelay(true);
      this.#settle(plain, 'connect', callback);
      return;
    }
    const port = Number(options.port === '' ? 443 : options.port);
    const server = `${options.hostname}:${String(port)}`;
    this.#currentContext();
    const socket = this.#open(options.hostname, port, this.#tickets.get(server));
    socket.setNoDelay(true);
    socket.on('session', (session: Buffer) => this.#tickets.set(server, session));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code?.startsWith('ERR_SSL_') === true) this.lastAlert = error;
    });
    this.#settle(socket, 'secureConnect', (...result) => {
      // A ticket that the server no longer honours must not be offered for ever.
      if (result[0] !== null) this.#tickets.delete(server);
      callback(...result);
    });
  };

  /**
   * Why a server ends our connections as soon as we speak.
   *
   * Some gateways refuse a certificate with an alert, which a reset can overtake; others just hang
   * up after the handshake. This says nothing, listens, and tells the two from a server that broke.
   *
   * @returns the refusal, or `undefined` if the server would have listened to us
   */
  diagnose({ hostname, port }: URL): Promise<Error | undefined> {
    return new Promise((resolve) => {
      const socket = this.#open(hostname, Number(port === '' ? 443 : port), undefined);
      let greeted = false;
      const end = (refusal: Error | undefined): void => {
        clearTimeout(timer);
        socket.destroy();
        resolve(refusal);
      };
      const timer = setTimeout(end, Math.min(this.#timeoutMs, DIAGNOSIS_MS), undefined);
      socket.once('secureConnect', () => {
        greeted = true;
      });
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code?.startsWith('ERR_SSL_') === true) end(error);
      });
      socket.once('close', () => {
        end(greeted ? new HungUp() : undefined);
      });
    });
  }

  #open(host: string, port: number, ticket: Buffer | undefined): TLSSocket {
    return connect({
      host,
      port,
      servername: isAddress(host) ? '' : host,
      secureContext: this.#currentContext(),
      minVersion: 'TLSv1.2',
      ...(ticket === undefined ? {} : { session: ticket }),
    });
  }

  /** A session of before would be resumed as whoever it was made for. */
  #currentContext(): SecureContext {
    const current = this.#secureContext();
    if (current !== this.#context) this.#tickets.clear();
    this.#context = current;
    return current;
  }

  #settle(
    socket: Socket,
    ready: 'connect' | 'secureConnect',
    callback: buildConnector.Callback,
  ): void {
    const timer = setTimeout(() => {
      socket.destroy(new errors.ConnectTimeoutError());
    }, this.#timeoutMs);
    const failed = (error: Error): void => {
      clearTimeout(timer);
      callback(error, null);
    };
    socket.once('error', failed);
    socket.once(ready, () => {
      clearTimeout(timer);
      socket.off('error', failed);
      callback(null, socket);
    });
  }
}

/** SNI carries names only (RFC 6066 §3); Node warns about an address. */
function isAddress(hostname: string): boolean {
  return /^[\d.]+$/u.test(hostname) || hostname.includes(':');
}
