/** The tables, the same in SQLite and PostgreSQL. */
import type { Knex } from 'knex';

import type { MemberState } from '../rollouts/rollout.ts';

export interface DeviceRow {
  readonly id: string;
  readonly document: string;
  readonly hardware_id: string;
  readonly image: string;
  readonly state: string;
}

export interface DocumentRow {
  readonly id: string;
  readonly device_id: string;
  readonly kind: string;
  readonly event_id: string | null;
  readonly document: string;
}

export interface MemberTableRow {
  readonly rollout_id: string;
  readonly device_id: string;
  readonly phase: number;
  readonly state: MemberState;
}

/** Any number that no other program uses. */
const SCHEMA_LOCK = 0x0d1e_c708;

/** Makes what is not there. Several servers may start at once. */
export async function createTables(database: Knex): Promise<void> {
  await database.transaction(async (trx) => {
    if (isPostgres(database)) await trx.raw('select pg_advisory_xact_lock(?)', [SCHEMA_LOCK]);
    if (await trx.schema.hasTable('devices')) return;
    await trx.schema.createTable('devices', (table) => {
      table.string('id', 64).primary();
      table.text('document').notNullable();
      table.text('hardware_id').notNullable();
      table.text('image').notNullable();
      table.text('state').notNullable();
      table.index(['hardware_id', 'image', 'state']);
    });
    await trx.schema.createTable('issued', (table) => {
      table.string('device_id', 64).primary();
      table.text('document').notNullable();
    });
    await trx.schema.createTable('records', (table) => {
      table.bigIncrements('id');
      table.string('device_id', 64).notNullable();
      table.string('kind', 16).notNullable();
      table.string('event_id', 64);
      table.text('document').notNullable();
      table.index(['device_id', 'kind', 'id']);
      table.unique(['device_id', 'event_id']);
    });
    await createRolloutTables(trx);
  });
}

async function createRolloutTables(trx: Knex.Transaction): Promise<void> {
  await trx.schema.createTable('rollouts', (table) => {
    table.bigIncrements('number');
    table.string('id', 64).unique().notNullable();
    table.string('state', 16).notNullable().index();
    table.text('document').notNullable();
  });
  await trx.schema.createTable('members', (table) => {
    table.string('rollout_id', 64).notNullable();
    table.string('device_id', 64).notNullable();
    table.integer('phase').notNullable();
    table.string('state', 16).notNullable();
    table.primary(['rollout_id', 'device_id']);
    table.index(['rollout_id', 'phase', 'state']);
  });
}

export function isPostgres(database: Knex): boolean {
  return (database.client as { readonly config: Knex.Config }).config.client === 'pg';
}
