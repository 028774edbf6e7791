import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TA_FLAG, type TaInstance, type TrustedApp } from '../../tee/secure-world/ta.ts';
import {
  Memory,
  PARAM,
  packTypes,
  type Operation,
} from '../../tee/secure-world/world/operation.ts';
import { Connection } from '../../tee/secure-world/world/server.ts';
import { FrameSplitter } from '../../tee/secure-world/world/wire.ts';
import { World } from '../../tee/secure-world/world/world.ts';
import { PromptClient } from './prompt-client.ts';
import * as wire from './wire-client.ts';

const UUID = '11111111-2222-3333-4444-555555555555';
const SUCCESS = 0;
const ITEM_NOT_FOUND = 0xffff_0008;
const BAD_PARAMETERS = 0xffff_0006;
const OUT_OF_MEMORY = 0xffff_000c;
const TARGET_DEAD = 0xffff_3024;
const FROM_TEE = 3;
const FROM_TA = 4;
const SAY_INSTANCE = 1;
const PANIC = 2;
const REFUSE = 3;
const NOBODY = { pid: 1, uid: 0, gid: 0, groups: [] };

/** A TA that says which of its instances answers, refuses, or falls over. */
class Probe implements TrustedApp {
  readonly uuid = UUID;
  readonly flags = TA_FLAG.SINGLE_INSTANCE | TA_FLAG.MULTI_SESSION | TA_FLAG.INSTANCE_KEEP_ALIVE;
  readonly events: string[] = [];
  instances = 0;
  startsBroken = false;

  create(): TaInstance {
    if (this.startsBroken) throw new Error('cannot start');
    this.instances += 1;
    const instance = this.instances;
    return {
      open: (_session, client) => {
        this.events.push(`open ${String(instance)} ${client.uuid.slice(0, 8)}`);
        return client.login === 2 ? REFUSED : SUCCESS;
      },
      invoke: (_session, command, { parameters: [out] }) => {
        if (command === PANIC) throw new TypeError('a bug');
        if (command === REFUSE) return REFUSED;
        if (out.kind === 'value') out.a = instance;
        return SUCCESS;
      },
      close: () => {
        this.events.push(`close ${String(instance)}`);
      },
      destroy: () => {
        this.events.push(`destroy ${String(instance)}`);
      },
    };
  }
}

const REFUSED = 0xffff_0001;

function operation(...[first]: readonly [Operation['parameters'][0]?]): Operation {
  const none = { kind: 'none' } as const;
  const type = first?.kind === 'value' ? PARAM.VALUE_OUTPUT : first ? PARAM.MEMREF_OUTPUT : 0;
  return { types: packTypes(type, 0, 0, 0), parameters: [first ?? none, none, none, none] };
}

function worldOf(probe: Probe): { readonly world: World; readonly panics: unknown[] } {
  const panics: unknown[] = [];
  return { world: new World([probe], (_uuid, cause) => panics.push(cause)), panics };
}

function instanceSeenBy(client: PromptClient, session: number): number {
  const value = { kind: 'value', a: 0, b: 0 } as const satisfies object;
  const asked = operation({ ...value });
  assert.equal(client.invoke(session, SAY_INSTANCE, asked).result, SUCCESS);
  const [first] = asked.parameters;
  return first.kind === 'value' ? first.a : -1;
}

test('every session shares one instance, and the result says that it comes from the TA', () => {
  const probe = new Probe();
  const { world } = worldOf(probe);
  const one = new PromptClient(world, NOBODY);
  const two = new PromptClient(world, NOBODY);

  const first = one.open(UUID, 0, 0, operation());
  const second = two.open(UUID, 0, 0, operation());

  assert.deepEqual([first.result, first.origin], [SUCCESS, FROM_TA]);
  assert.notEqual(first.session, second.session);
  assert.deepEqual(
    [instanceSeenBy(one, first.session), instanceSeenBy(two, second.session)],
    [1, 1],
  );
  assert.deepEqual(one.invoke(first.session, REFUSE, operation()), {
    result: REFUSED,
    origin: FROM_TA,
  });
});

