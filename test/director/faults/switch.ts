/** Which faults are on, for whom, and what they have sent: `faults.json`. */
import { Refusal } from '../failure.ts';
import { rowOf, type ActiveFault, type FaultName } from '../faults.ts';
import type { JsonReader } from '../json/read-json.ts';
import { readState, writeState, type Access } from '../state/state-file.ts';
import type { Parameters, Stage } from './row.ts';

interface FaultState {
  readonly active: readonly ActiveFault[];
  /** Highest version sent by a fault, by scope: `image`, or `director/DEVICE`. */
  readonly sentVersions: Readonly<Record<string, number>>;
}

export class FaultSwitch {
  readonly #path: string;
  readonly #access: Access;
  readonly #uses = new Map<ActiveFault, number>();
  #state: FaultState;

  /** @param access - who only reads strikes with no fault, and stays above what faults have sent */
  constructor(path: string, access: Access) {
    this.#path = path;
    this.#access = access;
    this.#state = stateAt(path);
  }

  /** Another process has changed it. */
  reload(): void {
    this.#state = stateAt(this.#path);
  }

  get active(): readonly ActiveFault[] {
    return this.#state.active;
  }

  /** Active faults of one stage, as one device sees them. */
  at(stage: Stage, device: string): readonly ActiveFault[] {
    return this.#seenBy(device).filter((fault) => rowOf(fault.name).stages.includes(stage));
  }

  /** The parameters of a fault if it strikes now; a fault with `times` wears out. */
  strike(name: FaultName, device: string): Parameters | undefined {
    const fault = this.#seenBy(device).find((one) => one.name === name);
    if (fault === undefined) return undefined;
    const uses = (this.#uses.get(fault) ?? 0) + 1;
    this.#uses.set(fault, uses);
    const { times } = fault.parameters;
    if (typeof times === 'number' && times > 0 && uses >= times)
      this.#remove((one) => one === fault);
    return fault.parameters;
  }

  /** Switches on, or on again with other parameters. */
  on(name: FaultName, device: string | undefined, wanted: JsonReader): ActiveFault {
    const parameters = readParameters(name, wanted);
    const fault = { name, parameters, ...(device === undefined ? {} : { device }) };
    const others = this.#state.active.filter((one) => !isSame(one, fault));
    this.#save({ ...this.#state, active: [...others, fault] });
    return fault;
  }

  /** @returns how many were on */
  off(name: FaultName | undefined, device: string | undefined): number {
    return this.#remove(
      (one) =>
        (name === undefined || one.name === name) &&
        (device === undefined || one.device === device),
    );
  }

  /**
   * The version that honest metadata of a scope must pass.
   *
   * Zero while a fault that raises versions is still on: its victims are not to be helped yet, and
   * other devices are served undisturbed.
   */
  floor(scope: string, stage: Stage): number {
    const raising = this.#state.active.some((fault) => {
      const row = rowOf(fault.name);
      return row.raisesVersions === true && row.stages.includes(stage);
    });
    return raising ? 0 : (this.#state.sentVersions[scope] ?? 0);
  }

  sent(scope: string, version: number): void {
    if ((this.#state.sentVersions[scope] ?? 0) >= version) return;
    const sentVersions = { ...this.#state.sentVersions, [scope]: version };
    this.#save({ ...this.#state, sentVersions });
  }

  /** Of a fault that is on for all and for this device, the narrower one counts. */
  #seenBy(device: string): readonly ActiveFault[] {
    if (this.#access === 'read') return [];
    const { active } = this.#state;
    const own = active.filter((fault) => fault.device === device);
    const common = active.filter(
      (fault) => fault.device === undefined && !own.some(({ name }) => name === fault.name),
    );
    return [...own, ...common];
  }

  #remove(isGone: (fault: ActiveFault) => boolean): number {
    const left = this.#state.active.filter((fault) => !isGone(fault));
    const removed = this.#state.active.length - left.length;
    if (removed > 0) this.#save({ ...this.#state, active: left });
    return removed;
  }

  #save(state: FaultState): void {
    writeState(this.#path, state);
    this.#state = state;
  }
}

function stateAt(path: string): FaultState {
  return (readState(path) as FaultState | undefined) ?? { active: [], sentVersions: {} };
}

function isSame(a: ActiveFault, b: ActiveFault): boolean {
  return a.name === b.name && a.device === b.device;
}

function readParameters(name: FaultName, wanted: JsonReader): Parameters {
  const known: Parameters = rowOf(name).parameters;
  const unknown = wanted.names().find((parameter) => !Object.hasOwn(known, parameter));
  if (unknown !== undefined) {
    const names = Object.keys(known).join(', ') || 'none';
    throw new Refusal(
      400,
      'parameter_unknown',
      `${name} has no parameter ${unknown}; it has ${names}`,
    );
  }
  const entries = Object.entries(known).map(([parameter, byDefault]) => {
    if (!wanted.has(parameter)) return [parameter, byDefault] as const;
    const value =
      typeof byDefault === 'number' ? wanted.integer(parameter) : wanted.string(parameter);
    return [parameter, value] as const;
  });
  return Object.fromEntries(entries);
}
