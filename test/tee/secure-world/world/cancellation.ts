/**
 * Whether the client wants an operation to end, and whether the TA lets itself be told.
 *
 * Masked when the TA is entered, so that a TA that does not know of cancellation is never disturbed.
 *
 * Source: GlobalPlatform TEE Internal Core API v1.3 §4.10 and §7.3 (TEE_Wait).
 */
import { TEE } from './results.ts';

/** TEE_TIMEOUT_INFINITE. */
export const INFINITE = 0xffff_ffff;
/** The longest delay of Node's timers, 24 days: a longer wait ends then. */
const MAX_TIMER_MS = 0x7fff_ffff;

export class Cancellation {
  #isRequested = false;
  #isMasked = true;
  #wake: (() => void) | undefined;

  /** TEE_GetCancellationFlag: false while masked. */
  get flag(): boolean {
    return this.#isRequested && !this.#isMasked;
  }

  /** TEE_MaskCancellation. @returns whether it was masked before */
  mask(): boolean {
    const was = this.#isMasked;
    this.#isMasked = true;
    return was;
  }

  /** TEE_UnmaskCancellation; a request that came before takes effect. @returns as `mask` */
  unmask(): boolean {
    const was = this.#isMasked;
    this.#isMasked = false;
    if (this.#isRequested) this.#wake?.();
    return was;
  }

  /** TEE_Wait. @returns TEE_SUCCESS when the time is over, TEE_ERROR_CANCEL when cancelled before */
  wait(timeoutMs: number): Promise<number> {
    if (this.flag) return Promise.resolve(TEE.CANCEL);
    return new Promise((resolve) => {
      const end = (result: number): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve(result);
      };
      const timer = timeoutMs === INFINITE ? undefined : startTimer(timeoutMs, end);
      this.#wake = () => {
        end(TEE.CANCEL);
      };
    });
  }

  /** What the world does when the client asks. */
  request(): void {
    this.#isRequested = true;
    if (!this.#isMasked) this.#wake?.();
  }

  /** Before the TA is entered there is no mask: `leave` is called on a request. */
  whileQueued(leave: () => void): void {
    this.#isMasked = false;
    this.#wake = leave;
  }

  /** The TA is entered after all. */
  begin(): void {
    this.#isMasked = true;
    this.#wake = undefined;
  }
}

/** A TA that waits does not keep a world alive that was asked to end. */
function startTimer(timeoutMs: number, end: (result: number) => void): NodeJS.Timeout {
  return setTimeout(end, Math.min(timeoutMs, MAX_TIMER_MS), TEE.SUCCESS).unref();
}