test('a TA that nobody wrote is not found, and the TEE says so', () => {
  const { world } = worldOf(new Probe());
  const client = new PromptClient(world, NOBODY);

  assert.deepEqual(client.open('99999999-2222-3333-4444-555555555555', 0, 0, operation()), {
    result: ITEM_NOT_FOUND,
    origin: FROM_TEE,
    session: 0,
  });
});

test('a session that the TA refuses does not exist', () => {
  const { world } = worldOf(new Probe());
  const client = new PromptClient(world, NOBODY);

  const refused = client.open(UUID, 2, 0, operation());

  assert.deepEqual(refused, { result: REFUSED, origin: FROM_TA, session: 0 });
  assert.equal(client.close(refused.session), BAD_PARAMETERS);
});

test('a session belongs to its connection: another cannot use or close it', () => {
  const probe = new Probe();
  const { world } = worldOf(probe);
  const owner = new PromptClient(world, NOBODY);
  const thief = new PromptClient(world, NOBODY);
  const { session } = owner.open(UUID, 0, 0, operation());

  const stolen = thief.invoke(session, SAY_INSTANCE, operation());

  assert.deepEqual(stolen, { result: BAD_PARAMETERS, origin: FROM_TEE });
  assert.equal(thief.close(session), BAD_PARAMETERS);
  assert.equal(instanceSeenBy(owner, session), 1);
});

test('a panic kills the instance and all its sessions, and the next session gets a new one', () => {
  const probe = new Probe();
  const { world, panics } = worldOf(probe);
  const one = new PromptClient(world, NOBODY);
  const two = new PromptClient(world, NOBODY);
  const first = one.open(UUID, 0, 0, operation());
  const bystander = two.open(UUID, 0, 0, operation());

  const panicked = one.invoke(first.session, PANIC, operation());

  const dead = { result: TARGET_DEAD, origin: FROM_TEE };
  assert.deepEqual(panicked, dead);
  assert.equal(panics.length, 1);
  assert.deepEqual(one.invoke(first.session, SAY_INSTANCE, operation()), dead);
  assert.deepEqual(two.invoke(bystander.session, SAY_INSTANCE, operation()), dead);
  const fresh = two.open(UUID, 0, 0, operation());
  assert.equal(instanceSeenBy(two, fresh.session), 2);
  assert.deepEqual(one.invoke(first.session, SAY_INSTANCE, operation()), dead);
  assert.equal(one.close(first.session), SUCCESS);
  assert.deepEqual(
    probe.events.filter((event) => event.startsWith('close')),
    [],
    'a dead instance is not called again',
  );
});

test('a TA that fails to start is dead on arrival, and is started again for the next session', () => {
  const probe = new Probe();
  const { world, panics } = worldOf(probe);
  const client = new PromptClient(world, NOBODY);
  probe.startsBroken = true;

  const failed = client.open(UUID, 0, 0, operation());

  assert.deepEqual(failed, { result: TARGET_DEAD, origin: FROM_TEE, session: 0 });
  assert.equal(panics.length, 1);
  probe.startsBroken = false;
  assert.equal(client.open(UUID, 0, 0, operation()).result, SUCCESS);
});

test('sessions that are open when their connection ends are closed; the instance stays', () => {
  const probe = new Probe();
  const { world } = worldOf(probe);
  const client = new PromptClient(world, NOBODY);
  client.open(UUID, 0, 0, operation());
  client.open(UUID, 0, 0, operation());

  client.disconnect();

  assert.deepEqual(probe.events.slice(-2), ['close 1', 'close 1']);
  world.close();
  assert.equal(probe.events.at(-1), 'destroy 1');
});

