/** Faults that a test injects, seen through the Cryptoki library: test/tee/CONTROL.md. */
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { afterEach, before, beforeEach, test } from 'node:test';

import type { TeeControl } from '../support/tee-control.ts';
import { ControlledTee, findByLabel, makePair } from './tee-control-fixture.ts';
import { buildDrivers, startDriver } from './support-tee-drivers.ts';
import { runToEnd, SecureWorld } from './tee-secure-world-process.ts';
import { firstSlot, openUserSession } from './tee-secure-world-token.ts';

const PKCS11_TA = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';
const SESSION_INFO = 9;
/** More than making a pair takes, and a bound for the test that kills at each of them. */
const MAX_STEPS = 100;

let tee: ControlledTee;

before(() => {
  buildDrivers('plain');
});

beforeEach(() => {
  tee = new ControlledTee();
});

afterEach(async () => {
  await tee.close();
});

test('whichever step of storage the power stops while a pair is made, what was reported is there', async () => {
  let control = await tee.startPrepared();
  tee.withUser((token, session) => {
    makePair(token, session, 'reported');
  });
  let kills = 0;
  while (!(await isMadeDespite(control, `pair-${String(kills + 1)}`, kills + 1))) {
    kills += 1;
    assert.ok(kills < MAX_STEPS);
    assert.equal((await tee.ended())?.signal, 'SIGKILL');
    control = await tee.start();
    tee.withUser((token, session) => {
      const label = `pair-${String(kills)}`;
      assert.equal(findByLabel(token, session, 'reported').length, 2, label);
      assert.ok(findByLabel(token, session, label).length <= 2, 'it may be there, once');
    });
  }

  // Two objects and the record that claims them: files, data, syncs, names, and dirf.db.
  assert.ok(kills >= 12, `${String(kills)} steps`);
  await control.ask({ do: 'clear' });
  tee.withUser((token, session) => {
    assert.equal(findByLabel(token, session, `pair-${String(kills + 1)}`).length, 2);
  });
});

/** The user is logged in before the power is about to go: that is a step of storage, too. */
async function isMadeDespite(control: TeeControl, label: string, step: number): Promise<boolean> {
  let isMade = false;
  await tee.withTokenAnd(async (token) => {
    const session = openUserSession(token, firstSlot(token));
    await control.ask({ do: 'kill', step, when: step % 3 === 0 ? 'half-way' : 'before' });
    try {
      makePair(token, session, label);
      isMade = true;
    } catch (error) {
      assert.match(String(error), /CKR_GENERAL_ERROR/u);
    }
  });
  return isMade;
}

test('a kill after the last step comes too late to undo anything', async () => {
  const control = await tee.startPrepared();
  const before = Number((await control.ask({ do: 'status' }))['steps']);
  tee.withUser((token, session) => {
    makePair(token, session, 'first');
  });
  const steps = Number((await control.ask({ do: 'status' }))['steps']) - before;

  // Logging in writes too, as often each time.
  await control.ask({ do: 'kill', step: steps, when: 'after' });
  assert.throws(() => {
    tee.withUser((token, session) => {
      makePair(token, session, 'second');
    });
  }, /CKR_/u);

  assert.equal((await tee.ended())?.signal, 'SIGKILL');
  await tee.start();
  tee.withUser((token, session) => {
    assert.equal(findByLabel(token, session, 'second').length, 2);
  });
});

test('a TA panics when it is told to, says with which code, and a new one serves', async () => {
  const control = await tee.startPrepared();
  await tee.withTokenAnd(async (token) => {
    const session = token.C_OpenSession(firstSlot(token), 0x6);
    assert.deepEqual(await control.ask({ do: 'panic', ta: PKCS11_TA, code: 0xdead }), {
      instances: 1,
    });
    assert.throws(() => token.C_GetSessionInfo(session), /CKR_GENERAL_ERROR/u);
  });

  assert.deepEqual((await control.ask({ do: 'status' }))['instances'], []);
  tee.withUser((token, session) => {
    assert.equal(token.C_GetSessionInfo(session).state, 3);
  });
});

