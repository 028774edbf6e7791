/** A TA that does to the world what a TA can do: answers, waits, refuses, panics. */
import { TaPanic, type TaInstance, type TrustedApp } from '../tee/secure-world/ta.ts';
import type { Cancellation } from '../tee/secure-world/world/cancellation.ts';
import { Memory, PARAM, typeAt, type Operation } from '../tee/secure-world/world/operation.ts';

const SUCCESS = 0;
const BAD_PARAMETERS = 0xffff_0006;
const NOT_SUPPORTED = 0xffff_000a;
const SHORT_BUFFER = 0xffff_0010;

export const PROBE = {
  /** An output takes what the input before it holds; INOUT values are swapped, memory is reversed. */
  ECHO: 1,
  /** p0.a milliseconds. */
  WAIT: 2,
  /** p0.a is the code. */
  PANIC: 3,
  /** p0.a is the result. */
  REFUSE: 4,
  /** As ECHO; the number that the C test program calls. */
  SWAP: 5,
  /** Fills all outputs to the brim. */
  FILL: 6,
  RECURSE: 7,
  /** As WAIT with cancellation masked; p1.a is the flag before it is unmasked, p1.b after. */
  WAIT_MASKED: 8,
  /** For ever; the number that the C test program calls. */
  WAIT_FOR_EVER: 9,
  /** p0.a is the number of the instance, p0.b how many sessions it has. */
  INSTANCE: 10,
  PANIC_LATER: 11,
  /** ECHO after a wait of 20 ms. */
  ECHO_LATER: 12,
} as const;

const FOR_EVER = 0xffff_ffff;
const LATER_MS = 20;

/** @param flags - TA_FLAG bits */
export function probeApp(uuid: string, flags: number): TrustedApp & { readonly events: string[] } {
  const events: string[] = [];
  let instances = 0;
  return {
    uuid,
    flags,
    events,
    create: () => {
      instances += 1;
      return new Probe(instances, events);
    },
  };
}

class Probe implements TaInstance {
  readonly #number: number;
  readonly #events: string[];
  readonly #sessions = new Set<number>();

  constructor(number: number, events: string[]) {
    this.#number = number;
    this.#events = events;
    this.#note('create');
  }

  /** With a value it waits p0.b milliseconds and answers p0.a; a refused session is none. */
  open(
    session: number,
    _client: unknown,
    operation: Operation,
    cancellation: Cancellation,
  ): number | Promise<number> {
    this.#note('open');
    const { a, b } = valueAt(operation, 0);
    const answer = (): number => {
      if (a === SUCCESS) this.#sessions.add(session);
      return a;
    };
    return b === 0 ? answer() : cancellation.wait(b).then(answer);
  }

  invoke(
    session: number,
    command: number,
    operation: Operation,
    cancellation: Cancellation,
  ): number | Promise<number> {
    if (!this.#sessions.has(session)) throw new RangeError('no such session');
    if (command === PROBE.INSTANCE) {
      Object.assign(valueAt(operation, 0), { a: this.#number, b: this.#sessions.size });
      return SUCCESS;
    }
    return COMMANDS.get(command)?.(operation, cancellation) ?? NOT_SUPPORTED;
  }

  close(session: number): void {
    this.#sessions.delete(session);
    this.#note('close');
  }

  destroy(): void {
    this.#note('destroy');
  }

  #note(event: string): void {
    this.#events.push(`${event} ${String(this.#number)}`);
  }
}

type Command = (operation: Operation, cancellation: Cancellation) => number | Promise<number>;

const COMMANDS: ReadonlyMap<number, Command> = new Map<number, Command>([
  [PROBE.ECHO, echo],
  [PROBE.SWAP, echo],
  [PROBE.ECHO_LATER, (asked, cancellation) => cancellation.wait(LATER_MS).then(() => echo(asked))],
  [PROBE.WAIT, (asked, cancellation) => wait(cancellation, valueAt(asked, 0).a)],
  [PROBE.WAIT_FOR_EVER, (_asked, cancellation) => wait(cancellation, FOR_EVER)],
  [PROBE.WAIT_MASKED, waitMasked],
  [PROBE.PANIC, panic],
  [
    PROBE.PANIC_LATER,
    (asked, cancellation) => cancellation.wait(LATER_MS).then(() => panic(asked)),
  ],
  [PROBE.REFUSE, (asked) => valueAt(asked, 0).a],
  [PROBE.FILL, fill],
  [PROBE.RECURSE, () => recurse(0)],
]);

function panic(operation: Operation): never {
  throw new TaPanic(valueAt(operation, 0).a, 'the client asked for it');
}

function wait(cancellation: Cancellation, timeoutMs: number): Promise<number> {
  cancellation.unmask();
  return cancellation.wait(timeoutMs);
}

function valueAt({ parameters }: Operation, index: 0 | 1): { a: number; b: number } {
  const parameter = parameters[index];
  return parameter.kind === 'value' ? parameter : { a: 0, b: 0 };
}

function echo({ types, parameters }: Operation): number {
  let result = SUCCESS;
  parameters.forEach((parameter, index) => {
    const type = typeAt(types, index);
    const source = isOutput(type) ? parameters[index - 1] : parameter;
    if (!isOutput(type) && !isInOut(type)) return;
    if (parameter.kind === 'value' && source?.kind === 'value') {
      Object.assign(parameter, { a: source.b, b: source.a });
    } else if (parameter instanceof Memory && source instanceof Memory) {
      if (!parameter.fill(Buffer.from(source.input).reverse())) result = SHORT_BUFFER;
    } else {
      result = BAD_PARAMETERS;
    }
  });
  return result;
}

function isOutput(type: number): boolean {
  return type === PARAM.VALUE_OUTPUT || type === PARAM.MEMREF_OUTPUT;
}

function isInOut(type: number): boolean {
  return type === PARAM.VALUE_INOUT || type === PARAM.MEMREF_INOUT;
}

function fill({ parameters }: Operation): number {
  for (const parameter of parameters) {
    if (parameter instanceof Memory) parameter.fill(Buffer.alloc(parameter.capacityBytes, 0xa5));
  }
  return SUCCESS;
}

function recurse(depth: number): number {
  return recurse(depth + 1) + 1;
}

async function waitMasked(operation: Operation, cancellation: Cancellation): Promise<number> {
  const result = await cancellation.wait(valueAt(operation, 0).a);
  const seen = valueAt(operation, 1);
  seen.a = Number(cancellation.flag);
  cancellation.unmask();
  seen.b = Number(cancellation.flag);
  return result;
}
