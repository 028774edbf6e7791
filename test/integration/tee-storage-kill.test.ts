/**
 * kill -9 at random instants, of a secure world that serves a token and of a process that works on
 * its storage: what was acknowledged is there afterwards, and storage opens.
 *
 * `OTA_TEE_KILLS` says how often, for each backend and kind of process.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startTee, type Tee } from '../support/tee.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { closeBackends, privateStorage } from '../tee/secure-world/storage/backends.ts';
import { contentsOf } from '../unit/tee/storage/fixture.ts';
import { buildDrivers } from './support-tee-drivers.ts';
import { openBackend, type Backend } from './tee-storage-backend.ts';
import {
  CKA,
  firstSlot,
  loadToken,
  openUserSession,
  prepareToken,
  READ_WRITE,
  USER,
  USER_PIN,
  type Handle,
  type Token,
} from './tee-secure-world-token.ts';

const KILLS = Number(process.env['OTA_TEE_KILLS'] ?? 20);
const WRITER = fileURLToPath(new URL('./tee-storage-writer.ts', import.meta.url));
const CKF_USER_PIN_COUNT_LOW = 0x0001_0000;
const CKA_CLASS = 0;
/** An object's name here; its label is what changes. */
const CKA_APPLICATION = 0x10;
const CKO_DATA = 0;
/** Of objects a writer writes: one block and several, in an RPMB one write and several. */
const SIZES = [0, 10, 300, 9000, 20_000];
const ACTS = 1000;
/** How many acts are let through, and how long it is until the kill then. */
const MAX_ACTS = 12;
const MAX_DELAY_MS = 60;
const ARGUMENTS: Readonly<Record<Backend, readonly string[]>> = {
  ree: [],
  anchored: ['--rpmb'],
  rpmb: ['--rpmb', '--private', 'rpmb'],
};

for (const backend of ['ree', 'anchored', 'rpmb'] as const) {
  describe(`a secure world on ${backend}, killed ${String(KILLS)} times`, () => {
    const directory = temporaryDirectory('kill');
    let tee: Tee;

    before(async () => {
      buildDrivers('plain');
      tee = await startTee(directory.path, ...ARGUMENTS[backend]);
      process.env['OTA_TEE_SOCKET'] = tee.socket;
    });
    after(async () => {
      await tee.stop();
      directory.remove();
    });

    test('loses no object and no failed login that it acknowledged', async () => {
      withToken((token, slot) => {
        prepareToken(token, slot);
      });
      const model = new TokenModel();
      for (let kill = 0; kill < KILLS; kill += 1) {
        const killed = withToken((token, slot) => {
          for (let act = randomInt(MAX_ACTS); act > 0; act -= 1) model.act(token, slot);
          const killer = killLater(tee.pid);
          assert.throws(() => {
            for (;;) model.act(token, slot);
          }, /CKR_GENERAL_ERROR|CKR_DEVICE/u);
          return killer;
        });
        await killed;
        await tee.stop();
        tee = await startTee(directory.path, ...ARGUMENTS[backend]);
        withToken((token, slot) => {
          model.check(token, slot, `kill ${String(kill)}`);
        });
      }
      assert.ok(model.acknowledged > KILLS, `${String(model.acknowledged)} acts were done`);
    });
  });

  describe(`a writer on ${backend}, killed ${String(KILLS)} times`, () => {
    const directory = temporaryDirectory('kill');
    after(() => {
      directory.remove();
    });

    test('leaves what was acknowledged, and of the last act the old or the new', async () => {
      const storage = join(directory.path, 'tee');
      closeBackends(openBackend(backend, storage));
      let contents: ReadonlyMap<string, string> = new Map();
      let acts = 0;
      for (let kill = 0; kill < KILLS; kill += 1) {
        const { operations, states } = plan(contents, kill);
        const done = await runAndKill(storage, backend, operations);
        const reopened = openBackend(backend, storage);
        contents = contentsOf(privateStorage(reopened));
        closeBackends(reopened);
        const isKnown = states.slice(done, done + 2).some((state) => isSame(state, contents));
        assert.ok(isKnown, `kill ${String(kill)} after ${String(done)} acts`);
        acts += done;
      }
      assert.ok(acts > KILLS, `${String(acts)} acts were done`);
    });
  });
}

type Values = Map<string, string>;

/** What the token must hold: what was acknowledged, and what the last act may have done besides. */
class TokenModel {
  acknowledged = 0;
  readonly #values: Values = new Map();
  /** Whether a failed login must be counted; `undefined` when an act on it was not answered. */
  #isCountLow: boolean | undefined = false;
  #pending: { readonly name: string; readonly value: string | undefined } | undefined;
  #turn = 0;

  /** Creates, changes and removes objects, guesses a PIN and enters the right one, in turn. */
  act(token: Token, slot: Handle): void {
    const session = token.C_OpenSession(slot, READ_WRITE);
    this.#turn += 1;
    if (this.#turn % 8 === 3) {
      this.#login(token, session, 'wrong');
    } else if (this.#turn % 8 === 7) {
      this.#login(token, session, USER_PIN);
    } else {
      const name = `object ${String(this.#turn % 5)}`;
      this.#actOnObject(token, session, name);
    }
    token.C_CloseSession(session);
    this.acknowledged += 1;
  }

