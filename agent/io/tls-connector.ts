/** TLS connections that resume: undici's own session cache holds weak references and loses them. */
import { connect as connectPlain, type Socket } from 'node:net';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';

import { errors, type buildConnector } from 'undici';

import type { Instant } from '../uptane/time.ts';
import type { VerifyStaple } from './tls.ts';
import { demandPin, signedChain } from './tls-pins.ts';

const DIAGNOSIS_MS = 2000;
/** A resumed session shows no certificate: what was found out about one counts no longer than this. */
const RESUME_MS = 24 * 3_600_000;
/** Code of the error for a server that hangs up after the handshake. */
export const HUNG_UP = 'ERR_TLS_HUNG_UP';

class HungUp extends Error {
  readonly code = HUNG_UP;

  constructor() {
    super('the gateway hung up right after the handshake, before it was asked anything');
  }
}

/** What a server has to prove beyond what OpenSSL checks. */
export interface ServerPolicy {
  /** `gateway.pins`; empty: any key that the CA vouches for. */
  readonly pins: readonly string[];
  /** Where the server has to bring proof that it is not revoked: see `ocsp.ts`. */
  readonly verifyStaple?: VerifyStaple | undefined;
  /** The best that is known, not the system's clock. */
  readonly now: () => Instant;
}

export interface ConnectorOptions {
  /**
   * The identity and the CAs; connections offer the last ticket of the same server. A function is asked
   * for every connection, and a new context forgets the tickets.
   */
  readonly secureContext: SecureContext | (() => SecureContext);
  readonly timeoutMs: number;
  /** Whether an http URL is spoken to in the clear; else that is TLS, too. */
  readonly plainHttp?: boolean | undefined;
  readonly policy?: ServerPolicy | undefined;
}

interface Ticket {
  readonly session: Buffer;
  readonly until: Instant;
}

export class TlsConnector {
  readonly #options: ConnectorOptions;
  readonly #policy: ServerPolicy;
  readonly #tickets = new Map<string, Ticket>();
  #context: SecureContext | undefined;
  /**
   * The last TLS alert of any connection. In TLS 1.3 a gateway refuses a certificate after the
   * handshake, and undici then says no more than that the other side closed.
   */
  lastAlert: Error | undefined;
  /** Of the last connection that was secured. */
  protocol: string | undefined;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#policy = options.policy ?? { pins: [], now: () => Date.now() as Instant };
  }

  readonly connect: buildConnector.connector = (options, callback) => {
    this.lastAlert = undefined;
    if (this.#options.plainHttp === true && options.protocol === 'http:') {
      const port = Number(options.port === '' ? 80 : options.port);
      const plain = connectPlain({ host: options.hostname, port }).setNoDelay(true);
      this.#settle(plain, 'connect', callback);
      return;
    }
    const port = Number(options.port === '' ? 443 : options.port);
    const server = `${options.hostname}:${String(port)}`;
    let socket: TLSSocket;
    try {
      socket = this.#open(options.hostname, port, this.#ticketFor(server));
    } catch (error) {
      callback(error instanceof Error ? error : new Error(String(error)), null);
      return;
    }
    socket.setNoDelay(true);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code?.startsWith('ERR_SSL_') === true) this.lastAlert = error;
    });
    this.#keepTickets(socket, server);
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
      const timer = setTimeout(end, Math.min(this.#options.timeoutMs, DIAGNOSIS_MS), undefined);
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
      requestOCSP: this.#policy.verifyStaple !== undefined,
      ...(ticket === undefined ? {} : { session: ticket }),
    });
  }

  #currentContext(): SecureContext {
    const { secureContext } = this.#options;
    const current = typeof secureContext === 'function' ? secureContext() : secureContext;
    if (current !== this.#context) this.#tickets.clear();
    this.#context = current;
    return current;
  }

  #ticketFor(server: string): Buffer | undefined {
    // Asked first: another context takes the tickets with it.
    this.#currentContext();
    const ticket = this.#tickets.get(server);
    return ticket !== undefined && this.#policy.now() < ticket.until ? ticket.session : undefined;
  }

  /**
   * A ticket is worth what its handshake proved. So a resumed connection passes on what was left of it,
   * and one that was refused leaves none: its tickets, which may come later, find no place.
   */
  #keepTickets(socket: TLSSocket, server: string): void {
    let staple: Buffer | undefined;
    let until = this.#tickets.get(server)?.until;
    const early: Buffer[] = [];
    socket.on('OCSPResponse', (response: Buffer | null) => {
      staple = response ?? undefined;
    });
    socket.on('session', (session: Buffer) => {
      if (until === undefined) early.push(session);
      else this.#tickets.set(server, { session, until });
    });
    socket.once('secureConnect', () => {
      this.protocol = socket.getProtocol() ?? undefined;
      if (!socket.isSessionReused()) {
        try {
          until = this.#judge(socket, staple);
        } catch (error) {
          until = undefined;
          socket.destroy(error instanceof Error ? error : new Error(String(error)));
          return;
        }
      }
      const session = early.at(-1);
      if (session !== undefined && until !== undefined)
        this.#tickets.set(server, { session, until });
    });
  }

  /**
   * What OpenSSL does not check.
   *
   * @returns until when a session may be resumed
   * @throws TlsRefusal
   */
  #judge(socket: TLSSocket, staple: Buffer | undefined): Instant {
    const { pins, verifyStaple, now } = this.#policy;
    const chain = signedChain(socket.getPeerCertificate(true));
    const ends = chain.map(({ validToDate }) => validToDate.getTime());
    if (pins.length > 0) demandPin(chain, pins);
    if (verifyStaple !== undefined) ends.push(verifyStaple(staple, chain, now()));
    return Math.min(now() + RESUME_MS, ...ends) as Instant;
  }

  #settle(
    socket: Socket,
    ready: 'connect' | 'secureConnect',
    callback: buildConnector.Callback,
  ): void {
    const timer = setTimeout(() => {
      socket.destroy(new errors.ConnectTimeoutError());
    }, this.#options.timeoutMs);
    const failed = (error: Error): void => {
      clearTimeout(timer);
      callback(error, null);
    };
    socket.once('error', failed);
    socket.once(ready, () => {
      // Refused by another listener: the error is on its way.
      if (socket.destroyed) return;
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
