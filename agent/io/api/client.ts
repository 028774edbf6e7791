/** Asks a running daemon over its socket; what is asked of is in `server.ts`, which no command loads. */
import type { IncomingMessage } from 'node:http';

import { causeOf, OtaError } from '../../errors.ts';
import { request as httpRequest } from '../lean-node.ts';

export interface Question {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
}

/**
 * Asks a running daemon.
 *
 * @returns its answer, or `undefined` when none listens on the socket
 * @throws OtaError FILE_UNREADABLE if the socket is not for this user, or what answers is no agent
 */
export async function askDaemon(
  socketPath: string,
  question: Question,
): Promise<Record<string, unknown> | undefined> {
  const text = await textOf(await open(socketPath, question));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw unusable(socketPath, error);
  }
}

/** The same for what is no JSON. */
export async function askText(socketPath: string, path: string): Promise<string | undefined> {
  return textOf(await open(socketPath, { method: 'GET', path }));
}

async function textOf(response: IncomingMessage | undefined): Promise<string | undefined> {
  if (response === undefined) return undefined;
  let text = '';
  response.setEncoding('utf8');
  for await (const part of response) text += String(part);
  return text;
}

/**
 * The daemon's events as they happen, until it ends.
 *
 * @returns `undefined` when none listens on the socket
 */
export async function listenToDaemon(
  socketPath: string,
): Promise<AsyncIterable<unknown> | undefined> {
  const response = await open(socketPath, { method: 'GET', path: '/v1/events' });
  if (response?.statusCode !== 200) return undefined;
  return response;
}

function open(
  socketPath: string,
  { method, path, body }: Question,
): Promise<IncomingMessage | undefined> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, method, path }, resolve);
    request.on('error', (error) => {
      const code = 'code' in error ? error.code : undefined;
      if (code === 'ENOENT' || code === 'ECONNREFUSED') resolve(undefined);
      else reject(unusable(socketPath, error));
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function unusable(path: string, error: unknown): OtaError<'FILE_UNREADABLE'> {
  const remedy = 'run it as root or as the agent’s user, or as one of the group in api.group';
  const facts = { path, what: 'the API socket', cause: causeOf(error), remedy };
  return new OtaError('FILE_UNREADABLE', facts, { cause: error });
}
