/**
 * The trusted OS: loads TAs, owns sessions, and contains panics.
 *
 * A TA that throws is dead. Its instance is dropped, every session it had answers TARGET_DEAD, and
 * the next session that is opened gets a new instance: OP-TEE's behaviour, and the reason why a
 * fault in one TA is never an unknown state in the next request.
 */
import type { TaInstance, TrustedApp } from '../ta.ts';
import { clientIdentity } from './identity.ts';
import { PARAM, typeAt, type Operation } from './operation.ts';
import { ORIGIN, TEE } from './results.ts';
import { MAX_BODY_BYTES, type Credentials } from './wire.ts';

const MAX_SESSIONS_PER_CLIENT = 256;
/** Sizes and numbers around the memory that an answer carries. */
const ANSWER_OVERHEAD_BYTES = 256;

export interface Outcome {
  readonly result: number;
  readonly origin: number;
}

export interface OpenOutcome extends Outcome {
  /** 0 unless `result` is TEE_SUCCESS. */
  readonly session: number;
}

/** A loaded TA. */
interface Loaded {
  readonly uuid: string;
  readonly instance: TaInstance;
  isDead: boolean;
}

export class World {
  readonly #apps: ReadonlyMap<string, TrustedApp>;
  readonly #loaded = new Map<string, Loaded>();
  readonly #onPanic: (uuid: string, cause: unknown) => void;
  #lastSession = 0;

  constructor(apps: readonly TrustedApp[], onPanic: (uuid: string, cause: unknown) => void) {
    this.#apps = new Map(apps.map((app) => [app.uuid, app]));
    this.#onPanic = onPanic;
  }

  /** Session numbers are never reused, so a late request cannot reach somebody else's session. */
  nextSession(): number {
    this.#lastSession += 1;
    return this.#lastSession;
  }

  /**
   * @returns the instance of a TA, made if there is none; or the TEE_Result that says why not. A TA
   *   that fails to start has panicked before it had a session
   */
  load(uuid: string): Loaded | number {
    const loaded = this.#loaded.get(uuid);
    if (loaded !== undefined) return loaded;
    const app = this.#apps.get(uuid);
    if (app === undefined) return TEE.ITEM_NOT_FOUND;
    try {
      const fresh = { uuid, instance: app.create(), isDead: false };
      this.#loaded.set(uuid, fresh);
      return fresh;
    } catch (cause) {
      this.#onPanic(uuid, cause);
      return TEE.TARGET_DEAD;
    }
  }

  /** Runs a TA's entry point. @returns `undefined` when the TA panicked */
  enter<T>(loaded: Loaded, entry: (instance: TaInstance) => T): T | undefined {
    try {
      return entry(loaded.instance);
    } catch (cause) {
      loaded.isDead = true;
      this.#loaded.delete(loaded.uuid);
      this.#onPanic(loaded.uuid, cause);
      return undefined;
    }
  }

  close(): void {
    for (const loaded of [...this.#loaded.values()]) {
      this.enter(loaded, (instance) => {
        instance.destroy();
      });
    }
    this.#loaded.clear();
  }
}

/** One connection's share of the world: its sessions, and nobody else's. */
export class WorldClient {
  readonly #world: World;
  readonly #credentials: Credentials;
  readonly #sessions = new Map<number, Loaded>();

  constructor(world: World, credentials: Credentials) {
    this.#world = world;
    this.#credentials = credentials;
  }

  open(uuid: string, login: number, loginData: number, operation: Operation): OpenOutcome {
    if (!fitsAnswer(operation)) return refused(TEE.OUT_OF_MEMORY);
    const identity = clientIdentity(login, loginData, this.#credentials);
    if (typeof identity === 'number') return refused(identity);
    if (this.#sessions.size >= MAX_SESSIONS_PER_CLIENT) return refused(TEE.OUT_OF_MEMORY);
    const loaded = this.#world.load(uuid);
    if (typeof loaded === 'number') return refused(loaded);
    const session = this.#world.nextSession();
    const result = this.#world.enter(loaded, (ta) => ta.open(session, identity, operation));
    if (result === undefined) return refused(TEE.TARGET_DEAD);
    if (result !== TEE.SUCCESS) return { result, origin: ORIGIN.TRUSTED_APP, session: 0 };
    this.#sessions.set(session, loaded);
    return { result, origin: ORIGIN.TRUSTED_APP, session };
  }

  invoke(session: number, command: number, operation: Operation): Outcome {
    if (!fitsAnswer(operation)) return { result: TEE.OUT_OF_MEMORY, origin: ORIGIN.TEE };
    const loaded = this.#sessions.get(session);
    if (loaded === undefined) return { result: TEE.BAD_PARAMETERS, origin: ORIGIN.TEE };
    if (loaded.isDead) return { result: TEE.TARGET_DEAD, origin: ORIGIN.TEE };
    const result = this.#world.enter(loaded, (ta) => ta.invoke(session, command, operation));
    if (result === undefined) return { result: TEE.TARGET_DEAD, origin: ORIGIN.TEE };
    return { result, origin: ORIGIN.TRUSTED_APP };
  }

  close(session: number): number {
    const loaded = this.#sessions.get(session);
    if (loaded === undefined) return TEE.BAD_PARAMETERS;
    this.#sessions.delete(session);
    if (!loaded.isDead) {
      this.#world.enter(loaded, (ta) => {
        ta.close(session);
      });
    }
    return TEE.SUCCESS;
  }

  disconnect(): void {
    for (const session of [...this.#sessions.keys()]) this.close(session);
  }
}

function refused(result: number): OpenOutcome {
  return { result, origin: ORIGIN.TEE, session: 0 };
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
