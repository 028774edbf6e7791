/**
 * The socket that stands where the monitor call is on a device.
 *
 * A request is finished before the next is looked at, and answers keep their order, unless a TA takes
 * its time: then others are served meanwhile.
 */
import { createServer, type Server, type Socket } from 'node:net';

import type { Cancellation } from './cancellation.ts';
import type { Outcome, Pending } from './instance.ts';
import { MemoryPool } from './memory-pool.ts';
import type { Operation } from './operation.ts';
import { isPending, WorldClient, type OpenOutcome, type World } from './world.ts';
import {
  decodeRequest,
  encodeAnswer,
  encodeOperation,
  FrameSplitter,
  PROTOCOL_VERSION,
  u32s,
  type Frame,
  type Request,
} from './wire.ts';

const MAX_CONNECTIONS = 1024;
/** Who connects and says nothing keeps a place from others. */
const HELLO_TIMEOUT_MS = 10_000;
/** Beyond this a client that asks but never reads is not answered, nor read from. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;
const MAX_HELD_BYTES = 256 * 1024 * 1024;
const MAX_HELD_BYTES_PER_CLIENT = 64 * 1024 * 1024;
/** How long a client that sends many requests at once is served before others have a turn. */
const MAX_TURN_MS = 5;

/** Comes between an answer and its client: what a test wants to go wrong. */
export interface ReplyFaults {
  /** @param cut - ends the connection */
  deliver(frame: Frame, send: () => void, cut: () => void): void;
}