test('one connection cannot open sessions without end', () => {
  const { world } = worldOf(new Probe());
  const client = new PromptClient(world, NOBODY);
  const results = Array.from({ length: 257 }, () => client.open(UUID, 0, 0, operation()).result);

  assert.deepEqual(results.slice(0, 256), Array<number>(256).fill(SUCCESS));
  assert.equal(results[256], OUT_OF_MEMORY);
});

test('a client that asks for more output than an answer can carry gets none', () => {
  const { world } = worldOf(new Probe());
  const client = new PromptClient(world, NOBODY);
  const { session } = client.open(UUID, 0, 0, operation());
  const huge = new Memory(Buffer.alloc(0), 0xffff_ffff, false);

  const answer = client.invoke(session, SAY_INSTANCE, operation(huge));

  assert.deepEqual(answer, { result: OUT_OF_MEMORY, origin: FROM_TEE });
  assert.equal(huge.size, 0);
});

function connectionOf(probe: Probe): (bytes: Buffer) => Buffer | undefined {
  const { world } = worldOf(probe);
  const connection = new Connection(world);
  return (bytes) => {
    const [frame] = new FrameSplitter().push(bytes) ?? [];
    assert.ok(frame);
    const answer = connection.answer(frame);
    assert.ok(!(answer instanceof Promise));
    return answer && Buffer.from(answer);
  };
}

test('a refusal does not carry more memory than an answer can: no session, no such login', () => {
  const { world } = worldOf(new Probe());
  const client = new PromptClient(world, NOBODY);
  const NO_LOGIN = 99;
  const refusals = [
    (asked: Operation) => client.invoke(12345, SAY_INSTANCE, asked),
    (asked: Operation) => client.open(UUID, NO_LOGIN, 0, asked),
  ];
  for (const refusal of refusals) {
    const huge = new Memory(new Uint8Array(), 0xffff_ffff, false);

    const { result, origin } = refusal(operation(huge));

    assert.deepEqual({ result, origin }, { result: OUT_OF_MEMORY, origin: FROM_TEE });
    assert.equal(huge.size, 0);
  }
});

test('HELLO comes first and once, in the version that both sides speak', () => {
  assert.equal(connectionOf(new Probe())(wire.closeSession(1, 1)), undefined);
  assert.equal(connectionOf(new Probe())(wire.hello(1, { version: 2 })), undefined);
  const send = connectionOf(new Probe());

  assert.deepEqual(send(wire.hello(7)), Buffer.from('04000000070000000180000001000000', 'hex'));
  assert.equal(send(wire.hello(8)), undefined);
});

test('a whole conversation: open, invoke, cancel, close (WIRE.md)', () => {
  const probe = new Probe();
  const send = connectionOf(probe);
  send(wire.hello(1, { uid: 1000 }));

  const opened = wire.readAnswer(
    send(wire.openSession(2, { uuid: UUID, login: 1 })) ?? Buffer.alloc(0),
  );
  const session = opened.body.readUInt32LE(8);
  const asked = send(
    wire.invoke(3, session, SAY_INSTANCE, [{ type: 2 }, { type: 0 }, { type: 0 }, { type: 0 }]),
  );
  const invoked = wire.readAnswer(asked ?? Buffer.alloc(0));

  assert.deepEqual(
    [opened.request, opened.opcode, opened.body.readUInt32LE(4)],
    [2, 0x8002, FROM_TA],
  );
  assert.deepEqual([invoked.request, invoked.opcode], [3, 0x8004]);
  assert.deepEqual(wire.readOutputs(invoked.body.subarray(8)), [{ a: 1, b: 0 }]);
  assert.deepEqual(send(wire.cancel(4, 3)), Buffer.alloc(0), 'CANCEL has no answer');
  const closed = wire.readAnswer(send(wire.closeSession(5, session)) ?? Buffer.alloc(0));
  assert.equal(closed.body.readUInt32LE(), SUCCESS);
  assert.match(probe.events[0] ?? '', /^open 1 (?!00000000)/);
});
