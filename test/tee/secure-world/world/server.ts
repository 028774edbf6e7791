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
  let waiting: readonly Frame[] = [];
  const answerWaiting = (): void => {
    const left = answerInOrder(waiting, connection, socket);
    if (left === undefined) {
      socket.destroy();
      return;
    }
    waiting = left;
    if (left.length > 0 || socket.writableLength > MAX_UNREAD_BYTES) socket.pause();
    else socket.resume();
  };
  socket.on('data', (chunk: Buffer) => {
    const frames = splitter.push(chunk);
    if (frames === undefined) {
      socket.destroy();
      return;
    }
    waiting = [...waiting, ...frames];
    answerWaiting();
  });
  socket.on('drain', answerWaiting);
  socket.on('close', () => {
    connection.end();
  });
  // A client that is killed resets its connection; 'close' follows and does the work.
  socket.on('error', () => undefined);
}

/**
 * Attack: one small chunk can hold a thousand requests for megabytes each, so what is unread is
 * looked at before each of them.
 *
 * @returns what has to wait until the client reads, or `undefined` to close the connection
 */
function answerInOrder(
  frames: readonly Frame[],
  connection: Connection,
  socket: Socket,
): readonly Frame[] | undefined {
  for (const [index, frame] of frames.entries()) {
    if (socket.writableLength > MAX_UNREAD_BYTES) return frames.slice(index);
    const answer = connection.answer(frame);
    if (answer === undefined) return undefined;
    if (answer.byteLength > 0) socket.write(answer);
  }
  return [];
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
