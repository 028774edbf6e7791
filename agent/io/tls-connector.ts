/** TLS connections that resume: undici's own session cache holds weak references and loses them. */
import { once } from 'node:events';
import { connect as connectPlain, type OnReadOpts, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { checkServerIdentity, connect, type SecureContext, type TLSSocket } from 'node:tls';

import type { buildConnector } from 'undici';

import { isOtaError } from '../errors.ts';
import type { Instant } from '../uptane/time.ts';
import { openTunnel, type ProxyFor } from './http-proxy.ts';
import { ConnectTimeout, HungUp } from './tls-ends.ts';
import { signedChain } from './tls-pins.ts';
import { isAddress, placeOf, type Place } from './tls-place.ts';
import { isAboutClock, judgeServer, type ServerPolicy } from './tls-policy.ts';
import { isForgotten, resumption } from './tls-resumption.ts';
import { Tickets, type LeftSessions, type Ticket } from './tls-tickets.ts';

const DIAGNOSIS_MS = 2000;
export interface ConnectorOptions {
  /**
   * The identity and the CAs; connections offer the last ticket of the same server. A function is asked
   * for every connection, and a new context forgets the tickets.
   */
  readonly secureContext: SecureContext | (() => GroundedContext);
  /** Of the process before this one; they count on the same grounds only. */
  readonly sessions?: LeftSessions | undefined;
  readonly timeoutMs: number;
  /** Whether an http URL is spoken to in the clear; else that is TLS, too. */
  readonly plainHttp?: boolean | undefined;
  readonly policy?: ServerPolicy | undefined;
  /** By default every server is reached directly. */
  readonly proxyFor?: ProxyFor | undefined;
}

export interface GroundedContext {
  readonly secureContext: SecureContext;
  /** Tells from any other what a session with it proves: see `groundsOf`. */
  readonly grounds: string;
}

export class TlsConnector {
  readonly #options: ConnectorOptions;
  readonly #policy: ServerPolicy;
  readonly #tickets: Tickets;
  #context: GroundedContext | undefined;
  /**
   * The last TLS alert of any connection. In TLS 1.3 a gateway refuses a certificate after the
   * handshake, and undici then says no more than that the other side closed.
   */
  lastAlert: Error | undefined;
  /** Of the last connection that was secured. */
  protocol: string | undefined;
  /** Of this device, in that connection. */
  localAddress: string | undefined;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#policy = options.policy ?? { pins: [], now: () => Date.now() as Instant };
    this.#tickets = new Tickets(this.#policy.now);
  }

  readonly connect: buildConnector.connector = (options, callback) => {
    this.lastAlert = undefined;
    if (this.#options.plainHttp === true && options.protocol === 'http:') {
      const port = Number(options.port === '' ? 80 : options.port);
      const plain = connectPlain({ host: options.hostname, port }).setNoDelay(true);
      this.#settle(plain, 'connect', callback);
      return;
    }
    this.#connect(placeOf(options), callback);
  };

  /**
   * A connection that hands what it reads to `onread`, in one buffer for all of it.
   *
   * Through a proxy Node knows no such thing: there what is read is emitted as `data`.
   */
  open(url: URL, onread: OnReadOpts): Promise<Socket> {
    this.lastAlert = undefined;
    return new Promise((resolve, reject) => {
      this.#connect({ ...placeOf(url), onread }, (...[error, socket]) => {
        if (error === null) resolve(socket);
        else reject(error);
      });
    });
  }

  #connect(place: Place, callback: buildConnector.Callback): void {
    const failed = (error: unknown): void => {
      callback(error instanceof Error ? error : new Error(String(error)), null);
    };
    this.#tunnel(place).then((tunnel) => {
      try {
        this.#secure(place, tunnel, callback);
      } catch (error) {
        failed(error);
      }
    }, failed);
  }

  /** @returns `undefined` where the server is reached directly */
  async #tunnel({ host, port }: Place): Promise<Duplex | undefined> {
    const { proxyFor, timeoutMs } = this.#options;
    const proxy = proxyFor?.(host, port);
    return proxy === undefined
      ? undefined
      : openTunnel(proxy, `${host}:${String(port)}`, timeoutMs);
  }

  #secure(place: Place, tunnel: Duplex | undefined, callback: buildConnector.Callback): void {
    const server = `${place.host}:${String(place.port)}`;
    // Asked first: another context takes the tickets with it.
    this.#currentContext();
    const ticket = this.#tickets.of(server);
    const socket = this.#open(place, { ticket, tunnel });
    this.#keepTickets(socket, server, ticket === undefined ? 'full' : 'resuming');
    this.#settle(socket, 'secureConnect', (...result) => {
      // A ticket that the server no longer honours must not be offered for ever.
      if (result[0] !== null) this.#tickets.forget(server);
      if (ticket !== undefined && isForgotten(socket, result[0])) {
        this.#tickets.forget(server);
        socket.destroy();
        this.lastAlert = undefined;
        this.#connect(place, callback);
        return;
      }
      const { verifyChain } = this.#policy;
      if (
        verifyChain !== undefined &&
        result[0] !== null &&
        isAboutClock(result[0], this.#policy)
      ) {
        this.#connectAtOtherTime(place, verifyChain).then(
          (secured) => {
            callback(null, secured);
          },
          (error: unknown) => {
            callback(error instanceof Error ? error : new Error(String(error)), null);
          },
        );
        return;
      }
      callback(...result);
    });
  }

  /**
   * A connection to a server whose certificate holds at the best known time alone.
   *
   * OpenSSL's verdict has one reason, which may hide others: nothing of it counts here. Everything is
   * verified again, name included, before the first byte is sent; and no ticket is kept, because a
   * session repeats the verdict that it was made with.
   */
  async #connectAtOtherTime(
    place: Place,
    verifyChain: NonNullable<ServerPolicy['verifyChain']>,
  ): Promise<TLSSocket> {
    const { host } = place;
    const tunnel = await this.#tunnel(place);
    const socket = this.#open(place, { tunnel, rejectUnauthorized: false });
    let staple: Buffer | undefined;
    socket.on('OCSPResponse', (response: Buffer | null) => {
      staple = response ?? undefined;
    });
    await new Promise<void>((resolve, reject) => {
      this.#settle(socket, 'secureConnect', (...[error]) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
    const failed = once(socket, 'error').then(([error]: unknown[]) => {
      throw error;
    });
    try {
      const peer = socket.getPeerCertificate(true);
      const misnamed = checkServerIdentity(host, peer);
      if (misnamed !== undefined) throw misnamed;
      judgeServer(socket, staple, this.#policy);
      await Promise.race([verifyChain(signedChain(peer), host), failed]);
      this.protocol = socket.getProtocol() ?? undefined;
      this.localAddress = socket.localAddress;
      return socket;
    } catch (error) {
      failed.catch(() => undefined);
      socket.destroy();
      throw error;
    }
  }

  /**
   * The tickets, for the process that follows this one.
   *
   * @returns `undefined` where nobody could connect now, such as with a list that cannot be read
   */
  leaveSessions(): LeftSessions | undefined {
    try {
      this.#currentContext();
    } catch (error) {
      if (isOtaError(error)) return undefined;
      throw error;
    }
    return { grounds: this.#context?.grounds ?? '', tickets: this.#tickets.leave() };
  }

  /**
   * Why a server ends our connections as soon as we speak.
   *
   * Some gateways refuse a certificate with an alert, which a reset can overtake; others just hang
   * up after the handshake. This says nothing, listens, and tells the two from a server that broke.
   *
   * @returns the refusal, or `undefined` if the server would have listened to us
   */
  async diagnose(url: URL): Promise<Error | undefined> {
    const place = placeOf(url);
    const reached = await this.#tunnel(place).then(
      (tunnel) => ({ tunnel }),
      () => undefined,
    );
    if (reached === undefined) return undefined;
    return new Promise((resolve) => {
      const socket = this.#open(place, reached);
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

  #open(
    { host, port, onread }: Place,
    over: {
      readonly ticket?: Ticket | undefined;
      readonly tunnel?: Duplex | undefined;
      readonly rejectUnauthorized?: false;
    },
  ): TLSSocket {
    const { ticket, tunnel, ...more } = over;
    const socket = connect({
      ...more,
      ...(tunnel === undefined ? {} : { socket: tunnel }),
      ...(onread === undefined ? {} : { onread }),
      host,
      port,
      servername: isAddress(host) ? '' : host,
      requestOCSP: this.#policy.verifyStaple !== undefined,
      ...(ticket === undefined
        ? { secureContext: this.#currentContext() }
        : { ...resumption(ticket), session: ticket.session }),
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code?.startsWith('ERR_SSL_') === true) this.lastAlert = error;
    });
    return socket.setNoDelay(true);
  }

  /** A session of before would be resumed as whoever it was made for. */
  #currentContext(): SecureContext {
    const { secureContext: option, sessions } = this.#options;
    const current =
      typeof option === 'function' ? option() : { secureContext: option, grounds: '' };
    if (this.#context === undefined) {
      if (sessions?.grounds === current.grounds) this.#tickets.take(sessions.tickets);
    } else if (current.secureContext !== this.#context.secureContext) this.#tickets.clear();
    this.#context = current;
    return current.secureContext;
  }

  /**
   * A ticket is worth what its handshake proved. So a resumed connection passes on what was left of it,
   * and one that was refused leaves none: its tickets, which may come later, find no place.
   */
  #keepTickets(socket: TLSSocket, server: string, handshake: 'full' | 'resuming'): void {
    const offered = this.#tickets.of(server)?.until;
    const early: Buffer[] = [];
    let staple: Buffer | undefined;
    let until: Instant | undefined;
    socket.on('OCSPResponse', (response: Buffer | null) => {
      staple = response ?? undefined;
    });
    const keep = (session: Buffer, ends: Instant): void => {
      const protocol = socket.getProtocol() ?? '';
      this.#tickets.keep(server, { session, protocol, until: ends });
    };
    socket.on('session', (session: Buffer) => {
      if (until === undefined) early.push(session);
      else keep(session, until);
    });
    socket.once('secureConnect', () => {
      // Nothing was verified, and the connection ends.
      if (handshake === 'resuming' && !socket.isSessionReused()) return;
      this.protocol = socket.getProtocol() ?? undefined;
      this.localAddress = socket.localAddress;
      try {
        until = socket.isSessionReused() ? offered : judgeServer(socket, staple, this.#policy);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      const session = early.at(-1);
      if (session !== undefined && until !== undefined) keep(session, until);
    });
  }

  #settle(
    socket: Socket,
    ready: 'connect' | 'secureConnect',
    callback: buildConnector.Callback,
  ): void {
    const timer = setTimeout(() => {
      socket.destroy(new ConnectTimeout());
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