  /** Asserts that nothing is lost, and takes what is found for what must be there from now on. */
  check(token: Token, slot: Handle, when: string): void {
    if (this.#isCountLow !== undefined) {
      const { flags } = token.C_GetTokenInfo(slot);
      assert.equal((flags & CKF_USER_PIN_COUNT_LOW) !== 0, this.#isCountLow, when);
    }
    const session = openUserSession(token, slot);
    this.#isCountLow = false;
    const found = valuesOf(token, session);
    if (this.#pending !== undefined) {
      const { name, value } = this.#pending;
      const [old, now] = [this.#values.get(name), found.get(name)];
      assert.ok(now === old || now === value, `${when}: ${name} is neither the old nor the new`);
      keep(this.#values, name, now);
      this.#pending = undefined;
    }
    assert.deepEqual([...found].toSorted(), [...this.#values].toSorted(), when);
    token.C_CloseSession(session);
  }

  #actOnObject(token: Token, session: Handle, name: string): void {
    const known = find(token, session, name)[0];
    const isRemoval = known !== undefined && this.#turn % 3 === 0;
    const value = isRemoval ? undefined : `${String(this.#turn)} `.repeat(1 + (this.#turn % 300));
    this.#pending = { name, value };
    const template = [{ type: CKA.LABEL, value: Buffer.from(value ?? '') }];
    if (known === undefined) {
      token.C_CreateObject(session, [
        { type: CKA_CLASS, value: CKO_DATA },
        { type: CKA.TOKEN, value: true },
        { type: CKA_APPLICATION, value: name },
        ...template,
      ]);
    } else if (isRemoval) {
      token.C_DestroyObject(session, known);
    } else {
      token.C_SetAttributeValue(session, known, template);
    }
    this.#pending = undefined;
    keep(this.#values, name, value);
  }

  /** A wrong PIN is counted before it is answered; the right one forgets it. */
  #login(token: Token, session: Handle, pin: string): void {
    this.#isCountLow = undefined;
    try {
      token.C_Login(session, USER, pin);
      this.#isCountLow = false;
    } catch (error) {
      if (!String(error).includes('CKR_PIN_INCORRECT')) throw error;
      this.#isCountLow = true;
    }
  }
}

function keep(values: Values, name: string, value: string | undefined): void {
  if (value === undefined) values.delete(name);
  else values.set(name, value);
}

function find(token: Token, session: Handle, name?: string): readonly Handle[] {
  const named = name === undefined ? [] : [{ type: CKA_APPLICATION, value: name }];
  token.C_FindObjectsInit(session, [{ type: CKA_CLASS, value: CKO_DATA }, ...named]);
  const found = token.C_FindObjects(session, 100);
  token.C_FindObjectsFinal(session);
  return found;
}

function valuesOf(token: Token, session: Handle): Values {
  return new Map(
    find(token, session).map((object) => {
      const attributes = [{ type: CKA_APPLICATION }, { type: CKA.LABEL }];
      const [name, value] = token.C_GetAttributeValue(session, object, attributes);
      return [textOf(name?.value), textOf(value?.value)];
    }),
  );
}

function textOf(value: unknown): string {
  assert.ok(Buffer.isBuffer(value));
  return value.toString();
}

function withToken<T>(use: (token: Token, slot: Handle) => T): T {
  const token = loadToken();
  try {
    return use(token, firstSlot(token));
  } finally {
    token.C_Finalize();
  }
}

/** Another process kills, at some instant from now on: ours waits for the token meanwhile. */
async function killLater(pid: number): Promise<void> {
  const seconds = (randomInt(MAX_DELAY_MS * 10) / 10_000).toFixed(4);
  await once(spawn('sh', ['-c', `sleep ${seconds}; kill -9 ${String(pid)}`]), 'exit');
}

type Contents = ReadonlyMap<string, string>;
interface Plan {
  readonly operations: readonly unknown[];
  /** Before the first act, then after each. */
  readonly states: readonly Contents[];
}

/** More acts of every kind than there is time for, from what there is. */
function plan(start: Contents, seed: number): Plan {
  const contents = new Map(start);
  const operations: unknown[] = [];
  const states: Contents[] = [new Map(contents)];
  for (let turn = 0; turn < ACTS; turn += 1) {
    const name = `object ${String((turn + seed) % 5)}`;
    const known = contents.get(name);
    if (known !== undefined && turn % 4 === 1) {
      operations.push(['remove', name]);
      contents.delete(name);
    } else if (known !== undefined && turn % 4 === 2 && !contents.has(`${name}'`)) {
      operations.push(['rename', name, `${name}'`]);
      contents.delete(name);
      contents.set(`${name}'`, known);
    } else {
      const [size, fill] = [SIZES[(turn + seed) % SIZES.length] ?? 0, turn % 256];
      operations.push(['write', name, size, fill]);
      contents.set(name, Buffer.alloc(size, fill).toString('hex'));
    }
    states.push(new Map(contents));
  }
  return { operations, states };
}

/** @returns how many acts it acknowledged */
async function runAndKill(
  directory: string,
  backend: Backend,
  operations: readonly unknown[],
): Promise<number> {
  const args = [WRITER, directory, JSON.stringify(operations), backend];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'close');
  const wanted = randomInt(MAX_ACTS);
  let output = '';
  let isDoomed = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (isDoomed || output.split('\n').length <= 1 + wanted) return;
    isDoomed = true;
    setTimeout(() => child.kill('SIGKILL'), randomInt(MAX_DELAY_MS));
  });
  await exited;
  const lines = output.split('\n').slice(0, -1);
  assert.ok(
    lines.every((line) => line.endsWith(' ok')),
    lines.at(-1),
  );
  return lines.length - 1;
}

function isSame(a: Contents, b: Contents): boolean {
  return a.size === b.size && [...a].every(([name, data]) => b.get(name) === data);
}
