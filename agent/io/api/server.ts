/**
 * The local API on a Unix socket: what the command line and programs of this device ask of the daemon.
 *
 * Node has no SO_PEERCRED, so who may ask is who may open the socket: its owner, root, and one group.
 */
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { chown, chmod } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import { causeOf, isOtaError, OtaError } from '../../errors.ts';
import { handedSocket } from '../listen-fds.ts';
import type { EventHub } from './event-hub.ts';
import { JSON_ROUTES, ROUTES, type JsonRoute, type OwnRoute, type Route } from './routes.ts';

/** What a caller sent, as the route's schemas read it. */
interface ApiRequest {
  readonly parts: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Each answers with one JSON document. */
export type ApiHandlers = Readonly<Record<JsonRoute, (request: ApiRequest) => Promise<object>>>;

export interface ApiOptions {
  readonly socket: string;
  /** Name or number of the group that may ask, too. */
  readonly group: string | undefined;
  readonly hub: EventHub;
  readonly metrics: () => Promise<string>;
  /** The document at `/openapi.json`. */
  readonly document: () => Promise<object>;
}

export interface Api {
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 10_000;
const CLOSE_GRACE_MS = 1000;

/**
 * @throws OtaError FILE_UNREADABLE if the socket cannot be made, or not for that group
 */
export async function serveApi(options: ApiOptions, handlers: ApiHandlers): Promise<Api> {
  const { socket, group, hub } = options;
  const limits = { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS };
  const server = createServer({ ...limits, maxHeaderSize: 8192 }, (request, response) => {
    void answer(request, response, options, handlers);
  });
  server.maxConnections = MAX_CONNECTIONS;
  try {
    await listenAt(server, socket, group);
  } catch (error) {
    server.close();
    const remedy = 'set api.socket to a path whose directory exists and is writable, and api.group';
    const facts = { path: socket, what: 'the API socket', cause: causeOf(error), remedy };
    throw new OtaError('FILE_UNREADABLE', facts, { cause: error });
  }
  return {
    close: async () => {
      hub.close();
      const closed = new Promise((resolve) => server.close(resolve));
      // Who waits for an answer that will not come must not keep the agent from ending.
      setTimeout(() => {
        server.closeAllConnections();
      }, CLOSE_GRACE_MS).unref();
      await closed;
    },
  };
}

/** On the socket of ota-agent.socket, where systemd has made one; its mode is that unit's then. */
async function listenAt(server: Server, socket: string, group: string | undefined): Promise<void> {
  const fd = handedSocket(process.env);
  if (fd !== undefined) {
    server.listen({ fd });
    await once(server, 'listening');
    return;
  }
  rmSync(socket, { force: true });
  await listen(server, socket);
  if (group !== undefined) await openTo(group, socket);
}

/** The socket is nobody else's from the instant that it exists: it is made within `listen`. */
function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const before = process.umask(0o177);
    try {
      server.listen(path, () => {
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}

async function openTo(group: string, path: string): Promise<void> {
  const gid = groupNumber(group);
  // In the sandbox of the unit no other group has a number: there this would fail.
  if (gid !== process.getegid?.()) await chown(path, -1, gid);
  await chmod(path, 0o660);
}

function groupNumber(group: string): number {
  if (/^\d+$/u.test(group)) return Number(group);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${group}:`));
  if (line === undefined) throw new Error(`/etc/group has no group ${group}`);
  return Number(line.split(':')[2]);
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: ApiOptions,
  handlers: ApiHandlers,
): Promise<void> {
  try {
    const found = routeOf(request);
    if (!isJsonRoute(found.name)) {
      await answerOwn(found.name, response, options);
      return;
    }
    const body = await readBody(request, found.route);
    const document = await handlers[found.name]({ parts: found.parts, body });
    send(response, 'code' in document ? 409 : 200, document);
  } catch (error) {
    refuse(response, error);
  }
}

async function answerOwn(
  name: OwnRoute,
  response: ServerResponse,
  { hub, metrics, document }: ApiOptions,
): Promise<void> {
  switch (name) {
    case 'events':
      if (hub.add(response)) return;
      throw new Refusal(503, 'too many listen already', 'end one of them');
    case 'metrics':
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' });
      response.end(await metrics());
      return;
    case 'openapi':
      send(response, 200, await document());
  }
}

function isJsonRoute(name: JsonRoute | OwnRoute): name is JsonRoute {
  return Object.hasOwn(JSON_ROUTES, name);
}

interface Found {
  readonly name: JsonRoute | OwnRoute;
  readonly route: Route;
  readonly parts: Readonly<Record<string, string>>;
}

const SEE = 'see /openapi.json';

function routeOf({ method = '', url = '' }: IncomingMessage): Found {
  const [path = ''] = url.split('?');
  const here = ROUTES.flatMap(([name, route]) => {
    const parts = partsOf(route.path, path);
    return parts === undefined ? [] : [{ name, route, parts }];
  });
  if (here.length === 0) throw new Refusal(404, 'no such path', SEE);
  const found = here.find(({ route }) => route.method === method);
  if (found === undefined) throw new Refusal(405, `${method} is not for this path`, SEE);
  for (const [name, schema] of Object.entries(found.route.parts ?? {})) {
    if (!schema.safeParse(found.parts[name]).success) {
      throw new Refusal(404, `no such ${name} in the path`, SEE);
    }
  }
  return found;
}

/** What stands in the place of each `{name}`; `undefined` if the path is another. */
function partsOf(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [pattern.split('/'), path.split('/')];
  if (wanted.length !== given.length) return undefined;
  const parts: [string, string][] = [];
  for (const [index, want] of wanted.entries()) {
    const have = given[index] ?? '';
    if (want.startsWith('{')) parts.push([want.slice(1, -1), have]);
    else if (want !== have) return undefined;
  }
  return Object.fromEntries(parts);
}

async function readBody(
  request: IncomingMessage,
  { body: schema }: Route,
): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      throw new Refusal(413, `a body has at most ${String(MAX_BODY_BYTES)} bytes`, SEE);
    }
    if (schema !== undefined) chunks.push(chunk);
  }
  if (schema === undefined) return {};
  const read = schema.safeParse(parsed(Buffer.concat(chunks).toString()));
  if (read.success) return read.data;
  const [first] = read.error.issues;
  const where = first?.path.join('.') ?? '';
  const what = `${where === '' ? 'the body' : `${where} in the body`}: ${first?.message ?? ''}`;
  throw new Refusal(400, what, SEE);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, 'the body is no JSON', SEE);
  }
}

/** The request itself was wrong: nothing was asked of the agent. */
class Refusal extends Error {
  readonly status: number;
  readonly remedy: string;

  constructor(status: number, what: string, remedy: string) {
    super(what);
    this.status = status;
    this.remedy = remedy;
  }
}

function refuse(response: ServerResponse, error: unknown): void {
  if (error instanceof Refusal) {
    const details = { what: error.message, remedy: error.remedy };
    // What is left of a body that was too long is not read.
    if (error.status === 413) response.setHeader('connection', 'close');
    send(response, error.status, { outcome: 'failed', code: 'USAGE', details });
    return;
  }
  const isExpected = isOtaError(error) && error.code !== 'BUG';
  const details = isExpected ? error.details : { what: causeOf(error) };
  const code = isExpected ? error.code : 'BUG';
  send(response, isExpected ? 409 : 500, { outcome: 'failed', code, details });
}

function send(response: ServerResponse, status: number, document: object): void {
  // Whoever asked may have gone.
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(document));
}
