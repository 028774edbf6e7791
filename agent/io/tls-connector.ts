/** TLS connections that resume: undici's own session cache holds weak references and loses them. */
import { connect, type SecureContext, type TLSSocket } from 'node:tls';

import { errors, type buildConnector } from 'undici';

export class TlsConnector {
  readonly #secureContext: SecureContext;
  readonly #timeoutMs: number;
  readonly #tickets = new Map<string, Buffer>();
  /**
   * The last TLS alert of any connection. In TLS 1.3 a gateway refuses a certificate after the
   * handshake, and undici then says no more than that the other side closed.
   */
  lastAlert: Error | undefined;

  /** @param secureContext - the identity; connections offer the last ticket of the same server */
  constructor(secureContext: SecureContext, timeoutMs: number) {
    this.#secureContext = secureContext;
    this.#timeoutMs = timeoutMs;
  }

  readonly connect: buildConnector.connector = (options, callback) => {
    const port = Number(options.port === '' ? 443 : options.port);
    const server = `${options.hostname}:${String(port)}`;
    const ticket = this.#tickets.get(server);
    this.lastAlert = undefined;
    const socket = connect({
      host: options.hostname,
      port,
      servername: isAddress(options.hostname) ? '' : options.hostname,
      secureContext: this.#secureContext,
      minVersion: 'TLSv1.2',
      ...(ticket === undefined ? {} : { session: ticket }),
    });
    socket.setNoDelay(true);
    socket.on('session', (session: Buffer) => this.#tickets.set(server, session));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code?.startsWith('ERR_SSL_') === true) this.lastAlert = error;
    });
    this.#settle(socket, server, callback);
  };

  #settle(socket: TLSSocket, server: string, callback: buildConnector.Callback): void {
    const timer = setTimeout(() => {
      socket.destroy(new errors.ConnectTimeoutError());
    }, this.#timeoutMs);
    const failed = (error: Error): void => {
      clearTimeout(timer);
      // A ticket that the server no longer honours must not be offered for ever.
      this.#tickets.delete(server);
      callback(error, null);
    };
    socket.once('error', failed);
    socket.once('secureConnect', () => {
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
