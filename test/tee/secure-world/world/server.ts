/**
 * The socket that stands where the monitor call is on a device.
 *
 * Requests of one connection are answered in their order, and each is finished before the next is
 * looked at. So is the whole world: like OP-TEE's single-instance TA, it does one thing at a time.
 */
import { createServer, type Server, type Socket } from 'node:net';

import type { Operation } from './operation.ts';
import { WorldClient, type World } from './world.ts';
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
/** Beyond this a client that asks but never reads is not read from either. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;

/** A server that is not listening yet. */
export function createWorldServer(world: World): Server {
  const server = createServer((socket) => {
    serve(socket, world);
  });
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

function serve(socket: Socket, world: World): void {
  const connection = new Connection(world);
  const splitter = new FrameSplitter();
  socket.on('data', (chunk: Buffer) => {
    const frames = splitter.push(chunk);
    if (frames === undefined || !answerAll(frames, connection, socket)) socket.destroy();
    else if (socket.writableLength > MAX_UNREAD_BYTES) socket.pause();
  });
  socket.on('drain', () => {
    socket.resume();
  });
  socket.on('close', () => {
    connection.end();
  });
  // A client that is killed resets its connection; 'close' follows and does the work.
  socket.on('error', () => undefined);
}

function answerAll(frames: readonly Frame[], connection: Connection, socket: Socket): boolean {
  for (const frame of frames) {
    const answer = connection.answer(frame);
    if (answer === undefined) return false;
    if (answer.byteLength > 0) socket.write(answer);
  }
  return true;
}

/** The protocol of one connection: HELLO first, then requests. */
export class Connection {
  readonly #world: World;
  #client: WorldClient | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** @returns the answer, empty when there is none to give, or `undefined` to close the connection */
  answer(frame: Frame): Uint8Array | undefined {
    const request = decodeRequest(frame);
    if (request === undefined) return undefined;
    const client = this.#client;
    if (client === undefined) return this.#hello(frame, request);
    switch (request.at) {
      case 'hello':
        return undefined;
      case 'open': {
        const { uuid, login, loginData, operation } = request;
        const { result, origin, session } = client.open(uuid, login, loginData, operation);
        return answerWith(frame, operation, result, origin, session);
      }
      case 'invoke': {
        const { session, command, operation } = request;
        const { result, origin } = client.invoke(session, command, operation);
        return answerWith(frame, operation, result, origin);
      }
      case 'close':
        return encodeAnswer(frame, u32s(client.close(request.session)));
      case 'cancel':
        // Requests are answered in order: when this is read there is nothing left to cancel.
        return new Uint8Array();
    }
  }

  end(): void {
    this.#client?.disconnect();
    this.#client = undefined;
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
