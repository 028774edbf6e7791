/**
 * The commands of the PKCS#11 TA, as two clients send them: whatever is asked, the TA lives, tells
 * nothing that is not the asker's, and what fails leaves everything as it was.
 */
import { CKM } from '../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKA } from '../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKR, CMD } from '../tee/secure-world/pkcs11/abi.ts';
import { StorageFailure } from '../tee/secure-world/storage/trusted-storage.ts';
import { Memory } from '../tee/secure-world/world/operation.ts';
import { TEE } from '../tee/secure-world/world/results.ts';
import { hex, u32, type Reply, type TaClient } from '../unit/tee/pkcs11/ta-client.ts';
import type { ForkedStorage, Snapshot } from './forked-storage.ts';
import { holds } from './invariant.ts';
import { PRIVATE_MARK, READ_WRITE, SECRET, SESSION_MARK, startClients } from './ta-fixture.ts';
import { mutateProgram } from './ta-mutate.ts';
import {
  decodeProgram,
  encodeProgram,
  operationOf,
  type Program,
  type Step,
} from './ta-program.ts';
import { seedPrograms } from './ta-seeds.ts';
import type { FuzzTarget } from './target.ts';

const KNOWN_RVS: ReadonlySet<number> = new Set(Object.values(CKR));
const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(CMD).map(([name, id]) => [id, name]),
);
/** Commands after whose failure nothing may have changed. */
const ALL_OR_NOTHING: ReadonlySet<number> = new Set([
  CMD.CREATE_OBJECT,
  CMD.DESTROY_OBJECT,
  CMD.COPY_OBJECT,
  CMD.SET_ATTRIBUTE_VALUE,
  CMD.GENERATE_KEY,
  CMD.GENERATE_KEY_PAIR,
  CMD.DERIVE_KEY,
  CMD.UNWRAP_KEY,
]);
/** Handles that are looked at to see whether there is an object. */
const PROBED_HANDLES = 20;

const seen = new Map<number, { succeeded: boolean; failed: boolean }>();

export const taCommands: FuzzTarget = {
  name: 'ta-commands',
  seeds: function* () {
    for (const program of seedPrograms()) yield encodeProgram(program);
  },
  run: (input) => new Run(decodeProgram(input)).run(),
  mutate: mutateProgram,
  unreached: () =>
    [...NAMES].flatMap(([id, name]) => {
      const reached = seen.get(id);
      return [
        ...(reached?.succeeded === true ? [] : [`${name} with success`]),
        ...(reached?.failed === true ? [] : [`${name} with failure`]),
      ];
    }),
};

class Run {
  readonly #program: Program;
  readonly #labels = new Set<string>();
  readonly #storage: ForkedStorage;
  readonly #clients: readonly [TaClient, TaClient];
  readonly #tee;
  readonly #lastOutputs: [Uint8Array, Uint8Array] = [new Uint8Array(), new Uint8Array()];
  /** Clients that may see what is private. */
  readonly #mayBeUser = [true, false];
  #rsaPairs = 0;

  constructor(program: Program) {
    this.#program = program;
    const { tee, storage, clients } = startClients(program.fixture);
    storage.failWrite(program.failingWrite);
    this.#tee = tee;
    this.#storage = storage;
    this.#clients = clients;
  }

