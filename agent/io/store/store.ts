/** The Store port on SQLite. */
import { isFailureCode, type FailureCode } from '../../errors.ts';
import type {
  CatchUp,
  FailedImage,
  Finish,
  HistoryEntry,
  ReportNumber,
  Store,
} from '../../ports.ts';
import type { Ecu, EcuInventory, InstalledImage } from '../../uptane/inventory.ts';
import type { DeviceEvent } from '../../uptane/manifest.ts';
import type { Binding } from '../../uptane/standing.ts';
import type { Instant } from '../../uptane/time.ts';
import type { Keep } from '../../uptane/verify.ts';
import type { Database, Row, Transaction } from './database.ts';
import { getFact, putFact } from './fact.ts';
import { countFailures, parseFailures } from './failed-images.ts';
import { addPostponed, dropPostponed, parsePostponed } from './postponed-reports.ts';

const HISTORY_ENTRIES = 100;
/** A device that is offline for months must not fill its disk with events. */
const QUEUED_EVENTS = 1000;
/** Metadata lives for days; a floor that is a day old keeps as much of it out. */
const TIME_STEP_MS = 24 * 3_600_000;
const HIGHEST = 'highest_release_counter/';
const UNBOUND: Binding = { stateId: undefined, sequence: 0, sealed: false, failed: undefined };

export class SqliteStore implements Store {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  loadState(): Promise<string | undefined> {
    return this.fact('cycle_state');
  }

  saveState(state: string): Promise<void> {
    return this.saveFact('cycle_state', state);
  }

  async fact(name: string): Promise<string | undefined> {
    const [row] = await this.#database.all('SELECT value FROM fact WHERE name = ?', name);
    return row === undefined ? undefined : String(row['value']);
  }

  saveFact(name: string, value: string): Promise<void> {
    return this.#database.transaction((t) => putFact(t, name, value));
  }

  async loadTrusted(): Promise<ReadonlyMap<string, Uint8Array>> {
    const rows = await this.#database.all('SELECT name, bytes FROM metadata');
    return new Map(rows.map((row) => [String(row['name']), row['bytes'] as Uint8Array]));
  }

