/**
 * The PKCS#11 TA: takes a command apart, runs it, and puts its return value where libckteec looks.
 *
 * Source: OP-TEE ta/pkcs11/src/entry.c.
 */
import type { TrustedStorage } from '../storage/trusted-storage.ts';
import { TA_FLAG, type ClientIdentity, type TaInstance, type TrustedApp } from '../ta.ts';
import { Memory, PARAM, typeAt, type Operation } from '../world/operation.ts';
import { TEE } from '../world/results.ts';
import { CKR, DEFAULT_SLOT_COUNT, PKCS11_TA_UUID } from './abi.ts';
import { words } from './args.ts';
import { Call, type Command } from './call.ts';
import { CIPHER_COMMANDS } from './commands/ciphers.ts';
import { DIGEST_COMMANDS } from './commands/digest.ts';
import { FIND_COMMANDS } from './commands/find.ts';
import { KEY_COMMANDS } from './commands/keys.ts';
import { LOGIN_COMMANDS } from './commands/login.ts';
import { OBJECT_COMMANDS } from './commands/objects.ts';
import { RANDOM_COMMANDS } from './commands/random.ts';
import { SESSION_COMMANDS } from './commands/sessions.ts';
import { SIGNATURE_COMMANDS } from './commands/signatures.ts';
import { SLOT_COMMANDS } from './commands/slots.ts';
import { STARTING_COMMANDS } from './commands/starting.ts';
import { WRAP_COMMANDS } from './commands/wrap.ts';
import { TaFailure } from './failure.ts';
import { Heap, MAX_HEAP_BYTES, MAX_HEAP_BYTES_PER_CLIENT } from './heap.ts';
import type { Mode } from './mode.ts';
import { ObjectStore } from './object-store.ts';
import { Client } from './session.ts';
import { Token } from './token.ts';

/** Where the return value goes: parameter 0 must have room for it. */
const RETURN_VALUE_BYTES = 4;

const COMMANDS: ReadonlyMap<number, Command> = new Map(
  [
    ...SLOT_COMMANDS,
    ...SESSION_COMMANDS,
    ...LOGIN_COMMANDS,
    ...OBJECT_COMMANDS,
    ...FIND_COMMANDS,
    ...KEY_COMMANDS,
    ...WRAP_COMMANDS,
    ...STARTING_COMMANDS,
    ...SIGNATURE_COMMANDS,
    ...CIPHER_COMMANDS,
    ...DIGEST_COMMANDS,
    ...RANDOM_COMMANDS,
  ].map((command) => [command.id, command]),
);

const FLAGS = TA_FLAG.SINGLE_INSTANCE | TA_FLAG.MULTI_SESSION | TA_FLAG.INSTANCE_KEEP_ALIVE;

export interface Pkcs11Options {
  /** Tokens, one a slot. */
  readonly slotCount: number;
  readonly mode: Mode;
}

const DEFAULTS: Pkcs11Options = { slotCount: DEFAULT_SLOT_COUNT, mode: 'default' };

export function pkcs11App(
  storage: TrustedStorage,
  options: Partial<Pkcs11Options> = {},
): TrustedApp {
  const whole = { ...DEFAULTS, ...options };
  return { uuid: PKCS11_TA_UUID, flags: FLAGS, create: () => new Pkcs11Ta(storage, whole) };
}

class Pkcs11Ta implements TaInstance {
  readonly #tokens: readonly Token[];
  readonly #clients = new Map<number, Client>();
  readonly #mode: Mode;
  readonly #heap = new Heap(MAX_HEAP_BYTES);

  constructor(storage: TrustedStorage, { slotCount, mode }: Pkcs11Options) {
    this.#mode = mode;
    const store = new ObjectStore(storage);
    this.#tokens = Array.from({ length: slotCount }, (_, slot) => new Token(slot, store));
    store.sweep();
  }

  open(session: number, identity: ClientIdentity): number {
    const heap = new Heap(MAX_HEAP_BYTES_PER_CLIENT, this.#heap);
    this.#clients.set(session, new Client(identity, heap));
    return TEE.SUCCESS;
  }

  invoke(session: number, commandId: number, operation: Operation): number {
    const [control] = operation.parameters;
    if (!takesReturnValue(operation) || !(control instanceof Memory)) return TEE.BAD_PARAMETERS;
    const command = COMMANDS.get(commandId);
    if (command === undefined) return TEE.NOT_SUPPORTED;
    const client = this.#clients.get(session);
    if (client === undefined) return TEE.SECURITY;
    const rv = this.#run(command, client, operation);
    control.fill(words(rv));
    return rv === CKR.BUFFER_TOO_SMALL ? TEE.SHORT_BUFFER : TEE.SUCCESS;
  }

  close(session: number): void {
    const client = this.#clients.get(session);
    for (const open of client?.sessions() ?? []) client?.closeSession(open);
    this.#clients.delete(session);
  }

  destroy(): void {
    this.#clients.clear();
  }

  #run(command: Command, client: Client, operation: Operation): number {
    try {
      if (!command.shapes.includes(operation.types)) return CKR.ARGUMENTS_BAD;
      const shared = { mode: this.#mode, tokens: this.#tokens, clients: this.#clients };
      command.run(new Call(client, shared, operation));
      return CKR.OK;
    } catch (failure) {
      if (failure instanceof TaFailure) return failure.rv;
      throw failure;
    }
  }
}

function takesReturnValue({ types, parameters: [control] }: Operation): boolean {
  const type = typeAt(types, 0);
  const isWritable = type === PARAM.MEMREF_INOUT || type === PARAM.MEMREF_OUTPUT;
  return isWritable && control instanceof Memory && control.capacityBytes >= RETURN_VALUE_BYTES;
}
