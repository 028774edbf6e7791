/** What an operator may change while the server runs; kept in `settings.json`. */
import { join } from 'node:path';

import { Refusal } from '../failure.ts';
import type { JsonReader } from '../json/read-json.ts';
import { ROLES, type ValiditySeconds } from '../metadata/repository-keys.ts';
import type { Dialect } from '../metadata/dialect.ts';
import type { KeyType } from '../signing.ts';
import { readState, writeState } from './state-file.ts';

export interface Settings {
  /** Of newly generated role keys. */
  readonly keyType: KeyType;
  /** Form of the Image repository's metadata. */
  readonly imageDialect: Dialect;
  readonly validitySeconds: ValiditySeconds;
  /** Of a device certificate that is issued without dates. */
  readonly certificateDays: number;
  /** Whether a registered device may come back with other ECUs or keys. */
  readonly ecuReplacement: boolean;
  /** `ignored`: another key of a known ECU is answered 200, and the key of before stays. */
  readonly keyChange: KeyChange;
  /** OSTree repository (archive mode) that is served below `/treehub/`; empty: none. */
  readonly treehub: string;
  /** How simplereenroll is answered. */
  readonly reenrolment: Reenrolment;
}

/** What is chosen on the first start, for ever. */
export type FirstSettings = Pick<Settings, 'keyType' | 'imageDialect'>;

const REENROLMENTS = ['allowed', 'later', 'refused'] as const;
type Reenrolment = (typeof REENROLMENTS)[number];
const KEY_CHANGES = ['taken', 'ignored'] as const;
type KeyChange = (typeof KEY_CHANGES)[number];

const DAY = 86_400;
const DEFAULTS: Omit<Settings, keyof FirstSettings> = {
  validitySeconds: {
    root: 3650 * DAY,
    targets: 365 * DAY,
    snapshot: 365 * DAY,
    timestamp: 30 * DAY,
  },
  certificateDays: 365,
  ecuReplacement: false,
  keyChange: 'taken',
  treehub: '',
  reenrolment: 'allowed',
};
const LONGEST_SECONDS = 36_500 * DAY;

export class SettingsFile {
  readonly #path: string;
  #settings: Settings;

  constructor(directory: string, first: FirstSettings) {
    this.#path = join(directory, 'settings.json');
    const stored = readState(this.#path) as Settings | undefined;
    this.#settings = { ...first, ...DEFAULTS, ...stored };
    if (stored === undefined) writeState(this.#path, this.#settings);
  }

  /** Another process has changed it. */
  reload(): void {
    this.#settings = { ...this.#settings, ...(readState(this.#path) as Settings | undefined) };
  }

  get current(): Settings {
    return this.#settings;
  }

  /**
   * Takes over the members that are there: `validitySeconds`, `certificateDays`, `ecuReplacement`,
   * `keyChange`, `treehub`, `reenrolment`.
   */
  change(wanted: JsonReader): Settings {
    const { validitySeconds, certificateDays, ecuReplacement, keyChange, treehub, reenrolment } =
      this.#settings;
    const next = {
      ...this.#settings,
      validitySeconds: wanted.has('validitySeconds')
        ? validityFrom(validitySeconds, wanted.object('validitySeconds'))
        : validitySeconds,
      certificateDays: wanted.optionalInteger('certificateDays', 1, 36_500) ?? certificateDays,
      ecuReplacement: wanted.optionalBoolean('ecuReplacement') ?? ecuReplacement,
      keyChange: oneOf(KEY_CHANGES, wanted, 'keyChange') ?? keyChange,
      treehub: wanted.optionalString('treehub') ?? treehub,
      reenrolment: oneOf(REENROLMENTS, wanted, 'reenrolment') ?? reenrolment,
    };
    writeState(this.#path, next);
    this.#settings = next;
    return next;
  }
}

function oneOf<T extends string>(
  allowed: readonly T[],
  wanted: JsonReader,
  name: string,
): T | undefined {
  const text = wanted.optionalString(name);
  if (text === undefined) return undefined;
  const found = allowed.find((one) => one === text);
  if (found !== undefined) return found;
  throw new Refusal(400, 'json_malformed', `$.${name} must be one of ${allowed.join(', ')}`);
}

function validityFrom(before: ValiditySeconds, wanted: JsonReader): ValiditySeconds {
  const entries = ROLES.map((role) => [
    role,
    wanted.optionalInteger(role, 1, LONGEST_SECONDS) ?? before[role],
  ]);
  return Object.fromEntries(entries) as ValiditySeconds;
}
