/** TLS connections that resume: undici's own session cache holds weak references and loses them. */
import { connect, type SecureContext, type TLSSocket } from 'node:tls';

import { buildConnector, errors } from 'undici';

/** Connects with the identity in `secureContext`, offering the last ticket of the same server. */
export function resumingConnector(
  secureContext: SecureContext,
  timeoutMs: number,
): buildConnector.connector {
  const tickets = new Map<string, Buffer>();
  return (options, callback) => {
    const port = Number(options.port === '' ? 443 : options.port);
    const server = `${options.hostname}:${String(port)}`;
    const ticket = tickets.get(server);
    const socket = connect({
      host: options.hostname,
      port,
      servername: isAddress(options.hostname) ? '' : options.hostname,
      secureContext,
      minVersion: 'TLSv1.2',
      ...(ticket === undefined ? {} : { session: ticket }),
    });
    socket.on('session', (session: Buffer) => {
      tickets.set(server, session);
    });
    // A ticket that the server no longer honours must not be offered for ever.
    socket.once('error', () => tickets.delete(server));
    settle(socket, timeoutMs, callback);
  };
}

function settle(socket: TLSSocket, timeoutMs: number, callback: buildConnector.Callback): void {
  const timer = setTimeout(() => {
    socket.destroy(new errors.ConnectTimeoutError());
  }, timeoutMs);
  const failed = (error: Error): void => {
    clearTimeout(timer);
    callback(error, null);
  };
  socket.setNoDelay(true);
  socket.once('error', failed);
  socket.once('secureConnect', () => {
    clearTimeout(timer);
    socket.off('error', failed);
    callback(null, socket);
  });
}

/** SNI carries names only (RFC 6066 §3); Node warns about an address. */
function isAddress(hostname: string): boolean {
  return /^[\d.]+$/u.test(hostname) || hostname.includes(':');
}
