/** What an operator may change about enrolment while the server runs; kept in `enrolment.json`. */
import type { JsonReader } from '../json/read-json.ts';
import { readState, writeState } from '../state/state-file.ts';

export interface EnrolmentSettings {
  /** Answer to csrattrs: CsrAttrs in Base64, or `none` for 204. */
  readonly csrAttributes: string;
  /** How often a request is told to come back before it is granted. */
  readonly approvals: number;
  /** Whether devices are certified by a CA below the one that the gateway knows. */
  readonly issuingCa: boolean;
  /** Whether cacerts keeps quiet about the CA that certifies devices. */
  readonly otherCacerts: boolean;
  /** Whether `POST /devices` makes RSA keys, instead of EC ones. */
  readonly sharedRsa: boolean;
  /** Whether PKCS#12 is packed as long ago: 3DES and RC2. */
  readonly sharedLegacy: boolean;
}

const DEFAULTS: EnrolmentSettings = {
  csrAttributes: 'none',
  approvals: 0,
  issuingCa: false,
  otherCacerts: false,
  sharedRsa: false,
  sharedLegacy: false,
};
type Flag = 'issuingCa' | 'otherCacerts' | 'sharedRsa' | 'sharedLegacy';

const LONGEST_ATTRIBUTES = 65_536;

export class EnrolmentSettingsFile {
  readonly #path: string;
  #settings: EnrolmentSettings;
  /** The last request for a certificate, PEM. */
  lastRequest = '';

  constructor(path: string) {
    this.#path = path;
    this.#settings = {
      ...DEFAULTS,
      ...(readState(path) as Partial<EnrolmentSettings> | undefined),
    };
  }

  get current(): EnrolmentSettings {
    return this.#settings;
  }

  /** Takes over the members that are there. */
  change(wanted: JsonReader): EnrolmentSettings {
    const before = this.#settings;
    const flag = (name: Flag): boolean => wanted.optionalBoolean(name) ?? before[name];
    this.#settings = {
      csrAttributes:
        wanted.optionalString('csrAttributes', LONGEST_ATTRIBUTES) ?? before.csrAttributes,
      approvals: wanted.optionalInteger('approvals', 0, 100) ?? before.approvals,
      issuingCa: flag('issuingCa'),
      otherCacerts: flag('otherCacerts'),
      sharedRsa: flag('sharedRsa'),
      sharedLegacy: flag('sharedLegacy'),
    };
    writeState(this.#path, this.#settings);
    return this.#settings;
  }
}
