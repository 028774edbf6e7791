/** One device in one transaction. */
import type { Knex } from 'knex';

import type { IssuedSet } from '../metadata/metadata-set.ts';
import type { Member, Rollout } from '../rollouts/rollout.ts';
import { newDevice, type Device, type RecordKind } from './devices.ts';
import type { DeviceRow, DocumentRow, MemberTableRow } from './schema.ts';
import { rolloutOf, type RolloutRow } from './sql-rollout.ts';
import type { DeviceState, HeldDevice } from './store.ts';

/** A device that polls every second for half an hour fills this. */
const MAX_RECORDS = 2000;
/** Records are thinned out with every so manyth. */
const THINNED_EVERY = 50;

export class SqlHeldDevice implements HeldDevice {
  readonly #trx: Knex.Transaction;
  #device: Device;

  private constructor(trx: Knex.Transaction, device: Device) {
    this.#trx = trx;
    this.#device = device;
  }

  /**
   * Locks the row, by writing it: SQLite has no other lock, and a transaction of it that begins with a
   * read fails where another server wrote in between.
   */
  static async hold(trx: Knex.Transaction, id: string): Promise<SqlHeldDevice> {
    const [row] = await trx<DeviceRow>('devices')
      .insert(rowOf(newDevice(id)))
      .onConflict('id')
      .merge(['id'])
      .returning('document');
    return new SqlHeldDevice(trx, JSON.parse(row?.document ?? '') as Device);
  }

  get device(): Device {
    return this.#device;
  }

  async save(device: Device): Promise<void> {
    const { id, ...columns } = rowOf(device);
    await this.#trx<DeviceRow>('devices').where({ id }).update(columns);
    this.#device = device;
  }

  async keep(kind: RecordKind, record: object, eventId?: string): Promise<void> {
    const row = {
      device_id: this.#device.id,
      kind,
      event_id: eventId ?? null,
      document: JSON.stringify(record),
    };
    const [kept] = await this.#trx<DocumentRow>('records')
      .insert(row)
      .onConflict(['device_id', 'event_id'])
      .ignore()
      .returning('id');
    if (kept !== undefined && Number(kept.id) % THINNED_EVERY === 0) await this.#thinOut(kind);
  }

  async issued(): Promise<IssuedSet | undefined> {
    const row = await this.#trx<DocumentRow>('issued')
      .where({ device_id: this.#device.id })
      .first('document');
    return row === undefined ? undefined : (JSON.parse(row.document) as IssuedSet);
  }

  async saveIssued(issued: IssuedSet): Promise<void> {
    await this.#trx('issued')
      .insert({ device_id: this.#device.id, document: JSON.stringify(issued) })
      .onConflict('device_id')
      .merge();
  }

  async running(): Promise<readonly Rollout[]> {
    const rows = await this.#trx<RolloutRow>('rollouts')
      .where({ state: 'running' })
      .orderBy('number')
      .select('document');
    return rows.map(rolloutOf);
  }

  async heldRollout(id: string): Promise<Rollout | undefined> {
    const row = await this.#trx<RolloutRow>('rollouts').where({ id }).forShare().first('document');
    return row === undefined ? undefined : rolloutOf(row);
  }

  async member(rolloutId: string): Promise<Member | undefined> {
    return this.#trx<MemberTableRow>('members')
      .where({ rollout_id: rolloutId, device_id: this.#device.id })
      .first('phase', 'state');
  }

  async saveMember(rolloutId: string, { phase, state }: Member): Promise<void> {
    await this.#trx('members')
      .insert({ rollout_id: rolloutId, device_id: this.#device.id, phase, state })
      .onConflict(['rollout_id', 'device_id'])
      .merge();
  }

  async #thinOut(kind: RecordKind): Promise<void> {
    const own = { device_id: this.#device.id, kind };
    const last = await this.#trx<DocumentRow>('records')
      .where(own)
      .orderBy('id', 'desc')
      .offset(MAX_RECORDS)
      .first('id');
    if (last !== undefined) await this.#trx('records').where(own).where('id', '<=', last.id).del();
  }
}

export function rowOf(device: Device): DeviceRow {
  const { id, primary, ecus, installed } = device;
  return {
    id,
    document: JSON.stringify(device),
    hardware_id: ecus.find(({ serial }) => serial === primary)?.hardwareId ?? '',
    image: installed[primary ?? '']?.filename ?? '',
    state: stateOf(device),
  };
}

function stateOf({ lastManifestAt, assignment, lastFailure }: Device): DeviceState {
  if (lastManifestAt === undefined) return 'silent';
  if (assignment === undefined) return lastFailure === undefined ? 'idle' : 'failed';
  const { outcome } = assignment;
  return outcome === 'pending' ? 'updating' : outcome === 'done' ? 'idle' : 'failed';
}
