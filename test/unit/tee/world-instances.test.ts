/** Instances, sessions and cancellation of TAs: GlobalPlatform TEE Internal Core API v1.3. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { PROBE, probeApp } from '../../support/probe-ta.ts';
import { TA_FLAG, TaPanic } from '../../tee/secure-world/ta.ts';
import type { Outcome, Pending } from '../../tee/secure-world/world/instance.ts';
import { PARAM, packTypes, type Operation } from '../../tee/secure-world/world/operation.ts';
import {
  isPending,
  World,
  WorldClient,
  type OpenOutcome,
} from '../../tee/secure-world/world/world.ts';

const UUID = '11111111-2222-3333-4444-555555555555';
const OTHER = '22222222-2222-3333-4444-555555555555';
const SUCCESS = 0;
const CANCEL = 0xffff_0002;
const BUSY = 0xffff_000d;
const OUT_OF_MEMORY = 0xffff_000c;
const TARGET_DEAD = 0xffff_3024;
const FROM_TEE = 3;
const FROM_TA = 4;
const NOBODY = { pid: 1, uid: 0, gid: 0, groups: [] };
const { SINGLE_INSTANCE, MULTI_SESSION, INSTANCE_KEEP_ALIVE } = TA_FLAG;
const ALL = SINGLE_INSTANCE | MULTI_SESSION | INSTANCE_KEEP_ALIVE;

/** A TA's wait does not keep a process alive; a test's has to. */
let alive: NodeJS.Timeout;
beforeEach(() => {
  alive = setInterval(() => undefined, 1000);
});
afterEach(() => {
  clearInterval(alive);
});

function values(a = 0, b = 0): Operation {
  const none = { kind: 'none' } as const;
  return {
    types: packTypes(PARAM.VALUE_INOUT, PARAM.VALUE_OUTPUT, 0, 0),
    parameters: [{ kind: 'value', a, b }, { kind: 'value', a: 0, b: 0 }, none, none],
  };
}

function read({ parameters }: Operation, index: 0 | 1 = 0): readonly number[] {
  const parameter = parameters[index];
  return parameter.kind === 'value' ? [parameter.a, parameter.b] : [];
}

class Fixture {
  readonly app;
  readonly world;
  readonly panics: unknown[] = [];

  constructor(flags: number) {
    this.app = probeApp(UUID, flags);
    const apps = [this.app, probeApp(OTHER, ALL)];
    this.world = new World(apps, (_uuid, cause) => this.panics.push(cause));
  }

  client(): WorldClient {
    return new WorldClient(this.world, NOBODY);
  }
}

function now<T extends Outcome>(answered: T | Pending<T>): T {
  assert.ok(!isPending(answered), 'answers at once');
  return answered;
}

function later<T extends Outcome>(answered: T | Pending<T>): Pending<T> {
  assert.ok(isPending(answered), 'takes its time');
  return answered;
}

function open(client: WorldClient, uuid = UUID): OpenOutcome {
  return now(client.open(uuid, 0, 0, values()));
}

/** The number of the instance that serves a session, and how many sessions it has. */
function served(client: WorldClient, session: number): readonly number[] {
  const operation = values();
  assert.equal(now(client.invoke(session, PROBE.INSTANCE, operation)).result, SUCCESS);
  return read(operation);
}

test('without SINGLE_INSTANCE each session has an instance, which ends with it', () => {
  const { app, ...fixture } = new Fixture(0);
  const client = new WorldClient(fixture.world, NOBODY);
  const first = open(client).session;
  const second = open(client).session;

  assert.deepEqual(
    [served(client, first), served(client, second)],
    [
      [1, 1],
      [2, 1],
    ],
  );
  client.close(first);
  assert.deepEqual(app.events.slice(-2), ['close 1', 'destroy 1']);
  assert.deepEqual(served(client, second), [2, 1]);
});

test('MULTI_SESSION and INSTANCE_KEEP_ALIVE mean nothing without SINGLE_INSTANCE', () => {
  const { app, world } = new Fixture(MULTI_SESSION | INSTANCE_KEEP_ALIVE);
  const client = new WorldClient(world, NOBODY);
  const { session } = open(client);
  open(client);

  client.close(session);

  assert.deepEqual(app.events, [
    'create 1',
    'open 1',
    'create 2',
    'open 2',
    'close 1',
    'destroy 1',
  ]);
});

