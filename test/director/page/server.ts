/**
 * The page for people, and the part of the operator's API that it needs.
 *
 * Whoever has the URL that was printed is the operator: its token becomes a cookie. The name that a
 * browser asks for is checked, because any page of the web can have its own name resolve to 127.0.0.1.
 */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { createWriteStream, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';

import { answerError, answerMissing } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { INCOMING } from '../state/image-files.ts';
import { readIfThere, writeDurably } from '../state/state-file.ts';
import { Stream } from './stream.ts';

const PAGE = join(import.meta.dirname, 'page.html');
const COOKIE = 'director';
/** What the page may ask for; keys, certificates and enrolment secrets are for the socket alone. */
const FORWARDED =
  /^\/(?:status|fleet|images|rollouts|devices|device-ids|assignments|faults)(?:[/?]|$)/u;
const IMAGE_BYTES = 16 * 1024 ** 3;
const BODY_BYTES = 1024 * 1024;

export interface Page {
  readonly app: FastifyInstance;
  readonly token: string;
}

/**
 * @param operator - the operator's API, which is called without a socket
 * @param names - names and addresses that the page is asked for by
 */
export function createPage(
  operator: FastifyInstance,
  stateDir: string,
  names: readonly string[],
): Page {
  const app = fastify({
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    bodyLimit: BODY_BYTES,
  });
  const token = tokenIn(stateDir);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => {
    done(null, payload);
  });
  app.setNotFoundHandler(answerMissing);
  app.setErrorHandler(answerError);
  app.addHook('onRequest', (request, reply, done) => {
    refuseOtherNames(request, names);
    if (!isOperator(request, token)) throw new Refusal(401, 'no_token', NO_TOKEN);
    void reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer');
    done();
  });
  app.get('/', (_request, reply) => sendPage(reply, token));
  const stream = new Stream(operator);
  app.get<{ readonly Querystring: { readonly device?: string } }>(
    '/api/stream',
    ({ query }, reply) => {
      reply.hijack();
      stream.add(reply.raw, query.device ?? '');
    },
  );
  app.addHook('onClose', () => {
    stream.close();
  });
  app.post('/api/upload', { bodyLimit: IMAGE_BYTES }, async (request, reply) =>
    upload(operator, stateDir, request, reply),
  );
  app.route({
    method: ['GET', 'POST', 'PUT', 'DELETE'],
    url: '/api/*',
    handler: async (request, reply) => forward(operator, request, reply),
  });
  return { app, token };
}

const NO_TOKEN = 'open the URL that the server printed when it started';

function tokenIn(stateDir: string): string {
  const path = join(stateDir, 'page-token');
  const known = readIfThere(path)?.trim();
  if (known !== undefined) return known;
  const token = randomBytes(24).toString('base64url');
  writeDurably(path, `${token}\n`);
  return token;
}

function refuseOtherNames({ headers }: FastifyRequest, names: readonly string[]): void {
  const name = (headers.host ?? '').replace(/:\d+$/u, '').replaceAll(/^\[|\]$/gu, '');
  if (names.includes(name)) return;
  throw new Refusal(421, 'misdirected_request', `this is ${names.join(', ')}, and not ${name}`);
}

function isOperator({ headers, url }: FastifyRequest, token: string): boolean {
  const asked = new URL(url, 'http://page').searchParams.get('token') ?? '';
  const kept = new RegExp(`(?:^|; )${COOKIE}=([^;]*)`, 'u').exec(headers.cookie ?? '')?.[1] ?? '';
  return [asked, kept].some((one) => timingSafeEqual(digest(one), digest(token)));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function sendPage(reply: FastifyReply, token: string): FastifyReply {
  const nonce = randomBytes(16).toString('base64');
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return reply
    .header('content-security-policy', policy)
    .header('set-cookie', `${COOKIE}=${token}; HttpOnly; SameSite=Strict; Path=/`)
    .type('text/html; charset=utf-8')
    .send(readFileSync(PAGE, 'utf8').replaceAll('NONCE', nonce));
}

/** The file of a form becomes a file beside the images, and is published from there. */
async function upload(
  operator: FastifyInstance,
  stateDir: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  // A name that the next start removes, should this process be killed.
  const path = join(stateDir, 'images', `${INCOMING}${randomUUID()}`);
  const wanted = new URL(request.url, 'http://page').searchParams;
  try {
    await pipeline(request.body as Readable, createWriteStream(path, { mode: 0o600 }));
    const answer = await operator.inject({
      method: 'POST',
      url: '/images',
      payload: JSON.stringify({
        path,
        name: wanted.get('name'),
        version: wanted.get('version'),
        hardwareIds: wanted.getAll('hardwareId'),
        encrypt: wanted.has('encrypt'),
      }),
    });
    return await reply.code(answer.statusCode).type('application/json').send(answer.body);
  } finally {
    rmSync(path, { force: true });
  }
}

async function forward(
  operator: FastifyInstance,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const url = request.url.slice('/api'.length);
  const { method } = request;
  if (!FORWARDED.test(url) || (method === 'POST' && url.startsWith('/images')))
    throw new Refusal(404, 'not_found', `there is nothing at ${method} ${request.url}`);
  const payload = await bodyOf(request.body as Readable | undefined);
  const answer = await operator.inject({ method: method as 'GET', url, payload });
  return reply.code(answer.statusCode).type('application/json').send(answer.body);
}

async function bodyOf(body: Readable | undefined): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += (chunk as Buffer).length;
    if (length > BODY_BYTES) throw new Refusal(413, 'bad_request', 'the body is too large');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}