/** A server that is not listening yet. */
export function createWorldServer(world: World, faults?: ReplyFaults): Server {
  const pool = new MemoryPool(MAX_HELD_BYTES, MAX_HELD_BYTES_PER_CLIENT);
  const server = createServer((socket) => {
    new Served(socket, new Connection(world), { pool, faults }).start();
  });
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

interface Ports {
  readonly pool: MemoryPool;
  readonly faults: ReplyFaults | undefined;
}

/** One client's socket: frames in, answers out, and how much of either may wait. */
class Served {
  readonly #socket: Socket;
  readonly #connection: Connection;
  readonly #pool: MemoryPool;
  readonly #faults: ReplyFaults | undefined;
  readonly #splitter = new FrameSplitter();
  /** Frames that came and are not looked at yet; while there are any, nothing is read. */
  #backlog: readonly Frame[] = [];
  #heldBytes = 0;

  constructor(socket: Socket, connection: Connection, { pool, faults }: Ports) {
    this.#socket = socket;
    this.#connection = connection;
    this.#pool = pool;
    this.#faults = faults;
  }

  start(): void {
    const socket = this.#socket;
    const timer = setTimeout(() => {
      if (!this.#connection.isGreeted) socket.destroy();
    }, HELLO_TIMEOUT_MS).unref();
    socket.on('data', (chunk: Buffer) => {
      const frames = this.#splitter.push(chunk);
      if (frames === undefined) socket.destroy();
      else this.#answerAll(frames);
    });
    socket.on('drain', () => {
      this.#continue();
    });
    socket.on('close', () => {
      clearTimeout(timer);
      this.#backlog = [];
      this.#connection.end();
      this.#pool.set(this, 0);
    });
    // A client that is killed resets its connection; 'close' follows and does the work.
    socket.on('error', () => undefined);
  }

  evict(): void {
    this.#socket.destroy();
  }

  #answerAll(frames: readonly Frame[]): void {
    const end = frames.length > 1 ? performance.now() + MAX_TURN_MS : Infinity;
    for (const [at, frame] of frames.entries()) {
      if (this.#socket.destroyed) break;
      const isOver = at > 0 && performance.now() > end;
      if (isOver || this.#socket.writableLength > MAX_UNREAD_BYTES) {
        this.#postpone(frames.slice(at), isOver);
        break;
      }
      this.#answer(frame);
    }
    this.#account();
  }

  /** What is left of a chunk waits for the client to read, or for the others' turn. */
  #postpone(frames: readonly Frame[], isOver: boolean): void {
    this.#backlog = frames;
    this.#socket.pause();
    if (isOver) {
      setImmediate(() => {
        this.#continue();
      });
    }
  }

  #continue(): void {
    const frames = this.#backlog;
    this.#backlog = [];
    this.#answerAll(frames);
    if (this.#backlog.length === 0) this.#socket.resume();
  }

  #answer(frame: Frame): void {
    const answer = this.#connection.answer(frame);
    if (answer === undefined) {
      this.#socket.destroy();
    } else if (answer instanceof Promise) {
      void answer.then((late) => {
        this.#deliver(frame, late);
        this.#account();
      });
    } else if (answer.byteLength > 0) {
      this.#deliver(frame, answer);
    }
  }

  #deliver(frame: Frame, answer: Uint8Array): void {
    const send = (): void => {
      if (!this.#socket.destroyed) this.#socket.write(answer);
    };
    if (this.#faults === undefined) send();
    else this.#faults.deliver(frame, send, () => this.#socket.destroy());
  }

  /** Of answers it counts those that 'drain' will tell of: the rest is the kernel's already. */
  #account(): void {
    const unread = this.#socket.writableNeedDrain ? this.#socket.writableLength : 0;
    const waiting = this.#backlog.reduce((sum, { body }) => sum + body.byteLength, 0);
    const held = this.#splitter.heldBytes + this.#connection.heldBytes + waiting + unread;
    if (held === this.#heldBytes || this.#socket.destroyed) return;
    this.#heldBytes = held;
    this.#pool.set(this, held);
  }
}

/** The protocol of one connection: HELLO first, then requests. */
export class Connection {
  readonly #world: World;
  /** Requests that a TA has not answered, by their number. */
  readonly #inFlight = new Map<number, Cancellation>();
  #client: WorldClient | undefined;
  #heldBytes = 0;

  constructor(world: World) {
    this.#world = world;
  }

  get isGreeted(): boolean {
    return this.#client !== undefined;
  }

  /** Bytes of the requests that are not answered. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** @returns the answer, empty when there is none to give, or `undefined` to close the connection */
  answer(frame: Frame): Uint8Array | Promise<Uint8Array> | undefined {
    const request = decodeRequest(frame);
    if (request === undefined || this.#inFlight.has(frame.request)) return undefined;
    const client = this.#client;
    if (client === undefined) return this.#hello(frame, request);
    switch (request.at) {
      case 'hello':
        return undefined;
      case 'open': {
        const { uuid, login, loginData, operation } = request;
        const answered = client.open(uuid, login, loginData, operation);
        return this.#settle(frame, answered, ({ result, origin, session }: OpenOutcome) =>
          answerWith(frame, operation, result, origin, session),
        );
      }
      case 'invoke': {
        const { session, command, operation } = request;
        const answered = client.invoke(session, command, operation);
        return this.#settle(frame, answered, ({ result, origin }) =>
          answerWith(frame, operation, result, origin),
        );
      }
      case 'close':
        return encodeAnswer(frame, u32s(client.close(request.session)));
      case 'cancel':
        // A request that was answered already is none: the two may cross on their way.
        this.#inFlight.get(request.request)?.request();
        return new Uint8Array();
    }
  }

  /** Nobody is left to answer to, so whoever waits for a TA need not. */
  end(): void {
    for (const cancellation of this.#inFlight.values()) cancellation.request();
    this.#client?.disconnect();
    this.#client = undefined;
  }

  #settle<T extends Outcome>(
    { request, body }: Frame,
    answered: T | Pending<T>,
    encode: (outcome: T) => Uint8Array,
  ): Uint8Array | Promise<Uint8Array> {
    if (!isPending(answered)) return encode(answered);
    const bytes = body.byteLength;
    this.#inFlight.set(request, answered.cancellation);
    this.#heldBytes += bytes;
    return answered.outcome.then((outcome) => {
      this.#inFlight.delete(request);
      this.#heldBytes -= bytes;
      return encode(outcome);
    });
  }

  #hello(frame: Frame, request: Request): Uint8Array | undefined {
    if (request.at !== 'hello' || request.version !== PROTOCOL_VERSION) return undefined;
    this.#client = new WorldClient(this.#world, request.credentials);
    return encodeAnswer(frame, u32s(PROTOCOL_VERSION));
  }
}

function answerWith(frame: Frame, operation: Operation, ...numbers: readonly number[]): Buffer {
  return encodeAnswer(frame, u32s(...numbers), encodeOperation(operation));
}
