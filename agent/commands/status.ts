/** What is known about this device, for people and for scripts. */
import { OtaError } from '../errors.ts';
import { parseRecord } from '../../provisioning/rotation-record.ts';
import { askDaemon } from '../io/api/client.ts';
import type { SqliteStore } from '../io/store/store.ts';
import type { HistoryEntry } from '../ports.ts';
import type { EcuInventory } from '../uptane/inventory.ts';
import { formatInstant } from '../uptane/time.ts';
import { loadState } from '../cycle/drive.ts';
import { heldJson, heldUpdate } from '../cycle/hold.ts';
import { withStorage, type CommandContext } from './context.ts';
import type { CommandResult } from './result.ts';

/** Identity, images per ECU, cycle state and the last verdict; from the daemon where one runs. */
export async function statusCommand(context: CommandContext): Promise<CommandResult> {
  const [first, ...more] = context.rest;
  if (first === undefined) return statusNow(context);
  if (first !== '--watch' || more.length > 0) {
    const what = `status does not take ${context.rest.join(' ')}`;
    throw new OtaError('USAGE', { what, remedy: 'ota-agent status [--watch]' });
  }
  const { watchStatus } = await import('./watch-status.ts');
  const { socket } = context.loaded.settings.api;
  const watched = { socket, isJson: context.json, first: await statusNow(context) };
  return watchStatus(watched, process.stdout);
}

export async function statusNow(context: CommandContext): Promise<CommandResult> {
  const { socket } = context.loaded.settings.api;
  const answer = await askDaemon(socket, { method: 'GET', path: '/v1/status' });
  const { type } = context.loaded.settings.installer;
  const status = answer ?? (await withStorage(context, ({ store }) => readStatus(store, type)));
  return { exit: 0, json: status, lines: statusLines(status) };
}

/** Past updates, newest first; from the daemon where one runs. */
export async function historyCommand(context: CommandContext): Promise<CommandResult> {
  const { socket } = context.loaded.settings.api;
  const answer = await askDaemon(socket, { method: 'GET', path: '/v1/history' });
  const history = (answer?.['history'] ??
    (await withStorage(context, ({ store }) => readHistory(store)))) as readonly HistoryJson[];
  const lines = history.map(
    ({ endedAt, code, filenames, description }) =>
      `${endedAt}  ${code.padEnd(20)}  ${filenames.join(', ')}  ${description}`,
  );
  return { exit: 0, json: { history }, lines: lines.length === 0 ? ['no update yet'] : lines };
}

export async function readHistory(store: SqliteStore): Promise<readonly HistoryJson[]> {
  return (await store.history()).map(historyJson);
}

/** The facts behind `status`, from storage. */
export async function readStatus(
  store: SqliteStore,
  installer: string,
): Promise<Record<string, unknown>> {
  const state = await loadState(store);
  const [last] = await store.history();
  const refusal = await store.refusal();
  const trust = {
    director: (await store.fact('director_trust')) ?? null,
    image: (await store.fact('image_trust')) ?? null,
  };
  const { sequence, sealed, failed } = await store.binding();
  const protection = (await store.fact('anchor_protection')) ?? null;
  return {
    deviceId: (await store.fact('device_id')) ?? null,
    installer,
    state: state.at,
    waiting: state.at === 'holding' ? await waitingJson(store) : null,
    ecus: (await store.inventory()).map(ecuJson),
    reportsWaiting: (await store.postponedReports()).length,
    lastRefusal: refusal ?? null,
    lastUpdate: last === undefined ? null : historyJson(last),
    ...rotations(await store.fact('rotation')),
    trust,
    anchor: { sealed, sequence, protection, problem: failed?.cause ?? null },
    warnings: Object.values(trust).includes('first-use') ? [FIRST_USE] : [],
  };
}

async function waitingJson(store: SqliteStore): Promise<object | null> {
  const held = await heldUpdate({ store });
  return held === undefined ? null : heldJson(held);
}

/** What is under way, and how the last one ended. */
function rotations(text: string | undefined): object {
  const { rotation, last } = parseRecord(text);
  return {
    rotation:
      rotation === undefined
        ? null
        : { of: rotation.of, at: rotation.at, since: formatInstant(rotation.startedAt) },
    lastRotation:
      last === undefined
        ? null
        : {
            of: last.of,
            outcome: last.outcome,
            endedAt: formatInstant(last.endedAt),
            ...(last.failure === undefined ? {} : { code: last.failure.code }),
          },
  };
}

export const FIRST_USE =
  'trusted on first use: whoever answered as the gateway then decides what this device installs; ' +
  'compare the roots with those of who signs them, or provision anew with uptane.roots';

function ecuJson({ serial, hardwareId, installed }: EcuInventory): object {
  return {
    serial,
    hardwareId,
    installed:
      installed === undefined
        ? null
        : {
            filename: installed.filename,
            length: installed.lengthBytes,
            hashes: Object.fromEntries(installed.hashes),
          },
  };
}

type HistoryJson = Omit<HistoryEntry, 'endedAt'> & { readonly endedAt: string };

function historyJson(entry: HistoryEntry): HistoryJson {
  return { ...entry, endedAt: formatInstant(entry.endedAt) };
}

/** One fact a line; what is a list or an object in JSON is a sentence here. */
function statusLines(status: Record<string, unknown>): readonly string[] {
  return Object.entries(status).flatMap(([name, value]) => {
    const values = Array.isArray(value) ? (value as unknown[]) : [value];
    return values.map((one) => `${name.padEnd(12)} ${words(one)}`);
  });
}

function words(value: unknown): string {
  if (value === null) return '-';
  if (Array.isArray(value)) return value.map(words).join(', ');
  if (typeof value !== 'object') return typeof value === 'string' ? value : JSON.stringify(value);
  return Object.entries(value)
    .map(([name, part]) =>
      name === 'hashes'
        ? ''
        : `${name}=${typeof part === 'object' && part !== null ? `(${words(part)})` : words(part)}`,
    )
    .filter((part) => part !== '')
    .join(' ');
}
