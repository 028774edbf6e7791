/**
 * The local API on a Unix socket: what the command line and programs of this device ask of the daemon.
 *
 * Node has no SO_PEERCRED, so who may ask is who may open the socket: its owner, root, and one group.
 */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

import { causeOf, OtaError } from '../../errors.ts';
import { handedSocket } from '../listen-fds.ts';
import { Refusal, refusalOf, SEE, type ApiAnswer, type ApiQuestion } from './answer.ts';
import type { EventHub } from './event-hub.ts';
import { chmodSync, chownSync, createServer, readFileSync, rmSync } from '../lean-node.ts';

export interface ApiOptions {
  readonly socket: string;
  /** Name or number of the group that may ask, too. */
  readonly group: string | undefined;
  readonly hub: EventHub;
  readonly metrics: () => Promise<string>;
  /** Everything else; never rejects. */
  readonly ask: (question: ApiQuestion) => Promise<ApiAnswer>;
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
export async function serveApi(options: ApiOptions): Promise<Api> {
  const { socket, group, hub } = options;
  const limits = { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS };
  const server = createServer({ ...limits, maxHeaderSize: 8192 }, (request, response) => {
    void answer(request, response, options);
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
  if (group !== undefined) openTo(group, socket);
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

function openTo(group: string, path: string): void {
  const gid = groupNumber(group);
  // In the sandbox of the unit no other group has a number: there this would fail.
  if (gid !== process.getegid?.()) chownSync(path, -1, gid);
  chmodSync(path, 0o660);
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
  { hub, metrics, ask }: ApiOptions,
): Promise<void> {
  try {
    const { method = '', url = '' } = request;
    const [path] = url.split('?');
    if (method === 'GET' && path === EVENTS) {
      if (!hub.add(response)) throw new Refusal(503, 'too many listen already', 'end one of them');
    } else if (method === 'GET' && path === METRICS) {
      send(response, 'text/plain; version=0.0.4', { status: 200, text: await metrics() });
    } else {
      send(response, JSON_TYPE, await ask({ method, url, body: await readBody(request) }));
    }
  } catch (error) {
    // What is left of a body that was too long is not read.
    if (error instanceof Refusal && error.status === 413) response.setHeader('connection', 'close');
    send(response, JSON_TYPE, refusalOf(error));
  }
}

const EVENTS = '/v1/events';
const METRICS = '/metrics';
const JSON_TYPE = 'application/json';

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      throw new Refusal(413, `a body has at most ${String(MAX_BODY_BYTES)} bytes`, SEE);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function send(response: ServerResponse, type: string, { status, text }: ApiAnswer): void {
  // Whoever asked may have gone.
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'content-type': type });
  response.end(text);
}