test('a TA panics at the command that is named by its number', async () => {
  const control = await tee.startPrepared();
  await control.ask({ do: 'panic', ta: PKCS11_TA, command: 5 });

  // PING, the slots counted and listed, and the session are four.
  tee.withToken((token) => {
    const session = token.C_OpenSession(firstSlot(token), 0x6);
    assert.throws(() => token.C_GetSessionInfo(session), /CKR_GENERAL_ERROR/u);
  });

  tee.withUser((token, session) => {
    assert.equal(token.C_GetSessionInfo(session).state, 3);
  });
});

test('an older storage comes back with the TAs started anew: REE-FS alone does not notice', async () => {
  const control = await tee.startPrepared();
  const make = (label: string) => {
    tee.withUser((token, session) => {
      makePair(token, session, label);
    });
  };
  make('old');
  await control.ask({ do: 'snapshot', name: 'one' });
  make('new');

  tee.withToken((token) => token.C_GetSlotList(true));
  await control.ask({ do: 'restore', name: 'one' });

  tee.withUser((token, session) => {
    const counts = ['old', 'new'].map((label) => findByLabel(token, session, label).length);
    assert.deepEqual(counts, [2, 0]);
  });
  make('newer');
  await assert.rejects(control.ask({ do: 'restore', name: 'two' }), /no snapshot "two".*: one/u);
});

test('an older REE-FS beside the RPMB of today is noticed, and the world says so and ends', async () => {
  const control = await tee.startPrepared('--rpmb');
  await control.ask({ do: 'snapshot', name: 'one' });
  tee.withUser((token, session) => {
    makePair(token, session, 'new');
  });

  const restored = control.ask({ do: 'restore', name: 'one', disk: 'ree' });

  await assert.rejects(restored, /the RPMB in .* remembers, so one of the two was put back/u);
  const ended = await tee.ended();
  assert.equal(ended?.code, 1);
  assert.match(ended.stderr, /put back the newest of both/u);
});

test('who is connected while the storage is exchanged sees the TEE go', async () => {
  const control = await tee.startPrepared();
  await control.ask({ do: 'snapshot', name: 'one' });
  await tee.withTokenAnd(async (token) => {
    const session = token.C_OpenSession(firstSlot(token), 0x6);
    await control.ask({ do: 'restore', name: 'one' });

    assert.throws(() => token.C_GetSessionInfo(session), /CKR_GENERAL_ERROR/u);
  });
});

for (const limit of [{ write: 1 }, { write: 3 }, { bytes: 0 }, { bytes: 5000 }] as const) {
  test(`a full disk refuses a pair and loses nothing: ${JSON.stringify(limit)}`, async () => {
    const control = await tee.startPrepared();
    await tee.withTokenAnd(async (token) => {
      const session = token.C_OpenSession(firstSlot(token), 0x6);
      token.C_Login(session, 1, '1234');
      makePair(token, session, 'before');
      await control.ask({ do: 'no-space', ...limit });

      assert.throws(() => {
        makePair(token, session, 'refused');
      }, /CKR_DEVICE_MEMORY|CKR_GENERAL_ERROR|CKR_DEVICE_ERROR/u);

      await control.ask({ do: 'clear' });
    });
    tee.withUser((token, session) => {
      makePair(token, session, 'after');
      const counts = ['before', 'after'].map((label) => findByLabel(token, session, label).length);
      assert.deepEqual(counts, [2, 2]);
    });
  });
}

test('an answer is delayed as often as asked, of one command or of all', async () => {
  const control = await tee.startPrepared();
  await tee.withTokenAnd(async (token) => {
    const session = token.C_OpenSession(firstSlot(token), 0x6);
    const info = () => elapsedMs(() => token.C_GetSessionInfo(session));
    await control.ask({ do: 'delay', ms: 300, times: 1, command: SESSION_INFO });

    assert.ok(elapsedMs(() => token.C_GetSlotList(true)) < 300);
    assert.ok(info() >= 295);
    assert.ok(info() < 300);
    await control.ask({ do: 'delay', ms: 150 });
    assert.ok(elapsedMs(() => token.C_GetSlotList(true)) >= 145);
    await control.ask({ do: 'clear' });
    assert.ok(info() < 150);
  });
});

