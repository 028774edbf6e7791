/**
 * The trusted OS: loads TAs, owns sessions, and contains panics.
 *
 * A TA that throws is dead. Its instance is dropped, every session it had answers TARGET_DEAD, and
 * the next session that is opened gets a new instance: OP-TEE's behaviour, and the reason why a
 * fault in one TA is never an unknown state in the next request.
 *
 * Source: OP-TEE 4.10 core/kernel/tee_ta_manager.c.
 */
import { TA_FLAG, type TrustedApp } from '../ta.ts';
import { clientIdentity } from './identity.ts';
import { Instance, type Outcome, type Pending } from './instance.ts';
import { PARAM, typeAt, type Operation } from './operation.ts';
import { ORIGIN, TEE } from './results.ts';
import { MAX_BODY_BYTES, type Credentials } from './wire.ts';

const MAX_SESSIONS_PER_CLIENT = 256;
const MAX_SESSIONS = 4096;
/** Requests of one client that wait for a TA. */
const MAX_PENDING_PER_CLIENT = 64;
/** Sizes and numbers around the memory that an answer carries. */
const ANSWER_OVERHEAD_BYTES = 256;

export interface OpenOutcome extends Outcome {
  /** 0 unless `result` is TEE_SUCCESS. */
  readonly session: number;
}

export type OnPanic = (uuid: string, cause: unknown) => void;

export class World {
  readonly #onPanic: OnPanic;
  #apps: ReadonlyMap<string, TrustedApp>;
  #instances = new Set<Instance>();
  #lastSession = 0;
  #sessions = 0;

  /** @throws RangeError when two TAs have one UUID */
  constructor(apps: readonly TrustedApp[], onPanic: OnPanic) {
    this.#apps = byUuid(apps);
    this.#onPanic = onPanic;
  }

  /** Sessions that are open. */
  get sessions(): number {
    return this.#sessions;
  }