test('a single instance without MULTI_SESSION is busy while it has a session', () => {
  const fixture = new Fixture(SINGLE_INSTANCE | INSTANCE_KEEP_ALIVE);
  const one = fixture.client();
  const two = fixture.client();
  const { session } = open(one);

  assert.deepEqual(open(two), { result: BUSY, origin: FROM_TEE, session: 0 });
  assert.deepEqual(served(one, session), [1, 1]);
  one.close(session);
  assert.deepEqual(served(two, open(two).session), [1, 1]);
});

test('without INSTANCE_KEEP_ALIVE the last session takes the instance with it', () => {
  const fixture = new Fixture(SINGLE_INSTANCE | MULTI_SESSION);
  const client = fixture.client();
  const first = open(client).session;
  const second = open(client).session;

  client.close(first);
  assert.deepEqual(served(client, second), [1, 1]);
  client.close(second);

  assert.equal(fixture.app.events.at(-1), 'destroy 1');
  assert.deepEqual(served(client, open(client).session), [2, 1]);
});

test('a TA that refuses its only session is not kept', () => {
  const fixture = new Fixture(SINGLE_INSTANCE | MULTI_SESSION);
  const refused = now(fixture.client().open(UUID, 0, 0, values(0xffff_0001)));

  assert.deepEqual(refused, { result: 0xffff_0001, origin: FROM_TA, session: 0 });
  assert.deepEqual(fixture.app.events, ['create 1', 'open 1', 'destroy 1']);
  assert.equal(fixture.world.sessions, 0);
});

test('a panic tells its code, and only the instance that panicked is dead', () => {
  const fixture = new Fixture(0);
  const client = fixture.client();
  const first = open(client).session;
  const second = open(client).session;

  const outcome = now(client.invoke(first, PROBE.PANIC, values(0xffff_0006)));

  assert.deepEqual(outcome, { result: TARGET_DEAD, origin: FROM_TEE });
  const [cause] = fixture.panics;
  assert.ok(cause instanceof TaPanic);
  assert.equal(cause.code, 0xffff_0006);
  assert.deepEqual(served(client, second), [2, 1]);
  client.close(first);
  assert.ok(!fixture.app.events.includes('close 1'), 'a dead instance is not called');
});

test('a TA that calls itself without end panics; the world has stack left', () => {
  const fixture = new Fixture(ALL);
  const client = fixture.client();

  const outcome = now(client.invoke(open(client).session, PROBE.RECURSE, values()));

  assert.equal(outcome.result, TARGET_DEAD);
  assert.ok(fixture.panics[0] instanceof RangeError);
  assert.deepEqual(served(client, open(client).session), [2, 1]);
});

test('a wait is cancelled when it is not masked (TEE_Wait, §4.10)', async () => {
  const fixture = new Fixture(ALL);
  const client = fixture.client();
  const { session } = open(client);
  const waiting = later(client.invoke(session, PROBE.WAIT_FOR_EVER, values()));

  waiting.cancellation.request();

  assert.deepEqual(await waiting.outcome, { result: CANCEL, origin: FROM_TA });
  assert.deepEqual(served(client, session), [1, 1]);
});

test('a masked wait ends in its own time; the flag shows once it is unmasked', async () => {
  const fixture = new Fixture(ALL);
  const client = fixture.client();
  const operation = values(20);
  const waiting = later(client.invoke(open(client).session, PROBE.WAIT_MASKED, operation));

  waiting.cancellation.request();

  assert.equal((await waiting.outcome).result, SUCCESS);
  assert.deepEqual(read(operation, 1), [0, 1]);
});

test('a cancellation is over with its operation: the next one is not cancelled', async () => {
  const fixture = new Fixture(ALL);
  const client = fixture.client();
  const { session } = open(client);
  const first = later(client.invoke(session, PROBE.WAIT, values(1)));
  await first.outcome;

  first.cancellation.request();
  const second = later(client.invoke(session, PROBE.WAIT, values(1)));

  assert.equal((await second.outcome).result, SUCCESS);
});

test('one instance does one thing at a time, in order, and other TAs go on meanwhile', async () => {
  const fixture = new Fixture(ALL);
  const one = fixture.client();
  const two = fixture.client();
  const [first, second] = [open(one).session, open(two).session];
  const ended: string[] = [];
  const note = (name: string) => () => ended.push(name);

  const waits = later(one.invoke(first, PROBE.WAIT, values(20))).outcome.then(note('wait'));
  const queued = later(two.invoke(second, PROBE.ECHO, values())).outcome.then(note('echo'));
  const opens = later(two.open(UUID, 0, 0, values())).outcome.then(note('open'));

  assert.deepEqual(served(two, open(two, OTHER).session), [1, 1]);
  await Promise.all([waits, queued, opens]);
  assert.deepEqual(ended, ['wait', 'echo', 'open']);
  assert.deepEqual(served(two, second), [1, 3]);
});

