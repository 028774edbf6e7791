/** The local API as a server: who may ask, what is refused, and what listeners are told. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { OtaError } from '../../agent/errors.ts';
import { dispatcher, type ApiHandlers } from '../../agent/io/api/dispatch.ts';
import { EventHub } from '../../agent/io/api/event-hub.ts';
import { Observed } from '../../agent/io/api/observed.ts';
import { openApiDocument } from '../../agent/io/api/openapi.ts';
import { ROUTES } from '../../agent/io/api/routes.ts';
import { serveApi, type Api } from '../../agent/io/api/server.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Nobody has this number. */
const STRANGER = 60_123;
const GROUP = 60_321;

let directory: ReturnType<typeof temporaryDirectory>;
let socket: string;
let hub: EventHub;
let observed: Observed;
let nowMs: number;
let api: Api | undefined;
let asked: unknown[];

beforeEach(() => {
  directory = temporaryDirectory('api');
  chmodSync(directory.path, 0o755);
  socket = join(directory.path, 'api.sock');
  hub = new EventHub();
  nowMs = 0;
  asked = [];
  const silent = { transition: ignore, progress: ignore, refused: ignore };
  observed = new Observed(silent, hub, () => nowMs);
});
afterEach(async () => {
  await api?.close();
  api = undefined;
  directory.remove();
});

const ignore = (): undefined => undefined;
const answering = (name: string) => (request: object) => {
  asked.push([name, request]);
  return Promise.resolve({ outcome: name, exit: 0, lines: [] });
};

async function serve(
  changed: Partial<ApiHandlers> = {},
  group?: string,
  path = socket,
): Promise<void> {
  const handlers = Object.fromEntries(ROUTES.map(([name]) => [name, answering(name)]));
  const all = { ...(handlers as unknown as ApiHandlers), ...changed };
  api = await serveApi({
    socket: path,
    group,
    hub,
    metrics: () => Promise.resolve('up 1\n'),
    ask: dispatcher(all, () => Promise.resolve(openApiDocument('1'))),
  });
}

interface Answer {
  readonly status: number | undefined;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

async function ask(
  method: string,
  path: string,
  body = '',
  headers: OutgoingHttpHeaders = {},
): Promise<Answer> {
  const request = httpRequest({ socketPath: socket, method, path, headers });
  request.end(method === 'POST' ? body : undefined);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const part of response) text += String(part);
  return {
    status: response.statusCode,
    text,
    json: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {},
  };
}

/** @returns what another user gets who asks for the status, with `curl` */
async function askAs(uid: number, gid: number): Promise<string> {
  const as = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups', '--'];
  const curl = ['curl', '-s', '-S', '--unix-socket', socket, 'http://localhost/v1/status'];
  try {
    return (await promisify(execFile)('setpriv', [...as, ...curl])).stdout;
  } catch (error) {
    return error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
  }
}

const REMEDY = 'set api.socket to a path whose directory exists and is writable, and api.group';
const isRoot = process.getuid?.() === 0;

