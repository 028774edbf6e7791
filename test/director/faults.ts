/**
 * Faults: one name for each attack or nuisance, switched on and off while the server runs.
 *
 * A fault changes what goes out, never what is kept: the honest state on disk is the same before,
 * during and after. Only the switch itself is remembered, in `faults.json`, together with the highest
 * version that a fault has sent, so that honest metadata can be signed above it afterwards.
 */
import { Refusal } from './failure.ts';
import type { JsonReader } from './read-json.ts';
import { readState, writeState } from './state/state-file.ts';

export type Parameter = number | string;
export type Parameters = Readonly<Record<string, Parameter>>;

/** Where a fault takes hold. */
export type Stage = 'image-metadata' | 'director-metadata' | 'metadata-bytes' | 'image' | 'answer';

export interface FaultRow {
  readonly stages: readonly Stage[];
  /** As Uptane Standard 2.1 §4.3 calls it; `nuisance` when it is none. */
  readonly attack: string;
  readonly what: string;
  /** With defaults; the type of the default is the type of the parameter. */
  readonly parameters: Parameters;
  /** Sends versions that a correct client keeps: honest versions must pass them afterwards. */
  readonly raisesVersions?: true;
}

const raises = { raisesVersions: true } as const;
const TIMES = { times: 0 };

export const FAULTS = {
  'timestamp-rollback': {
    stages: ['image-metadata'],
    attack: 'rollback',
    what: 'Image repository timestamp, validly signed, one version older than the newest',
    parameters: {},
  },
  'snapshot-rollback': {
    stages: ['image-metadata'],
    attack: 'rollback',
    what: 'newer Image repository timestamp over the previous snapshot and its targets, all validly signed',
    parameters: {},
    ...raises,
  },
  'targets-rollback': {
    stages: ['image-metadata'],
    attack: 'rollback',
    what: 'newer Image repository timestamp and snapshot that list the previous targets, validly signed',
    parameters: {},
    ...raises,
  },
  'expired-timestamp': {
    stages: ['image-metadata'],
    attack: 'freeze',
    what: 'newer Image repository timestamp, validly signed, expired in 2020',
    parameters: {},
  },
  'expired-targets': {
    stages: ['image-metadata'],
    attack: 'freeze',
    what: 'newer Image repository targets, validly signed and listed, expired in 2020',
    parameters: {},
    ...raises,
  },
  'director-timestamp-rollback': {
    stages: ['director-metadata'],
    attack: 'rollback',
    what: 'Director timestamp, validly signed, one version older than the newest',
    parameters: {},
  },
  'director-targets-rollback': {
    stages: ['director-metadata'],
    attack: 'rollback',
    what: 'newer Director timestamp and snapshot that list the previous targets, validly signed',
    parameters: {},
    ...raises,
  },
  'director-expired-timestamp': {
    stages: ['director-metadata'],
    attack: 'freeze',
    what: 'newer Director timestamp, validly signed, expired in 2020',
    parameters: {},
  },
  'director-expired-targets': {
    stages: ['director-metadata'],
    attack: 'freeze',
    what: 'newer Director targets, validly signed and listed, expired in 2020',
    parameters: {},
    ...raises,
  },
  'wrong-hardware-id': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'Director targets name another hardware id for every ECU',
    parameters: { hardwareId: 'wrong-hardware-id' },
    ...raises,
  },
  'unknown-ecu': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'Director targets assign every image to one more ECU, which the device does not have',
    parameters: { serial: 'unknown-ecu' },
    ...raises,
  },
  'director-repeats-ecu': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'Director targets assign a second image to every ECU',
    parameters: {},
    ...raises,
  },
  'director-delegates': {
    stages: ['director-metadata'],
    attack: 'arbitrary software',
    what: 'Director targets carry a delegation, which only the Image repository may',
    parameters: {},
    ...raises,
  },
  'wrong-vehicle-id': {
    stages: ['director-metadata'],
    attack: 'replay',
    what: 'Director targets carry the vehicle id of another device',
    parameters: { vehicleId: 'another-device' },
    ...raises,
  },
  'image-hash-mismatch': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'Director targets give other hashes than the Image repository, validly signed',
    parameters: {},
    ...raises,
  },
  'signature-invalid': {
    stages: ['image-metadata', 'director-metadata'],
    attack: 'arbitrary software',
    what: 'one bit of the signatures is wrong; `role` narrows it to targets, snapshot or timestamp, `repo` to director or image',
    parameters: { role: '', repo: '' },
    ...raises,
  },
  'root-not-signed-by-old': {
    stages: ['image-metadata', 'director-metadata'],
    attack: 'arbitrary software',
    what: 'the next root is offered, signed by its own new key only; `repo` narrows it to director or image',
    parameters: { repo: '' },
  },
  'metadata-oversized': {
    stages: ['metadata-bytes'],
    attack: 'endless data',
    what: 'metadata is followed by blanks up to `bytes`; `file` narrows it to one file name',
    parameters: { bytes: 9 * 1024 * 1024, file: '' },
  },
  'metadata-garbage': {
    stages: ['metadata-bytes'],
    attack: 'nuisance',
    what: 'a captive portal answers 200 with HTML instead of metadata; `file` narrows it to one file name',
    parameters: { file: '' },
  },
  'image-bit-flip': {
    stages: ['image'],
    attack: 'arbitrary software',
    what: 'one bit of the image is wrong, at byte `at`',
    parameters: { at: 0, ...TIMES },
  },
  'image-truncated': {
    stages: ['image'],
    attack: 'nuisance',
    what: 'the image ends `missingBytes` early, as if it were complete',
    parameters: { missingBytes: 1, ...TIMES },
  },
  'image-endless': {
    stages: ['image'],
    attack: 'endless data',
    what: 'the image is followed by zeros until the client hangs up, at most `maxBytes`',
    parameters: { maxBytes: 1024 * 1024 * 1024, ...TIMES },
  },
  'image-slow': {
    stages: ['image'],
    attack: 'slow retrieval',
    what: 'the image comes at `bytesPerSecond`',
    parameters: { bytesPerSecond: 100, ...TIMES },
  },
  'image-reset': {
    stages: ['image'],
    attack: 'nuisance',
    what: 'the connection is reset after `afterBytes` of the answer',
    parameters: { afterBytes: 1024, ...TIMES },
  },
  'image-missing': {
    stages: ['image'],
    attack: 'drop request',
    what: 'the image is not found',
    parameters: { ...TIMES },
  },
  'http-500': {
    stages: ['answer'],
    attack: 'drop request',
    what: 'requests whose path starts with `path` are answered 500',
    parameters: { path: '/', ...TIMES },
  },
  'http-503': {
    stages: ['answer'],
    attack: 'drop request',
    what: 'requests whose path starts with `path` are answered 503 with Retry-After',
    parameters: { path: '/', retryAfterSeconds: 1, ...TIMES },
  },
  'events-301': {
    stages: ['answer'],
    attack: 'nuisance',
    what: 'POST /events is redirected to /events/ with 301, as some gateways do',
    parameters: { ...TIMES },
  },
} as const satisfies Readonly<Record<string, FaultRow>>;

