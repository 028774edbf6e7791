/** The identity that a running process uses, and that may change while it runs. */
import { isOtaError } from '../../errors.ts';
import type { Signer } from '../../ports.ts';
import type { Identity } from './identity.ts';

export class LiveIdentity {
  #current: Identity;
  /** Signs with whichever key is in use when it is asked. */
  readonly signer: Signer;

  constructor(identity: Identity) {
    this.#current = identity;
    const signer = (): Signer => this.#current.signer;
    this.signer = {
      get keyId() {
        return signer().keyId;
      },
      get method() {
        return signer().method;
      },
      sign: (payload) => signer().sign(payload),
    };
  }

  get current(): Identity {
    return this.#current;
  }

  /** The one of before is closed. */
  exchange(identity: Identity): void {
    const before = this.#current;
    this.#current = identity;
    closeSession(before);
  }

  close(): void {
    closeSession(this.#current);
  }
}

/** A token that died has ended the session itself, and what it was used for has been told already. */
function closeSession({ token }: Identity): void {
  try {
    token.close();
  } catch (error) {
    if (!isOtaError(error)) throw error;
  }
}
