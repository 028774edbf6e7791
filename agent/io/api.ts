/** The local API on a Unix socket: what the command line asks of a running daemon. */
import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';

import fastify, { type FastifyInstance } from 'fastify';

import { causeOf, isOtaError, OtaError } from '../errors.ts';
import { handedSocket } from './listen-fds.ts';

/** Each answers with one JSON document. */
export interface ApiHandlers {
  status(): Promise<object>;
  confirm(): Promise<object>;
  rollback(): Promise<object>;
  pause(): Promise<object>;
  resume(): Promise<object>;
  abort(): Promise<object>;
  /** @param what - a key, `certificate` or `cancel`, unchecked */
  rotate(what: string): Promise<object>;
  /** Receives what was encrypted to this device; answers with names alone. */
  secrets(): Promise<object>;
  /** Starts a poll and returns at once. */
  poll(): Promise<object>;
}

export interface Api {
  close(): Promise<void>;
}

/**
 * Serves the handlers to whoever may open the socket: the agent's own user and root.
 *
 * @throws OtaError FILE_UNREADABLE if the socket cannot be made
 */
export async function serveApi(socketPath: string, handlers: ApiHandlers): Promise<Api> {
  const app: FastifyInstance = fastify();
  app.get('/status', () => handlers.status());
  app.post('/confirm', () => handlers.confirm());
  app.post('/rollback', () => handlers.rollback());
  app.post('/pause', () => handlers.pause());
  app.post('/resume', () => handlers.resume());
  app.post('/abort', () => handlers.abort());
  app.post<{ Params: { what: string } }>('/rotate/:what', ({ params }) =>
    handlers.rotate(params.what),
  );
  app.post('/secrets', () => handlers.secrets());
  app.post('/poll', () => handlers.poll());
  app.setErrorHandler(async (error, _request, reply) => {
    const code = isOtaError(error) ? error.code : 'BUG';
    const details = isOtaError(error) ? error.details : { what: causeOf(error) };
    await reply.code(isOtaError(error) ? 409 : 500).send({ outcome: 'failed', code, details });
  });
  try {
    await listen(app, socketPath);
  } catch (error) {
    const remedy = 'set api.socket to a path whose directory exists and is writable';
    const facts = { path: socketPath, what: 'the API socket', cause: causeOf(error), remedy };
    throw new OtaError('FILE_UNREADABLE', facts, { cause: error });
  }
  return { close: () => app.close() };
}

/** On the socket of ota-agent.socket, where systemd has made one; its mode is that unit's then. */
async function listen(app: FastifyInstance, socketPath: string): Promise<void> {
  const fd = handedSocket(process.env);
  if (fd === undefined) {
    await rm(socketPath, { force: true });
    await app.listen({ path: socketPath });
    await chmod(socketPath, 0o600);
    return;
  }
  await app.ready();
  app.server.listen({ fd });
  await once(app.server, 'listening');
}