export type FaultName = keyof typeof FAULTS;

export interface ActiveFault {
  readonly name: FaultName;
  /** Only for this device; absent: for all. */
  readonly device?: string;
  readonly parameters: Parameters;
}

interface FaultState {
  readonly active: readonly ActiveFault[];
  /** Highest version sent by a fault, by scope: `image`, or `director/DEVICE`. */
  readonly sentVersions: Readonly<Record<string, number>>;
}

export class FaultSwitch {
  readonly #path: string;
  readonly #uses = new Map<ActiveFault, number>();
  #state: FaultState;

  constructor(path: string) {
    this.#path = path;
    this.#state = (readState(path) as FaultState | undefined) ?? { active: [], sentVersions: {} };
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

export function rowOf(name: FaultName): FaultRow {
  return FAULTS[name];
}

/** @throws Refusal 404 `fault_not_found` with the names there are */
export function faultName(name: string): FaultName {
  if (Object.hasOwn(FAULTS, name)) return name as FaultName;
  const known = Object.keys(FAULTS).join(', ');
  throw new Refusal(404, 'fault_not_found', `no fault ${name}; there are ${known}`);
}

/** The list of faults as README.md has it. */
export function faultTable(): string {
  const rows = Object.entries(FAULTS).map(([name, row]: [string, FaultRow]) => {
    const parameters = Object.entries(row.parameters).map(
      ([parameter, value]) => `\`${parameter}=${String(value)}\``,
    );
    return `| \`${name}\` | ${row.attack} | ${row.what} | ${parameters.join(' ')} |`;
  });
  return ['| fault | attack | what goes out | parameters |', '|---|---|---|---|', ...rows].join(
    '\n',
  );
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
