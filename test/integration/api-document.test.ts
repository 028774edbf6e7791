/**
 * The API held against its own OpenAPI document: whatever is asked, the answer is one that the document
 * describes, nothing but what was asked for is done, and the server lives on.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';

import { answering, DaemonView, readings } from '../../agent/commands/serve-api.ts';
import { Daemon } from '../../agent/cycle/daemon.ts';
import type { Agent } from '../../agent/assemble.ts';
import { openGate } from '../../agent/io/gate.ts';
import { EventHub } from '../../agent/io/api/event-hub.ts';
import { metricsText } from '../../agent/io/api/metrics.ts';
import { openApiDocument } from '../../agent/io/api/openapi.ts';
import { serveApi, type Api } from '../../agent/io/api/server.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import { settingsSchema } from '../../agent/settings.ts';
import { TestDevice } from '../support/cycle-device.ts';

const RUNS = 150;

interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}
interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly schema: { enum: string[] } }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema: Schema }> };
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const ajv = new Ajv2020({ strict: false });
let device: TestDevice;
let socket: string;
let api: Api;
let document: Document;
let stop: AbortController;
let ended: Promise<void>;

before(async () => {
  device = new TestDevice();
  device.world.release('fw-1');
  socket = join(device.directory.path, 'api.sock');
  const update = { consent: 'always' } as const;
  const settings = settingsSchema.parse({ update, api: { socket } });
  const ports = { ...(await device.ports()), ...openGate(settings.update) };
  // What asks of a token is not what is tried here.
  const upkeep = { cancel: never, rotate: never, resume: nothing, maintain: nothing };
  const identity = { tlsBackend: { backend: 'engine' } };
  const { store } = ports;
  assert.ok(store instanceof SqliteStore);
  const agent = { ports, store, identity, upkeep } as unknown as Agent;
  const hub = new EventHub();
  const view = new DaemonView(agent, hub);
  stop = new AbortController();
  const first = Promise.withResolvers<undefined>();
  const daemon = new Daemon(
    { ...ports, reporter: view.observed },
    {
      pollIntervalMs: 3_600_000,
      progressed: (text) => {
        view.cycleEnded(text);
        first.resolve(undefined);
      },
    },
  );
  ended = daemon.run(stop.signal);
  await first.promise;
  const served = { agent, daemon, view, settings, secrets: never };
  const usage = { residentBytes: 0, cpuSeconds: 0 };
  api = await serveApi({
    socket,
    group: undefined,
    hub,
    metrics: async () => metricsText('1', await readings(served), usage),
    ask: answering(served),
  });
  const { body } = await ask('GET', '/openapi.json');
  document = JSON.parse(body) as Document;
});
after(async () => {
  await api.close();
  stop.abort();
  await ended;
  await device.close();
});

const nothing = (): Promise<void> => Promise.resolve();
const never = (): Promise<never> => Promise.reject(new Error('not here'));

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function ask(method: string, path: string, body?: string): Promise<Answer> {
  const headers = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
  const request = httpRequest({ socketPath: socket, method, path, headers, agent: false });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const type = response.headers['content-type'] ?? '';
  let text = '';
  for await (const part of response) {
    text += String(part);
    // A stream has no end.
    if (type === 'text/event-stream') break;
  }
  return { status: response.statusCode ?? 0, type, body: text };
}

/** The schema that the document has for this answer. */
function demandDescribed(operation: Operation | undefined, { status, type, body }: Answer): void {
  const response = operation?.responses[String(status)] ?? operation?.responses['default'];
  const content = response?.content ?? defaultContent();
  const schema = content[type]?.schema ?? assert.fail(`${type} is not described`);
  if (type !== 'application/json') return;
  const isValid = ajv.compile(schema);
  assert.ok(isValid(JSON.parse(body)), `${JSON.stringify(isValid.errors)} ${body}`);
}

/** Of what the document does not have: as every other error. */
function defaultContent(): Operation['responses'][string]['content'] {
  const [path] = Object.values(document.paths);
  const [operation] = Object.values(path ?? {});
  return operation?.responses['default']?.content ?? assert.fail();
}

const UNFIT = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.json({ maxDepth: 3 }),
  fc.constantFrom(
    '',
    '{',
    '[]',
    'null',
    '{"update":1}',
    '{"update":""}',
    '{"__proto__":{"update":"x"}}',
  ),
  fc.string({ minLength: 16_000, maxLength: 17_000 }),
);

test('the document is itself valid: every schema in it can be compiled', () => {
  assert.deepEqual(document, JSON.parse(JSON.stringify(openApiDocument(versionOf(document)))));
  let count = 0;
  for (const operation of Object.values(document.paths).flatMap((path) => Object.values(path))) {
    for (const { content } of Object.values(operation.responses)) {
      for (const { schema } of Object.values(content)) ajv.compile(schema);
      count += 1;
    }
  }
  assert.ok(count > 20);
});

