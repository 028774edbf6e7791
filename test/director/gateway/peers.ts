/** Who is at the other end of each connection: the device its certificate names. */
import type { IncomingMessage } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

import type { FastifyInstance } from 'fastify';

import { Refusal } from '../failure.ts';
import type { DeviceCa } from '../pki/device-ca.ts';
import { isDeviceId } from '../state/devices.ts';
import type { Traffic } from './traffic.ts';

export type Gateway = FastifyInstance<HttpsServer>;

/** The peer of a connection: its device id, and the TCP connection below TLS. */
export interface Peer {
  readonly device: string;
  readonly socket: Socket;
}

/** Which peer a request came from. */
export type PeerOf = (request: { readonly raw: IncomingMessage }) => Peer;

interface Connection extends Peer {
  readonly serial: string;
}

export class Peers {
  readonly #deviceCa: DeviceCa;
  readonly #traffic: Traffic;
  readonly #below = new Map<string, Socket>();
  /** Outlives the connection: an aborted request is still counted. */
  readonly #connections = new WeakMap<Socket, Connection>();
  readonly #open = new Set<TLSSocket>();

  constructor(world: { readonly deviceCa: DeviceCa; readonly traffic: Traffic }) {
    this.#deviceCa = world.deviceCa;
    this.#traffic = world.traffic;
  }

  watch(server: HttpsServer): void {
    server.on('connection', (socket: Socket) => {
      const address = addressOf(socket);
      this.#below.set(address, socket);
      socket.once('close', () => this.#below.delete(address));
    });
    server.prependListener('secureConnection', (tls) => {
      this.#admit(tls);
    });
    server.on('tlsClientError', (error, tls) => {
      // A certificate that does not verify ends the connection without an error of its own.
      const code = 'code' in error ? String(error.code) : error.message;
      const reason: unknown = tls.authorizationError;
      this.#traffic.refusedHandshake(typeof reason === 'string' ? reason : code);
    });
  }

  of(socket: Socket): Peer {
    const connection = this.#connections.get(socket);
    if (connection === undefined)
      throw new Refusal(403, 'no_device', 'the connection has no device');
    return connection;
  }

  cutRevoked(): void {
    for (const tls of this.#open) {
      if (this.#deviceCa.isRevoked(this.#connections.get(tls)?.serial ?? '')) tls.destroy();
    }
  }

  cutAll(): void {
    for (const tls of this.#open) tls.destroy();
  }

  #admit(tls: TLSSocket): void {
    const { subject, serialNumber: serial, valid_to: validTo } = tls.getPeerCertificate();
    const { CN: device } = subject;
    const socket = this.#below.get(addressOf(tls));
    // A resumed session is not verified again: its certificate may have expired since.
    const isExpired = Date.parse(validTo) <= Date.now();
    if (typeof device !== 'string' || !isDeviceId(device) || isExpired || socket === undefined) {
      this.#traffic.refusedHandshake(isExpired ? 'CERT_HAS_EXPIRED' : 'NO_DEVICE_ID');
      tls.destroy();
      return;
    }
    this.#connections.set(tls, { device, socket, serial });
    this.#open.add(tls);
    tls.once('close', () => this.#open.delete(tls));
    this.#traffic.connected(device, socket, tls.isSessionReused() ? 'reused' : 'new');
  }
}

function addressOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''} ${String(socket.remotePort ?? 0)}`;
}