  /** UUIDs of the instances that live. */
  get instances(): readonly string[] {
    return Array.from(this.#instances, ({ app }) => app.uuid);
  }

  /**
   * A place in an instance of a TA, and a number for the session. Numbers are never reused, so a late
   * request cannot reach somebody else's session.
   *
   * @returns or the TEE_Result that says why not. A TA that fails to start has panicked before it had
   *   a session
   */
  admit(uuid: string): { readonly instance: Instance; readonly session: number } | number {
    if (this.#sessions >= MAX_SESSIONS) return TEE.OUT_OF_MEMORY;
    const instance = this.#instanceFor(uuid);
    if (typeof instance === 'number') return instance;
    instance.sessions += 1;
    this.#sessions += 1;
    this.#lastSession += 1;
    return { instance, session: this.#lastSession };
  }

  /** Gives up a place that `admit` gave. The last one to leave takes the instance with it. */
  leave(instance: Instance): void {
    instance.sessions -= 1;
    this.#sessions -= 1;
    if (instance.sessions > 0 || isKeptAlive(instance.app)) return;
    this.#instances.delete(instance);
    instance.destroy();
  }

  /** @returns how many instances of the TA there were to panic */
  panic(uuid: string, cause: unknown): number {
    const hit = [...this.#instances].filter(({ app }) => app.uuid === uuid);
    for (const instance of hit) instance.panic(cause);
    return hit.length;
  }

  /** The power goes and comes back: no instance hears of it, and these TAs are loaded from now on. */
  reset(apps: readonly TrustedApp[]): void {
    for (const instance of this.#instances) instance.bury();
    this.#instances.clear();
    this.#apps = byUuid(apps);
  }

  close(): void {
    for (const instance of [...this.#instances]) instance.destroy();
    this.#instances.clear();
  }

  #instanceFor(uuid: string): Instance | number {
    const app = this.#apps.get(uuid);
    if (app === undefined) return TEE.ITEM_NOT_FOUND;
    if ((app.flags & TA_FLAG.SINGLE_INSTANCE) === 0) return this.#create(app);
    const shared = [...this.#instances].find((instance) => instance.app === app);
    if (shared === undefined) return this.#create(app);
    if ((app.flags & TA_FLAG.MULTI_SESSION) === 0 && shared.sessions > 0) return TEE.BUSY;
    return shared;
  }

  #create(app: TrustedApp): Instance | number {
    try {
      const instance: Instance = new Instance(app, (cause) => {
        this.#instances.delete(instance);
        this.#onPanic(app.uuid, cause);
      });
      this.#instances.add(instance);
      return instance;
    } catch (cause) {
      this.#onPanic(app.uuid, cause);
      return TEE.TARGET_DEAD;
    }
  }
}

/** One connection's share of the world: its sessions, and nobody else's. */
export class WorldClient {
  readonly #world: World;
  readonly #credentials: Credentials;
  readonly #sessions = new Map<number, Instance>();
  /** Sessions that a TA has not accepted yet. */
  #opening = 0;
  #pending = 0;
  #isGone = false;

  constructor(world: World, credentials: Credentials) {
    this.#world = world;
    this.#credentials = credentials;
  }

  open(
    uuid: string,
    login: number,
    loginData: number,
    operation: Operation,
  ): OpenOutcome | Pending<OpenOutcome> {
    if (!fitsAnswer(operation)) return refused(TEE.OUT_OF_MEMORY);
    const identity = clientIdentity(login, loginData, this.#credentials);
    if (typeof identity === 'number') return refused(identity, ORIGIN.COMMS);
    const isFull = this.#sessions.size + this.#opening >= MAX_SESSIONS_PER_CLIENT;
    if (isFull) return refused(TEE.OUT_OF_MEMORY);
    if (this.#pending >= MAX_PENDING_PER_CLIENT) return refused(TEE.BUSY);
    const place = this.#world.admit(uuid);
    if (typeof place === 'number') return refused(place);
    this.#opening += 1;
    const { instance, session } = place;
    const answered = instance.run((ta, cancellation) =>
      ta.open(session, identity, operation, cancellation),
    );
    const opened = (outcome: Outcome): OpenOutcome => this.#opened(outcome, session, instance);
    return isPending(answered) ? this.#counted(answered, opened) : opened(answered);
  }

  invoke(session: number, command: number, operation: Operation): Outcome | Pending<Outcome> {
    if (!fitsAnswer(operation)) return { result: TEE.OUT_OF_MEMORY, origin: ORIGIN.TEE };
    const instance = this.#sessions.get(session);
    if (instance === undefined) return { result: TEE.BAD_PARAMETERS, origin: ORIGIN.TEE };
    if (this.#pending >= MAX_PENDING_PER_CLIENT) return { result: TEE.BUSY, origin: ORIGIN.TEE };
    const answered = instance.run((ta, cancellation) =>
      ta.invoke(session, command, operation, cancellation),
    );
    return isPending(answered) ? this.#counted(answered, (outcome) => outcome) : answered;
  }

  /** The session is gone at once; its TA hears of it when it is free. */
  close(session: number): number {
    const instance = this.#sessions.get(session);
    if (instance === undefined) return TEE.BAD_PARAMETERS;
    this.#sessions.delete(session);
    const answered = instance.run((ta) => {
      ta.close(session);
      return TEE.SUCCESS;
    });
    if (!isPending(answered)) this.#world.leave(instance);
    else {
      void answered.outcome.then(() => {
        this.#world.leave(instance);
      });
    }
    return TEE.SUCCESS;
  }

  disconnect(): void {
    this.#isGone = true;
    for (const session of [...this.#sessions.keys()]) this.close(session);
  }

  #counted<T>(
    { outcome, cancellation }: Pending<Outcome>,
    finish: (outcome: Outcome) => T,
  ): Pending<T> {
    this.#pending += 1;
    const finished = outcome.then((late) => {
      this.#pending -= 1;
      return finish(late);
    });
    return { outcome: finished, cancellation };
  }

  #opened(outcome: Outcome, session: number, instance: Instance): OpenOutcome {
    this.#opening -= 1;
    if (outcome.result !== TEE.SUCCESS) {
      this.#world.leave(instance);
      return { ...outcome, session: 0 };
    }
    this.#sessions.set(session, instance);
    if (this.#isGone) this.close(session);
    return { ...outcome, session };
  }
}

export function isPending<T extends Outcome>(answered: T | Pending<T>): answered is Pending<T> {
  return 'cancellation' in answered;
}

function refused(result: number, origin: number = ORIGIN.TEE): OpenOutcome {
  return { result, origin, session: 0 };
}

function byUuid(apps: readonly TrustedApp[]): ReadonlyMap<string, TrustedApp> {
  const known = new Map(apps.map((app) => [app.uuid, app]));
  if (known.size === apps.length) return known;
  throw new RangeError('two TAs have the same UUID');
}

function isKeptAlive({ flags }: TrustedApp): boolean {
  const both = TA_FLAG.SINGLE_INSTANCE | TA_FLAG.INSTANCE_KEEP_ALIVE;
  return (flags & both) === both;
}

/**
 * Output memory costs the client four bytes to ask for, so ask before a TA fills it, and before
 * anything else is refused: a refusal answers with the memory as well. What does not fit is taken
 * away: its size reads back as 0.
 */
function fitsAnswer({ types, parameters }: Operation): boolean {
  let bytes = ANSWER_OVERHEAD_BYTES;
  parameters.forEach((parameter, index) => {
    const isOut = typeAt(types, index) !== PARAM.MEMREF_INPUT;
    if (parameter.kind === 'memory' && isOut) bytes += parameter.capacityBytes;
  });
  if (bytes <= MAX_BODY_BYTES) return true;
  for (const parameter of parameters) if (parameter.kind === 'memory') parameter.need(0);
  return false;
}
