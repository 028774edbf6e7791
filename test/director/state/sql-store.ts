/** The store in SQLite or PostgreSQL: what is looked for is a column, the rest is JSON. */
import type { Knex } from 'knex';

import type { IssuedSet } from '../metadata/metadata-set.ts';
import type { Member, PhaseCounts, Rollout } from '../rollouts/rollout.ts';
import { openDatabase, whileReachable } from './database.ts';
import { newDevice, type Device, type RecordKind } from './devices.ts';
import { countMembers, SqlHeldRollout, rolloutOf, type RolloutRow } from './sql-rollout.ts';
import { rowOf, SqlHeldDevice } from './sql-device.ts';
import { createTables, type DeviceRow, type DocumentRow, type MemberTableRow } from './schema.ts';
import type { FleetRow, HeldDevice, HeldRollout, MemberRow, Store } from './store.ts';

const MEMBERS = 1000;
const IDS = 50;

export class SqlStore implements Store {
  readonly #database: Knex;
  readonly #met = new Set<string>();

  private constructor(database: Knex) {
    this.#database = database;
  }

  /**
   * @param where - `postgres://…`, or the path of an SQLite file
   * @throws DirectorFailure when it cannot be opened
   */
  static async open(where: string): Promise<SqlStore> {
    return new SqlStore(await openDatabase(where, createTables));
  }

  async find(id: string): Promise<Device | undefined> {
    const row = await whileReachable(
      this.#database<DeviceRow>('devices').where({ id }).first('document'),
    );
    return row === undefined ? undefined : (JSON.parse(row.document) as Device);
  }

  async list(): Promise<readonly Device[]> {
    const rows = await whileReachable(
      this.#database<DeviceRow>('devices').orderBy('id').select('document'),
    );
    return rows.map((row) => JSON.parse(row.document) as Device);
  }

  async idsOf(begins: string): Promise<readonly string[]> {
    const rows = await whileReachable(
      this.#database<DeviceRow>('devices')
        .whereRaw('substr(id, 1, ?) = ?', [begins.length, begins])
        .orderBy('id')
        .limit(IDS)
        .select('id'),
    );
    return rows.map(({ id }) => id);
  }

  async count(): Promise<number> {
    const row = await whileReachable(
      this.#database('devices').count({ devices: '*' }).first<{ readonly devices: unknown }>(),
    );
    return Number(row.devices);
  }

  async fleet(): Promise<readonly FleetRow[]> {
    const columns = ['hardware_id', 'image', 'state'];
    const rows = await whileReachable(
      this.#database('devices')
        .groupBy(columns)
        .orderBy(columns)
        .select(columns)
        .count({ devices: '*' }),
    );
    return (rows as readonly Record<string, unknown>[]).map((row) => ({
      hardwareId: String(row['hardware_id']),
      image: String(row['image']),
      state: row['state'] as FleetRow['state'],
      devices: Number(row['devices']),
    }));
  }

  async issued(id: string): Promise<IssuedSet | undefined> {
    const row = await whileReachable(
      this.#database<DocumentRow>('issued').where({ device_id: id }).first('document'),
    );
    return row === undefined ? undefined : (JSON.parse(row.document) as IssuedSet);
  }

  async records(id: string, kind: RecordKind): Promise<readonly unknown[]> {
    const rows = await whileReachable(
      this.#database<DocumentRow>('records')
        .where({ device_id: id, kind })
        .orderBy('id')
        .select('document'),
    );
    return rows.map((row) => JSON.parse(row.document) as unknown);
  }

  async meet(id: string): Promise<void> {
    if (this.#met.has(id)) return;
    const row = rowOf(newDevice(id));
    await whileReachable(this.#database('devices').insert(row).onConflict('id').ignore());
    this.#met.add(id);
  }

  async hold<T>(id: string, work: (held: HeldDevice) => T | Promise<T>): Promise<T> {
    return whileReachable(
      this.#database.transaction(async (trx) => work(await SqlHeldDevice.hold(trx, id))),
    );
  }

  async rollouts(): Promise<readonly Rollout[]> {
    const rows = await whileReachable(
      this.#database<RolloutRow>('rollouts').orderBy('number', 'desc').select('document'),
    );
    return rows.map(rolloutOf);
  }

  async findRollout(id: string): Promise<Rollout | undefined> {
    const row = await whileReachable(
      this.#database<RolloutRow>('rollouts').where({ id }).first('document'),
    );
    return row === undefined ? undefined : rolloutOf(row);
  }

  async addRollout(rollout: Rollout): Promise<void> {
    const { id, state } = rollout;
    const document = JSON.stringify(rollout);
    await whileReachable(this.#database('rollouts').insert({ id, state, document }));
  }

  async counts(rollout: Rollout): Promise<readonly PhaseCounts[]> {
    return whileReachable(countMembers(this.#database, rollout));
  }

  async members(rolloutId: string, state: Member['state']): Promise<readonly MemberRow[]> {
    const rows = await whileReachable(
      this.#database<MemberTableRow>('members')
        .where({ rollout_id: rolloutId, state })
        .orderBy('device_id')
        .limit(MEMBERS)
        .select('device_id', 'phase', 'state'),
    );
    return rows.map((row) => ({ deviceId: row.device_id, phase: row.phase, state: row.state }));
  }

  async holdRollout<T>(
    id: string,
    work: (held: HeldRollout) => T | Promise<T>,
  ): Promise<T | undefined> {
    return whileReachable(
      this.#database.transaction(async (trx) => {
        const held = await SqlHeldRollout.hold(trx, id);
        return held === undefined ? undefined : work(held);
      }),
    );
  }

  async close(): Promise<void> {
    await this.#database.destroy();
  }
}
