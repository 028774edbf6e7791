/** How all three servers answer what is not success: `code`, `description`, `errorId`, as the field. */
import { randomUUID } from 'node:crypto';

import { reasonOf, Refusal } from './failure.ts';

interface Request {
  readonly method: string;
  readonly url: string;
}
interface Reply {
  headers(values: Readonly<Record<string, string>>): unknown;
  code(status: number): { send(body: unknown): unknown };
}

/** For `setNotFoundHandler`. */
export function answerMissing(request: Request, reply: Reply): unknown {
  const what = `there is nothing at ${request.method} ${request.url}`;
  return refuse(reply, new Refusal(404, 'not_found', what));
}

/** For `setErrorHandler`. */
export function answerError(error: unknown, _request: Request, reply: Reply): unknown {
  return refuse(reply, asRefusal(error));
}

/** For `addContentTypeParser`: bodies are read by the routes, clients are lax about content types. */
export function takeBody(
  _request: unknown,
  body: Buffer,
  done: (error: null, body: Buffer) => void,
): void {
  done(null, body);
}

/** The body of a request, empty when there was none. */
export function bodyOf(request: { readonly body: unknown }): Buffer {
  return Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
}

function refuse(reply: Reply, refusal: Refusal): unknown {
  const { status, code, headers, message: description } = refusal;
  reply.headers(headers);
  return reply.code(status).send({ code, description, errorId: randomUUID() });
}

function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  const status =
    error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
      ? error.statusCode
      : 500;
  if (status < 500) return new Refusal(status, 'bad_request', reasonOf(error));
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`${what}\n`);
  return new Refusal(500, 'internal_server_error', reasonOf(error));
}
