/** What a check of `ota-agent doctor` is: a name, what it stands on, and one finding. */
import type { SecureContext } from 'node:tls';

import type { LoadedSettings } from '../../config-problem.ts';
import type { Storage } from '../../assemble.ts';
import { OtaError, type FailureCode } from '../../errors.ts';
import type { HttpClient } from '../../io/http.ts';
import type { ServerTrust } from '../../io/tls.ts';
import type { Credential } from '../../io/token/identity.ts';
import type { Token } from '../../io/token/token.ts';
import type { Clock } from '../../ports.ts';
import type { Instant } from '../../uptane/time.ts';

/** What a check says that did not fail; a check that fails throws an `OtaError`. */
export interface Finding {
  /** `skipped`: does not apply to this device, which keeps nothing else from being looked at. */
  readonly status: 'ok' | 'warn' | 'skipped';
  readonly detail: string;
  /** For `warn`: what a person does about it. */
  readonly remedy?: string;
  readonly code?: FailureCode;
}

export interface Check {
  readonly name: string;
  /** Checks whose failure makes this one pointless; they come earlier in the list. */
  readonly needs: readonly string[];
  /** The failure that this is, where it dies, hangs or throws something else. */
  readonly code: FailureCode;
  readonly examine: (examination: Examination) => Finding | Promise<Finding>;
}

/** A line of the report. */
export interface Result {
  readonly name: string;
  readonly status: Finding['status'] | 'fail';
  readonly detail: string;
  readonly remedy?: string;
  readonly code?: FailureCode;
}

/** What one check finds for those that stand on it. */
interface Facts {
  readonly loaded: LoadedSettings;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly token: Token;
  readonly credential: Credential;
  readonly contextFor: (trust: ServerTrust) => SecureContext;
  readonly trust: ServerTrust;
  readonly http: HttpClient;
  /** Absent where the gateway does not say. */
  readonly gatewayDate: Instant | undefined;
}

export class Examination {
  readonly config: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly #facts = new Map<keyof Facts, unknown>();

  constructor(config: readonly string[], env: NodeJS.ProcessEnv) {
    this.config = config;
    this.env = env;
  }

  note<N extends keyof Facts>(name: N, fact: Facts[N]): void {
    this.#facts.set(name, fact);
  }

  /** For checks that can do without. */
  find<N extends keyof Facts>(name: N): Facts[N] | undefined {
    return this.#facts.get(name) as Facts[N] | undefined;
  }

  /** @throws OtaError BUG where the check that notes it is not among `needs` */
  get<N extends keyof Facts>(name: N): Facts[N] {
    const fact = this.find(name);
    if (fact === undefined) throw new OtaError('BUG', { what: `no check has noted ${name}` });
    return fact;
  }
}

export function ok(detail: string): Finding {
  return { status: 'ok', detail };
}

export function warn(detail: string, remedy: string, code?: FailureCode): Finding {
  return { status: 'warn', detail, remedy, ...(code === undefined ? {} : { code }) };
}

export function notHere(detail: string): Finding {
  return { status: 'skipped', detail };
}