  keep(changes: readonly Keep[]): Promise<void> {
    return this.#database.transaction(async (t) => {
      for (const { repo, role, bytes } of changes) {
        const name = `${repo}/${role}`;
        if (bytes === undefined) await t.run('DELETE FROM metadata WHERE name = ?', name);
        else await t.run('INSERT OR REPLACE INTO metadata VALUES (?, ?)', name, bytes);
      }
    });
  }

  /** Replaces the list of ECUs; images already recorded for a serial that stays do, too. */
  saveEcus(ecus: readonly Ecu[]): Promise<void> {
    return this.#database.transaction(async (t) => {
      const before = await t.all('SELECT serial FROM ecu');
      for (const { serial } of before) {
        if (ecus.some((ecu) => ecu.serial === serial)) continue;
        await t.run('DELETE FROM installed WHERE ecu = ?', String(serial));
        await t.run('DELETE FROM ecu WHERE serial = ?', String(serial));
      }
      // Out of the way: two ECUs may change places.
      await t.run('UPDATE ecu SET position = -1 - position');
      const insert =
        'INSERT INTO ecu VALUES (?, ?, ?) ON CONFLICT (serial) DO UPDATE SET hardware_id = excluded.hardware_id, position = excluded.position';
      for (const [position, { serial, hardwareId }] of ecus.entries()) {
        await t.run(insert, serial, hardwareId, position);
      }
    });
  }

  async inventory(): Promise<readonly EcuInventory[]> {
    const rows = await this.#database.all(
      `SELECT serial, hardware_id, image, value AS highest FROM ecu
       LEFT JOIN installed ON ecu = serial AND current = 1
       LEFT JOIN fact ON name = 'highest_release_counter/' || serial ORDER BY position`,
    );
    return rows.map((row) => ({
      serial: String(row['serial']),
      hardwareId: String(row['hardware_id']),
      ...(typeof row['image'] === 'string' ? { installed: parseImage(row['image']) } : {}),
      ...(row['highest'] === null ? {} : { highestReleaseCounter: Number(row['highest']) }),
    }));
  }

  finish(end: Finish): Promise<void> {
    const { state, installed, history, planDigest, failed } = end;
    return this.#database.transaction(async (t) => {
      for (const image of installed) await recordInstalled(t, image);
      if (!failed)
        await putFact(t, 'last_updated', JSON.stringify(installed.map(({ ecu }) => ecu)));
      await countFailures(t, end);
      await t.run('INSERT INTO history (entry) VALUES (?)', JSON.stringify(history));
      const trim = 'DELETE FROM history WHERE seq <= (SELECT MAX(seq) FROM history) - ?';
      await t.run(trim, HISTORY_ENTRIES);
      await putFact(t, 'last_plan', planDigest);
      await putFact(t, 'failed_plan', failed ? planDigest : '');
      if (end.superseded !== undefined) {
        await putFact(t, 'superseded', JSON.stringify(end.superseded));
      }
      await putFact(t, 'cycle_state', state);
    });
  }

  intendRollBack(): Promise<void> {
    return this.saveFact('roll_back_intended', 'yes');
  }

  async rollBackIntended(): Promise<boolean> {
    return (await this.fact('roll_back_intended')) !== undefined;
  }

  restorePrevious(ecus: readonly string[]): Promise<void> {
    return this.#database.transaction(async (t) => {
      await t.run("DELETE FROM fact WHERE name = 'roll_back_intended'");
      for (const ecu of ecus) {
        await t.run('DELETE FROM installed WHERE ecu = ? AND current = 1', ecu);
        await t.run('UPDATE installed SET current = 1 WHERE ecu = ?', ecu);
      }
      if (ecus.length === 0) return;
      await t.run(
        "INSERT OR REPLACE INTO fact SELECT 'failed_plan', value FROM fact WHERE name = 'last_plan'",
      );
    });
  }

  async lastUpdated(): Promise<readonly string[] | undefined> {
    const text = await this.fact('last_updated');
    return text === undefined ? undefined : (JSON.parse(text) as string[]);
  }

  waiting(): Promise<string | undefined> {
    return this.fact('waiting');
  }

  saveWaiting(waiting: string | undefined): Promise<void> {
    if (waiting !== undefined) return this.saveFact('waiting', waiting);
    return this.#database.transaction((t) => t.run("DELETE FROM fact WHERE name = 'waiting'"));
  }

  postponeReport(result: string, state: string): Promise<void> {
    return this.#database.transaction(async (t) => {
      await addPostponed(t, result);
      await putFact(t, 'cycle_state', state);
    });
  }

  async postponedReports(): Promise<readonly string[]> {
    return parsePostponed(await this.fact('postponed_reports'));
  }

  dropPostponedReport(): Promise<void> {
    return this.#database.transaction(dropPostponed);
  }

  async superseded(): Promise<ReadonlySet<string>> {
    return new Set(JSON.parse((await this.fact('superseded')) ?? '[]') as string[]);
  }

  async failedImages(): Promise<ReadonlyMap<string, FailedImage>> {
    return parseFailures(await this.fact('failed_images'));
  }

  async failedPlan(): Promise<string | undefined> {
    const plan = await this.fact('failed_plan');
    return plan === '' ? undefined : plan;
  }

  async history(): Promise<readonly HistoryEntry[]> {
    const rows = await this.#database.all('SELECT entry FROM history ORDER BY seq DESC');
    return rows.map((row) => JSON.parse(String(row['entry'])) as HistoryEntry);
  }

  nextReport(now: Instant): Promise<ReportNumber> {
    return this.#database.transaction(async (t) => {
      const last = await getFact(t, 'report_counter');
      const counter = last === undefined ? firstCounter(now) : Number(last) + 1;
      const previousTime = Number((await getFact(t, 'report_time_ms')) ?? 0) as Instant;
      await putFact(t, 'report_counter', String(counter));
      await putFact(t, 'report_time_ms', String(now));
      return { counter, previousTime };
    });
  }

  async latestKnownTime(): Promise<Instant> {
    return Number((await this.fact('latest_known_time_ms')) ?? 0) as Instant;
  }

  async raiseLatestKnownTime(now: Instant): Promise<void> {
    if (now < (await this.latestKnownTime()) + TIME_STEP_MS) return;
    await this.saveFact('latest_known_time_ms', String(now));
  }

  async refusal(): Promise<string | undefined> {
    const code = await this.fact('refusal');
    return code === '' ? undefined : code;
  }

  /** Writes only when it changes: an idle poll costs one durable write, the report counter. */
  async saveRefusal(code: string | undefined): Promise<void> {
    if ((await this.refusal()) !== code) await this.saveFact('refusal', code ?? '');
  }

  async unreportedAttacks(): Promise<readonly FailureCode[]> {
    return parseCodes(await this.fact('unreported_attacks'));
  }

  noteAttack(code: FailureCode): Promise<void> {
    return this.#changeUnreported((codes) => (codes.includes(code) ? codes : [...codes, code]));
  }

  attacksReported(reported: readonly FailureCode[]): Promise<void> {
    return this.#changeUnreported((codes) => codes.filter((code) => !reported.includes(code)));
  }

  async releaseCounters(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#database.all(
      'SELECT name, value FROM fact WHERE name GLOB ?',
      `${HIGHEST}*`,
    );
    return new Map(
      rows.map(({ name, value }) => [String(name).slice(HIGHEST.length), Number(value)]),
    );
  }

  async binding(): Promise<Binding> {
    const text = await this.fact('anchor');
    return text === undefined ? UNBOUND : (JSON.parse(text) as Binding);
  }

  saveBinding(binding: Binding): Promise<void> {
    return this.saveFact('anchor', JSON.stringify(binding));
  }

  catchUp({ binding, state, ...seal }: CatchUp): Promise<void> {
    return this.#database.transaction(async (t) => {
      // Without a report there is no counter yet, and the first one is not 1.
      if (seal.reports > 0) await raiseFact(t, 'report_counter', seal.reports);
      await raiseFact(t, 'latest_known_time_ms', seal.latestKnownTime);
      for (const [ecu, counter] of seal.releases) await raiseFact(t, HIGHEST + ecu, counter);
      for (const ecu of seal.unknown) await t.run('DELETE FROM installed WHERE ecu = ?', ecu);
      await t.run("DELETE FROM fact WHERE name = 'roll_back_intended'");
      await putFact(t, 'cycle_state', state);
      await putFact(t, 'anchor', JSON.stringify(binding));
      if (seal.attack === undefined) return;
      const codes = new Set(parseCodes(await getFact(t, 'unreported_attacks')));
      await putFact(t, 'unreported_attacks', [...codes.add(seal.attack)].join(' '));
    });
  }

  queueEvent(event: DeviceEvent): Promise<void> {
    return this.#database.transaction(async (t) => {
      const insert = 'INSERT OR IGNORE INTO event (id, event) VALUES (?, ?)';
      await t.run(insert, event.id, JSON.stringify(event));
      const trim = 'DELETE FROM event WHERE seq <= (SELECT MAX(seq) FROM event) - ?';
      await t.run(trim, QUEUED_EVENTS);
    });
  }

  async queuedEvents(limit: number): Promise<readonly DeviceEvent[]> {
    const rows = await this.#database.all('SELECT event FROM event ORDER BY seq LIMIT ?', limit);
    return rows.map((row) => JSON.parse(String(row['event'])) as DeviceEvent);
  }

  dropEvents(ids: readonly string[]): Promise<void> {
    return this.#database.transaction(async (t) => {
      for (const id of ids) await t.run('DELETE FROM event WHERE id = ?', id);
    });
  }

  /** Each code is in it once, so it cannot grow without end. */
  #changeUnreported(
    change: (codes: readonly FailureCode[]) => readonly FailureCode[],
  ): Promise<void> {
    return this.#database.transaction(async (t) => {
      const before = parseCodes(await getFact(t, 'unreported_attacks'));
      const after = change(before);
      if (after.length !== before.length) await putFact(t, 'unreported_attacks', after.join(' '));
    });
  }
}

