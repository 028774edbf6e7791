/** Answers that come late, never, or with the end of the connection. */
import type { ReplyFaults } from '../world/server.ts';
import { OPCODE, type Frame } from '../world/wire.ts';

/** Which answers: to the command of this number, else to every request but HELLO. */
export interface Which {
  readonly command?: number | undefined;
}

interface Delay extends Which {
  readonly delayMs: number;
  times: number;
}

interface Drop extends Which {
  nth: number;
}

export class ReplyFaultPlan implements ReplyFaults {
  #delays: Delay[] = [];
  #drops: Drop[] = [];
  #swallowed: Which[] = [];
  #held: (() => void)[] = [];

  /** Answers that are swallowed and not given yet. */
  get heldCount(): number {
    return this.#held.length;
  }

  delay(which: Which, delayMs: number, times = Infinity): void {
    this.#delays.push({ ...which, delayMs, times });
  }

  /** @param nth - counted from 1, from now */
  drop(which: Which, nth: number): void {
    this.#drops.push({ ...which, nth });
  }

  swallow(which: Which): void {
    this.#swallowed.push(which);
  }

  /** Gives what was swallowed, so that nobody waits for ever. */
  clear(): void {
    const held = this.#held;
    this.#held = [];
    this.#delays = [];
    this.#drops = [];
    this.#swallowed = [];
    for (const send of held) send();
  }

  deliver(frame: Frame, send: () => void, cut: () => void): void {
    if (frame.opcode === OPCODE.HELLO) send();
    else if (this.#isDropped(frame)) cut();
    else if (this.#swallowed.some((which) => isMeant(which, frame))) this.#held.push(send);
    else this.#sendLate(frame, send);
  }

  #isDropped(frame: Frame): boolean {
    for (const drop of this.#drops) if (isMeant(drop, frame)) drop.nth -= 1;
    const left = this.#drops.filter(({ nth }) => nth > 0);
    const isDropped = left.length < this.#drops.length;
    this.#drops = left;
    return isDropped;
  }

  #sendLate(frame: Frame, send: () => void): void {
    const delay = this.#delays.find((each) => isMeant(each, frame));
    if (delay === undefined) {
      send();
      return;
    }
    delay.times -= 1;
    if (delay.times <= 0) this.#delays = this.#delays.filter((other) => other !== delay);
    setTimeout(send, delay.delayMs).unref();
  }
}

/** In an INVOKE the command follows the session. */
function isMeant({ command }: Which, { opcode, body }: Frame): boolean {
  if (command === undefined) return true;
  return opcode === OPCODE.INVOKE && Buffer.from(body).readUInt32LE(4) === command;
}