test('an answer that is dropped ends the connection; what was asked is done', async () => {
  const control = await tee.startPrepared();
  await control.ask({ do: 'drop', request: 2, command: 50 });
  tee.withUser((token, session) => {
    makePair(token, session, 'answered');
    assert.throws(() => {
      makePair(token, session, 'dropped');
    }, /CKR_GENERAL_ERROR/u);
  });

  tee.withUser((token, session) => {
    const counts = ['answered', 'dropped'].map((l) => findByLabel(token, session, l).length);
    assert.deepEqual(counts, [2, 2]);
  });
});

test('an answer that is swallowed keeps its client waiting, and nobody else, until cleared', async () => {
  const control = await tee.startPrepared();
  buildDrivers('sanitized');
  const driver = startDriver('cryptoki-driver', { OTA_TEE_SOCKET: tee.at('socket') });
  await driver.call('initialize');
  await control.ask({ do: 'swallow', command: 6 });
  const waiting = driver.call('open_session 0 6');
  while ((await control.ask({ do: 'status' }))['swallowed'] !== 1) await Promise.resolve();

  tee.withToken((token) => {
    assert.equal(token.C_GetSlotList(true).length, 3);
  });
  await control.ask({ do: 'clear' });

  assert.equal(await waiting, '0x0 handle=1');
  await driver.end();
});

test('two worlds share nothing: what happens to one does not happen to the other', async () => {
  const other = new ControlledTee();
  try {
    const control = await tee.startPrepared();
    const second = await other.startPrepared();
    await control.ask({ do: 'kill', step: 1 });
    other.withUser((token, session) => {
      makePair(token, session, 'other');
    });
    assert.throws(() => {
      tee.withUser((token, session) => {
        makePair(token, session, 'mine');
      });
    }, /CKR_/u);
    assert.equal((await second.ask({ do: 'status' }))['sessions'], 0);
  } finally {
    await other.close();
  }
});

test('a line that is no command is refused with what would be one, and the next is served', async () => {
  await tee.start();
  const socket = connect(tee.at('control'));
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const refusals: readonly (readonly [string, RegExp])[] = [
    ['hello', /not JSON/u],
    ['[]', /not an object/u],
    ['{}', /"do" is undefined/u],
    ['{"do":"explode"}', /no command "explode"; there are panic, kill/u],
    ['{"do":"kill"}', /"step" is undefined; give a number from 1/u],
    ['{"do":"kill","step":0}', /"step" is 0/u],
    ['{"do":"kill","step":1,"when":"never"}', /"when" is "never"; give before, half-way, after/u],
    ['{"do":"panic","ta":"x"}', /"ta" is "x"; give a UUID/u],
    ['{"do":"no-space","write":1,"bytes":1}', /give one of them/u],
    ['{"do":"delay"}', /"ms" is undefined/u],
    ['{"do":"status","more":1}', /no field "more"; leave it out/u],
  ];
  for (const [line, says] of refusals) {
    socket.write(`${line}\n`);
    const { value } = await lines.next();
    const { ok, error } = JSON.parse(String(value)) as { ok: boolean; error: string };
    assert.equal(ok, false, line);
    assert.match(error, says);
  }
  socket.write('{"do":"status"}\n');
  assert.match(String((await lines.next()).value), /^\{"ok":true,"pid":\d+/u);
  socket.destroy();
  assert.equal((statSync(tee.at('control')).mode & 0o777).toString(8), '600');
});

test('there is no control socket unless one is asked for, and it needs a path of its own', async () => {
  const paths = ['--storage', tee.at('s'), '--socket', tee.at('socket')];
  const world = await SecureWorld.start(...paths);
  assert.equal(existsSync(tee.at('control')), false);
  await world.end();

  for (const path of ['', tee.at('socket')]) {
    const { code, stderr } = await runToEnd(...paths, '--control', path);
    assert.equal(code, 2);
    assert.match(stderr, /the control socket needs a path of its own/u);
  }
});

function elapsedMs(run: () => unknown): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}