describe('who may ask', () => {
  test('without a group, the owner and root: another user’s process cannot connect', async (t) => {
    if (!isRoot) {
      t.skip('becoming another user needs root');
      return;
    }
    await serve();
    assert.equal(statSync(socket).mode & 0o777, 0o600);
    assert.match(
      await askAs(STRANGER, STRANGER),
      /Couldn't connect|Permission denied|Failed to connect/u,
    );
    assert.deepEqual(asked, []);
    assert.match(await askAs(0, STRANGER), /"outcome":"status"/u);
  });

  test('with a group, its members and nobody else', async (t) => {
    if (!isRoot) {
      t.skip('becoming another user needs root');
      return;
    }
    await serve({}, String(GROUP));
    const { mode, gid } = statSync(socket);
    assert.deepEqual([mode & 0o777, gid], [0o660, GROUP]);
    assert.match(await askAs(STRANGER, GROUP), /"outcome":"status"/u);
    assert.equal(asked.length, 1);
    await askAs(STRANGER, STRANGER);
    assert.equal(asked.length, 1);
  });

  test('the socket is nobody else’s from the first instant, whatever the umask is', () => {
    const trace = join(directory.path, 'trace');
    const main = join(directory.path, 'main.mjs');
    const server = join(import.meta.dirname, '../../agent/io/api/server.ts');
    writeFileSync(
      main,
      `import { serveApi } from ${JSON.stringify(server)};
       process.umask(0);
       const api = await serveApi({ socket: ${JSON.stringify(socket)}, hub: { close() {} } });
       if (process.umask() !== 0) throw new Error('the umask stays as it was');
       await api.close();`,
    );
    const strace = ['-f', '-qq', '-e', 'trace=umask,bind,chmod,fchmod,fchmodat', '-o', trace];
    execFileSync('strace', [...strace, process.execPath, main]);
    const calls = readFileSync(trace, 'utf8')
      .split('\n')
      .map((line) => line.replace(/^\d+ +/u, ''));
    const bind = calls.findIndex((call) => call.startsWith('bind(') && call.includes('api.sock'));
    assert.match(
      calls.slice(0, bind).findLast((call) => call.startsWith('umask(')) ?? '',
      /umask\(0?177\)/u,
    );
  });

  test('a group that is not there is refused, with the path and what to do', async () => {
    await rejectsCode(serve({}, 'no-such-group'), 'FILE_UNREADABLE', {
      path: socket,
      what: 'the API socket',
      cause: '/etc/group has no group no-such-group',
      remedy: REMEDY,
    });
  });

  test('a directory that is not there is refused', async () => {
    const path = join(directory.path, 'nowhere', 'api.sock');
    await rejectsCode(serve({}, undefined, path), 'FILE_UNREADABLE', {
      path,
      what: 'the API socket',
      cause: `EACCES: listen EACCES: permission denied ${path}`,
      remedy: REMEDY,
    });
  });
});

describe('what is asked', () => {
  test('every route of the document is served, and answers with what its handler says', async () => {
    await serve();
    for (const [name, { method, path, answer }] of ROUTES) {
      if (typeof answer === 'string') continue;
      const body = JSON.stringify({ update: 'abc', source: '/media/update' });
      const { status, json } = await ask(method, path.replace('{what}', 'tls'), body);
      assert.deepEqual([status, json['outcome']], [200, name]);
    }
  });

  test('a part of the path is checked and handed over', async () => {
    await serve();
    await ask('POST', '/v1/rotate/uptane');
    assert.deepEqual(asked, [['rotate', { parts: { what: 'uptane' }, body: {} }]]);
    const { status, json } = await ask('POST', '/v1/rotate/everything');
    assert.deepEqual([status, json['code']], [404, 'USAGE']);
    assert.equal(asked.length, 1);
  });

  for (const [what, method, path, wanted] of [
    ['an unknown path', 'GET', '/v2/status', 404],
    ['a path with more behind it', 'GET', '/v1/status/x', 404],
    ['a name of an object that JavaScript has by itself', 'GET', '/v1/constructor', 404],
    ['a wrong method', 'GET', '/v1/rollback', 405],
    ['a method that no route has', 'DELETE', '/v1/status', 405],
  ] as const) {
    test(`${what} is refused with ${String(wanted)} and changes nothing`, async () => {
      await serve();
      const { status, json } = await ask(method, path);
      assert.deepEqual([status, json['outcome'], json['code']], [wanted, 'failed', 'USAGE']);
      assert.deepEqual(asked, []);
    });
  }

  test('a body beyond 16 KiB is refused, and not read to its end', async () => {
    await serve();
    const { status } = await ask('POST', '/v1/pause', 'x'.repeat(17 * 1024));
    assert.equal(status, 413);
    assert.deepEqual(asked, []);
  });

  test('bytes that are no HTTP end that connection and no other', async () => {
    await serve();
    const raw = connect(socket);
    raw.write('\0\0\0 not http\r\n\r\n');
    raw.resume();
    await once(raw, 'close');
    assert.equal((await ask('GET', '/v1/status')).status, 200);
  });

  test('an expected failure is 409 with code and details, a bug 500 without a stack', async () => {
    await serve({
      pause: () => Promise.reject(new OtaError('USAGE', { what: 'w', remedy: 'r' })),
      abort: () => Promise.reject(new Error('a slip')),
    });
    const usage = await ask('POST', '/v1/pause');
    assert.equal(usage.status, 409);
    const details = { what: 'w', remedy: 'r' };
    assert.deepEqual(usage.json, { outcome: 'failed', code: 'USAGE', details });
    const bug = await ask('POST', '/v1/abort');
    assert.equal(bug.status, 500);
    assert.deepEqual(bug.json, { outcome: 'failed', code: 'BUG', details: { what: 'a slip' } });
  });
});

