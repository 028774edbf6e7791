/** A provisioned device, and what `ota-agent doctor` says of it when something was changed. */
import assert from 'node:assert/strict';
import { chmodSync, cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { doctorCommand } from '../../agent/commands/doctor.ts';
import type { Settings } from './device.ts';
import { describe as said, openWorld, type World } from './world.ts';

/** Some forty processes run the same files. */
const NODE_COMPILE_CACHE = join(import.meta.dirname, '../.cache/compile');

export interface Line {
  readonly name: string;
  readonly status: string;
  readonly detail: string;
  readonly remedy: string | null;
  readonly code: string | null;
}

export class Report {
  readonly exit: number;
  readonly outcome: unknown;
  readonly lines: ReadonlyMap<string, Line>;

  constructor(exit: number, json: object) {
    const { checks, outcome } = json as { checks: Line[]; outcome: unknown };
    this.exit = exit;
    this.outcome = outcome;
    this.lines = new Map(checks.map((line) => [line.name, line]));
  }

  finds(
    name: string,
    [status, code]: readonly [string, string | null],
    [detail, remedy]: readonly [RegExp, RegExp],
  ): void {
    const line = this.lines.get(name);
    assert.deepEqual([line?.status, line?.code], [status, code], `${name}: ${line?.detail ?? ''}`);
    assert.match(line?.detail ?? '', detail);
    assert.match(line?.remedy ?? '', remedy);
  }

  isOk(...names: readonly string[]): void {
    for (const name of names) {
      const line = this.lines.get(name);
      assert.equal(line?.status, 'ok', `${name}: ${line?.detail ?? ''}`);
    }
  }

  isSkipped(because: string, ...names: readonly string[]): void {
    for (const name of names) {
      const line = this.lines.get(name);
      assert.deepEqual([line?.status, line?.detail], ['skipped', `because of ${because}`], name);
    }
  }
}

export class DoctorBench {
  readonly world: World;

  private constructor(world: World) {
    this.world = world;
  }

  /** A device that has been through a cycle. */
  static async open(): Promise<DoctorBench> {
    const world = await openWorld('provisioned');
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
    return new DoctorBench(world);
  }

  close(): Promise<void> {
    return this.world.close();
  }

  /** Runs with changed settings and puts them back. */
  async doctor(changes: Settings = {}, env = {}, more = {}): Promise<Report> {
    const { device, tee } = this.world;
    const before = structuredClone(device.settings);
    device.configure(changes);
    try {
      const all = { ...process.env, ...tee.env, NODE_COMPILE_CACHE, ...env };
      const result = await doctorCommand([device.configPath], { env: all, ...more });
      assert.ok(!JSON.stringify(result).includes('2718-user'), 'shows the PIN');
      return new Report(result.exit, result.json);
    } finally {
      for (const table of Object.keys(changes)) device.settings[table] = before[table] ?? {};
      device.configure({});
    }
  }

  setting(table: string, name: string): string {
    return String(this.world.device.settings[table]?.[name]);
  }

  path(name: string): string {
    return join(this.world.directory, name);
  }

  /** @returns the path of a file with that content */
  file(name: string, content: string): string {
    writeFileSync(this.path(name), content, { mode: 0o600 });
    return this.path(name);
  }

  /** @returns the path of a copy of the storage, for a test to spoil */
  spoiled(name: string, spoil: (database: DatabaseSync) => void): string {
    const path = this.path(name);
    cpSync(this.setting('storage', 'path'), path, { recursive: true });
    chmodSync(path, 0o700);
    const database = new DatabaseSync(join(path, 'ota-agent.db'));
    spoil(database);
    database.close();
    return path;
  }
}
