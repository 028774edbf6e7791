/** One rollout in one transaction, and what its devices are doing. */
import type { Knex } from 'knex';

import { NO_DEVICES, type PhaseCounts, type Rollout } from '../rollouts/rollout.ts';
import type { HeldRollout } from './store.ts';

export interface RolloutRow {
  readonly number: string;
  readonly id: string;
  readonly state: string;
  readonly document: string;
}

/** SQLite takes at most 999 values in one statement. */
const ENROLLED_AT_ONCE = 200;

export class SqlHeldRollout implements HeldRollout {
  readonly rollout: Rollout;
  readonly #trx: Knex.Transaction;

  private constructor(trx: Knex.Transaction, rollout: Rollout) {
    this.#trx = trx;
    this.rollout = rollout;
  }

  /** By a write, as devices are held. */
  static async hold(trx: Knex.Transaction, id: string): Promise<SqlHeldRollout | undefined> {
    const [row] = await trx<RolloutRow>('rollouts')
      .where({ id })
      .update({ id })
      .returning('document');
    return row === undefined ? undefined : new SqlHeldRollout(trx, rolloutOf(row));
  }

  async save(rollout: Rollout): Promise<void> {
    const { id, state } = rollout;
    const document = JSON.stringify(rollout);
    await this.#trx('rollouts').where({ id }).update({ state, document });
  }

  async counts(): Promise<readonly PhaseCounts[]> {
    return countMembers(this.#trx, this.rollout);
  }

  async enrol(members: ReadonlyMap<string, number>): Promise<void> {
    const rows = [...members].map(([id, phase]) => ({
      rollout_id: this.rollout.id,
      device_id: id,
      phase,
      state: 'waiting',
    }));
    for (let at = 0; at < rows.length; at += ENROLLED_AT_ONCE) {
      await this.#trx('members').insert(rows.slice(at, at + ENROLLED_AT_ONCE));
    }
  }
}

export function rolloutOf({ document }: Pick<RolloutRow, 'document'>): Rollout {
  return JSON.parse(document) as Rollout;
}

interface Counted {
  readonly phase?: unknown;
  readonly state?: unknown;
  readonly devices?: unknown;
}

/** Of every phase of a rollout. */
export async function countMembers(
  database: Knex,
  { id, phases }: Rollout,
): Promise<readonly PhaseCounts[]> {
  const rows: readonly Counted[] = await database('members')
    .where({ rollout_id: id })
    .groupBy('phase', 'state')
    .select('phase', 'state')
    .count({ devices: '*' });
  return phases.map((_, phase) => {
    const own = rows.filter((row) => row.phase === phase);
    return {
      ...NO_DEVICES,
      ...Object.fromEntries(own.map((row) => [String(row.state), Number(row.devices)])),
    };
  });
}