  run(): readonly string[] {
    for (const step of this.#program.steps) {
      if (this.#tee.panics.length > 0) break;
      if (this.#isAffordable(step)) this.#do(step);
    }
    if (this.#tee.panics.length > 0) this.#requireExpectedPanic();
    for (const client of this.#clients) client.close();
    holds(this.#tee.panics.length <= 1, 'the TA panicked when its clients left');
    return [...this.#labels];
  }

  #do(step: Step): void {
    const client = this.#clients[step.client];
    const before = ALL_OR_NOTHING.has(step.command) ? this.#state(client) : undefined;
    const operation = operationOf(step, this.#lastOutputs[step.client]);
    const reply = client.raw(step.command, operation);
    const panicked = this.#tee.panics.length > 0;
    holds(panicked === (reply.result === TEE.TARGET_DEAD), 'only a panic is TARGET_DEAD');
    for (const parameter of operation.parameters) {
      if (parameter instanceof Memory) this.#checkOutput(step, parameter);
    }
    if (panicked) return;
    this.#checkReply(step, reply);
    if (step.command === CMD.LOGIN && reply.rv === CKR.OK) this.#mayBeUser[step.client] = true;
    if (reply.output.byteLength > 0) this.#lastOutputs[step.client] = reply.output;
    if (reply.rv !== CKR.OK && before !== undefined)
      requireSame(before, this.#state(client), step.command);
    this.#note(step.command, reply);
  }

  #checkReply({ command }: Step, { result, rv, origin }: Reply): void {
    if (rv === undefined) {
      const isRefused = result === TEE.BAD_PARAMETERS || result === TEE.NOT_SUPPORTED;
      holds(isRefused && origin === 4, `${String(command)}: ${hex(result)} without a value`);
      return;
    }
    holds(KNOWN_RVS.has(rv), `${String(command)}: return value ${hex(rv)} is not known`);
    const expected = rv === CKR.BUFFER_TOO_SMALL ? TEE.SHORT_BUFFER : TEE.SUCCESS;
    holds(result === expected, `${String(command)}: ${hex(result)} with ${hex(rv)}`);
  }

  #checkOutput({ client, command }: Step, { output, size, capacityBytes }: Memory): void {
    if (output === undefined) return;
    const name = `command ${String(command)}`;
    holds(output.byteLength <= capacityBytes, `${name}: more output than there is room for`);
    holds(output.byteLength === size, `${name}: a size that is not the output's`);
    const bytes = Buffer.from(output.buffer, output.byteOffset, output.byteLength);
    holds(!bytes.includes(SECRET.subarray(0, 16)), `${name}: a sensitive value got out`);
    holds(!bytes.includes(SECRET.subarray(16)), `${name}: a sensitive value got out`);
    if (client === 1) {
      holds(!bytes.includes(SESSION_MARK), `${name}: another client's session object`);
    }
    if (this.#mayBeUser[client] !== true) {
      holds(!bytes.includes(PRIVATE_MARK), `${name}: a private object without the user`);
    }
  }

  /** What is stored, and which of the client's handles stand for how much. */
  #state(client: TaClient): State {
    const probed = this.#program.fixture === 0 ? 0 : PROBED_HANDLES;
    const sizes = Array.from({ length: probed }, (_, index) => {
      const control = u32(READ_WRITE, index + 1);
      return client.call(CMD.GET_OBJECT_SIZE, control, { room: 4 }).output.toString('hex');
    });
    return { writes: this.#storage.writes, stored: this.#storage.snapshot(), sizes: sizes.join() };
  }

  /** Making RSA keys is slow, and the tests of the mechanism make the large ones. */
  #isAffordable({ command, control }: Step): boolean {
    const isRsaPair =
      command === CMD.GENERATE_KEY_PAIR &&
      control.byteLength >= 8 &&
      Buffer.from(control).readUInt32LE(4) === CKM.RSA_PKCS_KEY_PAIR_GEN;
    if (!isRsaPair) return true;
    this.#rsaPairs += 1;
    return this.#rsaPairs === 1 && !mayBeLarge(control);
  }

  #requireExpectedPanic(): void {
    const [cause] = this.#tee.panics;
    const isExpected = this.#program.failingWrite > 0 && cause instanceof StorageFailure;
    if (!isExpected) throw new Error('the TA panicked', { cause });
    for (const client of this.#clients) {
      const { result } = client.call(CMD.PING, u32(0), { room: 12 });
      holds(result === TEE.TARGET_DEAD, 'a session outlives its TA');
    }
    this.#storage.failWrite(0);
    this.#tee.restart();
    const { rv } = this.#tee.connect().call(CMD.TOKEN_INFO, u32(0), { room: 160 });
    holds(rv === CKR.OK, 'the TA does not start again after a panic');
    this.#labels.add('panic and restart');
  }

  #note(command: number, { rv, output }: Reply): void {
    const reached = seen.get(command) ?? { succeeded: false, failed: false };
    seen.set(command, reached);
    if (rv === CKR.OK) reached.succeeded = true;
    else reached.failed = true;
    const sizeClass = Math.ceil(Math.log2(output.byteLength + 1));
    this.#labels.add(`${String(command)} ${hex(rv)} ${String(sizeClass)}`);
  }
}

interface State {
  readonly writes: number;
  readonly stored: Snapshot;
  readonly sizes: string;
}

function requireSame(before: State, after: State, command: number): void {
  const name = `failed command ${String(command)}`;
  holds(before.sizes === after.sizes, `${name}: objects came, went or changed size`);
  if (before.writes === after.writes) return;
  const isSame =
    before.stored.size === after.stored.size &&
    [...before.stored].every(([key, bytes]) => {
      const now = after.stored.get(key);
      return now !== undefined && Buffer.compare(now, bytes) === 0;
    });
  holds(isSame, `${name}: storage is not what it was`);
}

const MAX_MODULUS_BITS = 768;
const ALLOWED_ABOVE = 4096;

/** Whether any attribute that is in these bytes asks for a modulus that takes long to find. */
function mayBeLarge(control: Uint8Array): boolean {
  const bytes = Buffer.from(control);
  const head = u32(CKA.MODULUS_BITS, 4);
  for (let at = bytes.indexOf(head); at !== -1; at = bytes.indexOf(head, at + 1)) {
    if (at + 12 > bytes.byteLength) return false;
    const bits = bytes.readUInt32LE(at + 8);
    if (bits > MAX_MODULUS_BITS && bits <= ALLOWED_ABOVE) return true;
  }
  return false;
}