describe('what listeners are told', () => {
  /** Connects, and resolves with what was said once `wanted` is in it. */
  async function listen(): Promise<{
    until: (wanted: string) => Promise<string>;
    end: () => void;
  }> {
    const request = httpRequest({ socketPath: socket, path: '/v1/events' }).end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.setEncoding('utf8');
    let text = '';
    const heard = response[Symbol.asyncIterator]() as AsyncIterator<string>;
    return {
      until: async (wanted) => {
        while (!text.includes(wanted)) {
          const step = await heard.next();
          if (step.done === true) assert.fail(`ended after ${text}`);
          text += step.value;
        }
        return text;
      },
      end: () => request.destroy(),
    };
  }

  test('transitions, progress, refusals and ends of cycles, with fields of the log’s list alone', async () => {
    await serve();
    const { until, end } = await listen();
    await until('listening');
    observed.transition('idle', 'downloading', { attempt: 1, passphrase: 'hidden' });
    observed.progress('download', 'a.img', 0, 100);
    nowMs = 1000;
    observed.progress('download', 'a.img', 50, 100);
    observed.refused(new OtaError('USAGE', { what: 'pin-value=1234', remedy: 'r' }));
    observed.cycleEnded('up-to-date');
    const text = await until('up-to-date');
    end();
    assert.match(
      text,
      /event: transition\ndata: \{"from":"idle","to":"downloading","attempt":1,"redacted":"passphrase"\}\n\n/u,
    );
    assert.match(
      text,
      /event: progress\ndata: \{.*"doneBytes":50,"totalBytes":100,"bytesPerSecond":50,"secondsLeft":1\}\n\n/u,
    );
    assert.match(text, /event: refused\ndata: \{"code":"USAGE","what":"pin-value=\(redacted\)"/u);
    assert.match(text, /event: cycle\ndata: \{"outcome":"up-to-date"\}/u);
    assert.doesNotMatch(text, /hidden|1234/u);
  });

  test('the seventeenth listener is refused, and one that leaves makes room', async () => {
    await serve();
    const all = await Promise.all(Array.from({ length: 16 }, listen));
    assert.equal((await ask('GET', '/v1/events')).status, 503);
    all[0]?.end();
    for (;;) {
      const request = httpRequest({ socketPath: socket, path: '/v1/events' }).end();
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      request.destroy();
      if (response.statusCode === 200) break;
    }
    for (const { end } of all) end();
  });

  test('a listener that does not read is cut off and keeps nobody from anything', async () => {
    await serve();
    const slow = connect(socket);
    slow.write('GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(slow, 'readable');
    const closed = once(slow, 'close');
    const name = 'n'.repeat(4096);
    for (let sent = 0; sent < 2000; sent += 1) observed.transition('idle', name, {});
    // What it had been sent is read now; then comes the end.
    slow.resume();
    await closed;
    assert.equal((await ask('GET', '/v1/status')).status, 200);
  });
});
