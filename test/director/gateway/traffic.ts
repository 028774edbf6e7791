/** Counts what devices cost: connections, TLS sessions taken up again, requests, bytes on the wire. */
import type { Socket } from 'node:net';

export interface DeviceTraffic {
  readonly connections: number;
  /** Of these, connections that resumed an earlier TLS session. */
  readonly sessionsReused: number;
  readonly requests: number;
  /** Bytes on the TCP connection, TLS included, seen from the server. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface RequestLine {
  readonly at: string;
  readonly device: string;
  readonly method: string;
  readonly path: string;
  /** The part of it that is asked for (RFC 9110 §14.2); absent: all. */
  readonly range?: string;
  /** 0 until it is answered to its end, and for good when the client hangs up before. */
  readonly status: number;
}

interface Wire {
  readonly device: string;
  readonly socket: Socket;
  /** What was on it before the last reset. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

const NOTHING: DeviceTraffic = {
  connections: 0,
  sessionsReused: 0,
  requests: 0,
  bytesIn: 0,
  bytesOut: 0,
};
const MAX_LINES = 10_000;

export class Traffic {
  readonly #devices = new Map<string, DeviceTraffic>();
  readonly #open = new Map<Socket, Wire>();
  #lines: RequestLine[] = [];
  #refusedHandshakes: string[] = [];

  /** @param socket - the TCP connection below TLS */
  connected(device: string, socket: Socket, session: 'new' | 'reused'): void {
    this.#add(device, { connections: 1, sessionsReused: session === 'reused' ? 1 : 0 });
    this.#open.set(socket, { device, socket, bytesIn: 0, bytesOut: 0 });
    socket.once('close', () => {
      const wire = this.#open.get(socket);
      if (wire !== undefined) this.#add(device, since(wire));
      this.#open.delete(socket);
    });
  }

  /** @returns what to call with the status when it is answered */
  arrived(request: Omit<RequestLine, 'status'>): (status: number) => void {
    this.#add(request.device, { requests: 1 });
    const line = { ...request, status: 0 };
    this.#lines.push(line);
    if (this.#lines.length > MAX_LINES) this.#lines.shift();
    return (status) => {
      line.status = status;
    };
  }

  refusedHandshake(reason: string): void {
    this.#refusedHandshakes.push(reason);
    if (this.#refusedHandshakes.length > MAX_LINES) this.#refusedHandshakes.shift();
  }

  /** Counters by device, open connections included. */
  devices(): Readonly<Record<string, DeviceTraffic>> {
    const all = new Map(this.#devices);
    for (const wire of this.#open.values()) {
      all.set(wire.device, sum(all.get(wire.device) ?? NOTHING, since(wire)));
    }
    return Object.fromEntries(all);
  }

  /** Why TLS handshakes failed, oldest first. */
  get refusedHandshakes(): readonly string[] {
    return this.#refusedHandshakes;
  }

  /** Requests in the order of their arrival. */
  lines(device: string | undefined): readonly RequestLine[] {
    return this.#lines.filter((line) => device === undefined || line.device === device);
  }

  /** Counts from zero. A connection that stays open counts again only when it is used. */
  reset(): void {
    this.#devices.clear();
    this.#lines = [];
    this.#refusedHandshakes = [];
    for (const [socket, wire] of this.#open) {
      this.#open.set(socket, { ...wire, bytesIn: socket.bytesRead, bytesOut: socket.bytesWritten });
    }
  }

  #add(device: string, more: Partial<DeviceTraffic>): void {
    this.#devices.set(device, sum(this.#devices.get(device) ?? NOTHING, more));
  }
}

function since({ socket, bytesIn, bytesOut }: Wire): Pick<DeviceTraffic, 'bytesIn' | 'bytesOut'> {
  return { bytesIn: socket.bytesRead - bytesIn, bytesOut: socket.bytesWritten - bytesOut };
}

function sum(a: DeviceTraffic, b: Partial<DeviceTraffic>): DeviceTraffic {
  return {
    connections: a.connections + (b.connections ?? 0),
    sessionsReused: a.sessionsReused + (b.sessionsReused ?? 0),
    requests: a.requests + (b.requests ?? 0),
    bytesIn: a.bytesIn + (b.bytesIn ?? 0),
    bytesOut: a.bytesOut + (b.bytesOut ?? 0),
  };
}