function versionOf(of: Document): string {
  return (of as unknown as { info: { version: string } }).info.version;
}

test('the status of an update that waits is as described', async () => {
  const answer = await ask('GET', '/v1/status');
  assert.match(answer.body, /"by":"consent"/u);
  demandDescribed(document.paths['/v1/status']?.['get'], answer);
});

/** Bodies as the document has them, made of nothing but what it says of them. */
function fitting(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'string':
      return fc.string({ minLength: schema.minLength ?? 0, maxLength: schema.maxLength ?? 100 });
    case 'object': {
      const members = Object.entries(schema.properties ?? {});
      const model = members.map(([name, member]) => [name, fitting(member)] as const);
      return fc.record(Object.fromEntries(model), { requiredKeys: [...(schema.required ?? [])] });
    }
    default:
      return assert.fail(`no bodies are made of ${JSON.stringify(schema)}`);
  }
}

const operations = (): readonly (readonly [string, string, Operation])[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [path, method, operation] as const),
  );

test('every operation, with bodies that fit and bodies that do not, answers as described', async () => {
  let refused = 0;
  for (const [template, method, operation] of operations()) {
    const [parameter] = operation.parameters ?? [];
    const parts =
      parameter === undefined
        ? fc.constant('')
        : fc.oneof(fc.constantFrom(...parameter.schema.enum), fc.string({ maxLength: 12 }));
    const schema = operation.requestBody?.content['application/json']?.schema;
    const fits = schema === undefined ? fc.json({ maxDepth: 1 }) : fitting(schema).map(toText);
    const bodies = method === 'get' ? fc.constant(undefined) : fc.oneof(fits, UNFIT);
    const isFit = schema === undefined ? undefined : ajv.compile(schema);
    await fc.assert(
      fc.asyncProperty(parts, bodies, async (part, body) => {
        const path = template.replace(/\{.*\}/u, encodeURIComponent(part));
        const answer = await ask(method.toUpperCase(), path, body);
        demandDescribed(operation, answer);
        // `never` stands for the token: nothing else may be a bug.
        if (answer.status === 500) assert.match(answer.body, /"what":"not here"/u);
        if (isFit === undefined) return;
        const isTaken = answer.status !== 400 && answer.status !== 413;
        assert.equal(isTaken, isFit(parsed(body)), `${String(answer.status)} for ${String(body)}`);
        if (!isTaken) refused += 1;
      }),
      { numRuns: schema === undefined ? 15 : RUNS, endOnFailure: true },
    );
  }
  assert.ok(refused > RUNS / 4, String(refused));
  demandDescribed(document.paths['/v1/status']?.['get'], await ask('GET', '/v1/status'));
});

const toText = (body: unknown): string => JSON.stringify(body);

function parsed(body: string | undefined): unknown {
  try {
    return JSON.parse(body ?? '');
  } catch {
    return undefined;
  }
}

test('paths and methods that it does not have are refused as errors are described', async () => {
  const methods = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS');
  const paths = fc
    .array(
      fc.oneof(
        fc.constantFrom('v1', 'status', 'approve', '..', '%2e%2e', 'rotate'),
        fc.webSegment(),
      ),
      { maxLength: 4 },
    )
    .map((segments) => `/${segments.join('/')}`)
    .filter((path) => !/[^!-~]/u.test(path));
  await fc.assert(
    fc.asyncProperty(methods, paths, async (method, path) => {
      const known = document.paths[path]?.[method.toLowerCase()];
      const answer = await ask(method, path);
      demandDescribed(known, answer);
      if (known === undefined && !path.startsWith('/v1/rotate/')) {
        assert.ok(
          [404, 405].includes(answer.status),
          `${method} ${path}: ${String(answer.status)}`,
        );
      }
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
});

test('bytes that are no request are answered or ended, and the next one is served', async () => {
  const heads = fc.constantFrom(
    '',
    'GET /v1/status HTTP/1.1\r\n',
    'POST /v1/approve HTTP/1.1\r\nContent-Length: 9\r\n\r\n',
  );
  await fc.assert(
    fc.asyncProperty(heads, fc.uint8Array({ maxLength: 300 }), async (head, bytes) => {
      const raw = connect(socket);
      raw.on('error', () => undefined);
      raw.resume();
      raw.end(Buffer.concat([Buffer.from(head), bytes, Buffer.from('\r\n\r\n')]));
      await once(raw, 'close');
    }),
    { numRuns: 60, endOnFailure: true },
  );
  assert.equal((await ask('GET', '/v1/status')).status, 200);
});

test('none of it approved, installed or ended what waits for consent without its name', async () => {
  const { waiting, state } = JSON.parse((await ask('GET', '/v1/status')).body) as {
    waiting: { isApproved: boolean } | null;
    state: string;
  };
  // `abort` needs no name, and may have been asked for.
  assert.ok(state === 'holding' || state === 'idle' || state === 'reporting', state);
  assert.notEqual(waiting?.isApproved, true);
});