test('who is cancelled before the TA was reached is told so by the TEE', async () => {
  const fixture = new Fixture(ALL);
  const client = fixture.client();
  const { session } = open(client);
  const first = later(client.invoke(session, PROBE.WAIT_FOR_EVER, values()));
  const queued = later(client.invoke(session, PROBE.PANIC, values()));

  queued.cancellation.request();

  assert.deepEqual(await queued.outcome, { result: CANCEL, origin: FROM_TEE });
  first.cancellation.request();
  await first.outcome;
  assert.deepEqual([fixture.panics, served(client, session)], [[], [1, 1]]);
});

test('a panic answers whoever waits: the one inside, and those in the queue', async () => {
  const fixture = new Fixture(ALL);
  const client = fixture.client();
  const { session } = open(client);
  const inside = later(client.invoke(session, PROBE.PANIC_LATER, values(7)));
  const queued = later(client.invoke(session, PROBE.ECHO, values()));
  const opening = later(client.open(UUID, 0, 0, values()));

  const dead = { result: TARGET_DEAD, origin: FROM_TEE };
  assert.deepEqual(await Promise.all([inside.outcome, queued.outcome]), [dead, dead]);
  assert.deepEqual(await opening.outcome, { ...dead, session: 0 });
  assert.equal(fixture.panics.length, 1);
  client.close(session);
  assert.deepEqual(served(client, open(client).session), [2, 1]);
});

test('a client that goes while its session is opened leaves none behind', async () => {
  const fixture = new Fixture(SINGLE_INSTANCE);
  const client = fixture.client();
  const opening = later(client.open(UUID, 0, 0, values(SUCCESS, 10)));

  client.disconnect();
  await opening.outcome;

  assert.deepEqual(fixture.app.events, ['create 1', 'open 1', 'close 1', 'destroy 1']);
  assert.equal(fixture.world.sessions, 0);
});

test('a session that is closed while its TA is busy is gone at once, and heard of later', async () => {
  const fixture = new Fixture(SINGLE_INSTANCE | MULTI_SESSION);
  const client = fixture.client();
  const { session } = open(client);
  const waiting = later(client.invoke(session, PROBE.WAIT, values(10)));

  assert.equal(client.close(session), SUCCESS);

  assert.equal(now(client.invoke(session, PROBE.ECHO, values())).result, 0xffff_0006);
  assert.ok(!fixture.app.events.includes('close 1'));
  await waiting.outcome;
  await new Promise(setImmediate);
  assert.deepEqual(fixture.app.events.slice(-2), ['close 1', 'destroy 1']);
});

test('one client has 64 requests under way, and is told that this is enough', async () => {
  const fixture = new Fixture(ALL);
  const client = fixture.client();
  const { session } = open(client);
  const pending = Array.from({ length: 64 }, () =>
    later(client.invoke(session, PROBE.WAIT_FOR_EVER, values())),
  );

  assert.deepEqual(now(client.invoke(session, PROBE.ECHO, values())), {
    result: BUSY,
    origin: FROM_TEE,
  });
  assert.equal(now(client.open(UUID, 0, 0, values())).result, BUSY);
  for (const { cancellation } of pending.reverse()) cancellation.request();
  await Promise.all(pending.map(({ outcome }) => outcome));
  assert.deepEqual(served(client, session), [1, 1]);
});

test('all clients together have 4096 sessions; a closed one makes room', () => {
  const fixture = new Fixture(ALL);
  const clients = Array.from({ length: 16 }, () => fixture.client());
  for (const client of clients) {
    for (let count = 0; count < 256; count += 1) assert.equal(open(client).result, SUCCESS);
  }
  const late = fixture.client();

  assert.equal(open(late).result, OUT_OF_MEMORY);
  clients[0]?.disconnect();
  assert.equal(open(late).result, SUCCESS);
});

test('two TAs with one UUID are a mistake of who starts the world', () => {
  assert.throws(
    () => new World([probeApp(UUID, 0), probeApp(UUID, 0)], () => undefined),
    RangeError,
  );
});