async function recordInstalled(t: Transaction, image: InstalledImage): Promise<void> {
  const text = formatImage(image);
  const current = 'SELECT image FROM installed WHERE ecu = ? AND current = 1';
  const [row]: Row[] = await t.all(current, image.ecu);
  if (row?.['image'] === text) return;
  await raiseReleaseCounter(t, image);
  const insert = 'INSERT OR REPLACE INTO installed VALUES (?, ?, ?)';
  if (row !== undefined) await t.run(insert, image.ecu, 0, String(row['image']));
  await t.run(insert, image.ecu, 1, text);
}

/** Never lowered: going back by hand must not open the way to other old images. */
async function raiseReleaseCounter(
  t: Transaction,
  { ecu, releaseCounter }: InstalledImage,
): Promise<void> {
  if (releaseCounter === undefined) return;
  await raiseFact(t, HIGHEST + ecu, releaseCounter);
}

/**
 * A device whose database was lost must not start at 1 again: the Director refuses counters that it
 * has seen. The seconds since the epoch are above any number of polls so far.
 */
function firstCounter(now: Instant): number {
  return Math.floor(now / 1000);
}

async function raiseFact(t: Transaction, name: string, floor: number): Promise<void> {
  const present = await getFact(t, name);
  if (present === undefined || Number(present) < floor) await putFact(t, name, String(floor));
}

/** A code that a later agent wrote is not known here, and is left out. */
function parseCodes(text = ''): readonly FailureCode[] {
  return text.split(' ').filter(isFailureCode);
}

function formatImage(image: InstalledImage): string {
  return JSON.stringify({ ...image, hashes: [...image.hashes] });
}

function parseImage(text: string): InstalledImage {
  const image = JSON.parse(text) as InstalledImage & { hashes: [string, string][] };
  return { ...image, hashes: new Map(image.hashes) };
}
