/** Holds a conversation with the verification core from memory, and remembers everything said. */
import type { Repo } from '../../agent/errors.ts';
import type { EcuInventory } from '../../agent/uptane/inventory.ts';
import { verifyFirstRoot } from '../../agent/uptane/store.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { verifyOffline, type OfflineVerdict } from '../../agent/uptane/offline.ts';
import {
  verify,
  type Answer,
  type Conversation,
  type Need,
  type Verdict,
  type VerifyInput,
} from '../../agent/uptane/verify.ts';

/** What a repository serves under a file name. */
export type Serve = (repo: Repo, file: string) => Answer;

/** A device as far as verification is concerned: it keeps what it is told to, and nothing else. */
export class MemoryDevice {
  readonly trusted: Map<string, Uint8Array>;
  inventory: readonly EcuInventory[];
  now: Instant;
  /** What an update on a medium has replaced. */
  superseded: ReadonlySet<string> = new Set();
  /** Every file asked for in the last run, as `REPO/FILE`. */
  requests: string[] = [];
  /** Every role kept or forgotten in the last run, as `REPO/ROLE`, in order. */
  kept: string[] = [];

  /** @throws OtaError if one of `roots` cannot start a chain of trust */
  constructor(
    roots: Readonly<Record<Repo, Uint8Array>>,
    inventory: readonly EcuInventory[],
    now: Instant,
  ) {
    verifyFirstRoot('director', roots.director);
    verifyFirstRoot('image', roots.image);
    this.trusted = new Map([
      ['director/root', roots.director],
      ['image/root', roots.image],
    ]);
    this.inventory = inventory;
    this.now = now;
  }

  /**
   * Verifies once. What was kept before a refusal stays kept, as on a device.
   *
   * @param powerCutAfter - how many roles can be kept before the power fails
   */
  verify(serve: Serve, powerCutAfter = Infinity): Verdict {
    return this.#converse(verify(this.#known()), serve, powerCutAfter);
  }

  /** The same for what is on a medium. */
  verifyOffline(serve: Serve, lockboxes: readonly string[]): OfflineVerdict {
    const input = { ...this.#known(), source: '/stick', lockboxes };
    return this.#converse(verifyOffline(input), serve, Infinity);
  }

  #known(): Pick<VerifyInput, 'trusted' | 'inventory' | 'now' | 'superseded'> {
    const { inventory, now, superseded } = this;
    return { trusted: new Map(this.trusted), inventory, now, superseded };
  }

  #converse<T>(talk: Conversation<T>, serve: Serve, powerCutAfter: number): T {
    this.requests = [];
    this.kept = [];
    let turn = talk.next();
    while (turn.done !== true) {
      const isKeep = turn.value.need === 'keep';
      if (isKeep && this.kept.length === powerCutAfter) throw new Error('power cut');
      turn = talk.next(this.#answer(turn.value, serve));
    }
    return turn.value;
  }

  /** Verifies once and installs everything at once. */
  update(serve: Serve): Verdict {
    const verdict = this.verify(serve);
    this.inventory = this.inventory.map((ecu) => {
      const target = verdict.targets.find(({ ecu: serial }) => serial === ecu.serial);
      return target === undefined ? ecu : { ...ecu, installed: target };
    });
    return verdict;
  }

  #answer(need: Need, serve: Serve): Answer {
    if (need.need === 'fetch') {
      this.requests.push(`${need.repo}/${need.file}`);
      return serve(need.repo, need.file);
    }
    const name = `${need.repo}/${need.role}`;
    this.kept.push(name);
    if (need.bytes === undefined) this.trusted.delete(name);
    else this.trusted.set(name, need.bytes);
    return undefined;
  }
}
