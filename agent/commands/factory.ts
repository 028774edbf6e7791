/** `ota-agent factory`: many devices from one station. */
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { readDeviceList, type ListedDevice } from '../../provisioning/factory/device-list.ts';
import { DeviceRecords, type DeviceRecord } from '../../provisioning/factory/device-record.ts';
import { runStation } from '../../provisioning/factory/run.ts';
import { invalid, type LoadedSettings } from '../config-problem.ts';
import { causeOf, handlingOf, isFailureCode, OtaError } from '../errors.ts';
import { takeLock } from '../io/store/lock.ts';
import { VERSION } from '../version.ts';
import type { CommandContext } from './context.ts';
import type { CommandResult } from './result.ts';

interface FactoryOptions {
  readonly devices: string;
  readonly records: string;
  readonly only: readonly string[];
  readonly station: string;
}

/**
 * Provisions those devices of the list that are not done.
 *
 * @returns exit 0 if all are; 3 if some wait for a certificate; else that of the first failure
 * @throws OtaError USAGE, CONFIG_INVALID, FACTORY_LIST_INVALID, FACTORY_DUPLICATE, FILE_UNREADABLE, STORAGE_*
 */
export async function factoryCommand({
  loaded,
  rest,
  log,
}: CommandContext): Promise<CommandResult> {
  const options = readOptions(rest);
  demandMode(loaded);
  const list = chosen(await readDeviceList(options.devices), options.only);
  const records = await DeviceRecords.open(options.records);
  const lock = takeLock(options.records);
  try {
    const station = {
      settings: loaded.settings,
      records,
      name: options.station,
      userAgent: `ota-agent/${VERSION}`,
      say: (deviceId: string, text: string) => {
        log.info(`${deviceId}: ${text}`);
      },
    };
    return render(list, await runStation(station, list), options.records);
  } finally {
    lock.release();
  }
}

/** A shared credential is one device's, and what is brought for a device is for `manual`. */
function demandMode(loaded: LoadedSettings): void {
  const { mode } = loaded.settings.provisioning;
  if (mode === 'est' || mode === 'manual') return;
  throw invalid(loaded, 'provisioning.mode', {
    problem: `"${mode}" is not for a station`,
    remedy: 'set it to "est", or to "manual" to work with requests and certificates as files',
  });
}

function readOptions(args: readonly string[]): FactoryOptions {
  const { devices, records, only = [], station = hostname() } = parsed(args);
  if (devices === undefined || records === undefined) {
    const what = `--${devices === undefined ? 'devices' : 'records'} is missing`;
    throw new OtaError('USAGE', { what, remedy: 'ota-agent factory --help' });
  }
  return { devices: resolve(devices), records: resolve(records), only, station };
}

const OPTIONS = {
  devices: { type: 'string' },
  records: { type: 'string' },
  only: { type: 'string', multiple: true },
  station: { type: 'string' },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'];

function parsed(args: readonly string[]): Values {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values;
  } catch (cause) {
    const details = { what: causeOf(cause), remedy: 'ota-agent factory --help' };
    throw new OtaError('USAGE', details, { cause });
  }
}

function chosen(list: readonly ListedDevice[], only: readonly string[]): readonly ListedDevice[] {
  if (only.length === 0) return list;
  const unknown = only.find((id) => !list.some(({ deviceId }) => deviceId === id));
  if (unknown === undefined) return list.filter(({ deviceId }) => only.includes(deviceId));
  throw new OtaError('USAGE', { what: `--only ${unknown}`, remedy: 'it is not in the list' });
}

function render(
  list: readonly ListedDevice[],
  records: readonly DeviceRecord[],
  directory: string,
): CommandResult {
  const all = list.map(({ deviceId }) => records.find((one) => one.deviceId === deviceId));
  const failed = records.filter(({ outcome }) => outcome === 'failed');
  const waiting = records.filter(({ outcome }) => outcome === 'waiting');
  const done = records.filter(({ outcome }) => outcome === 'done').length;
  const isComplete = done === list.length;
  return {
    exit: exitOf(failed[0], waiting.length),
    json: {
      outcome: isComplete ? 'provisioned' : 'incomplete',
      devices: all.flatMap((record) => record ?? []),
    },
    lines: [
      ...all.map((record, index) => lineOf(list[index]?.deviceId ?? '', record)),
      `${String(done)} of ${String(list.length)} done; public keys: ${directory}/public-keys.json`,
      ...(waiting.length === 0 ? [] : [WAITING(directory)]),
    ],
  };
}

const WAITING = (directory: string): string =>
  `have the requests in ${directory}/requests signed, put each certificate as ID.pem into ` +
  `${directory}/certificates, and run the same command again`;

function exitOf(failed: DeviceRecord | undefined, waiting: number): number {
  const code = failed?.failure?.code;
  if (code !== undefined && isFailureCode(code)) return handlingOf(code).exit;
  return waiting > 0 ? handlingOf('NOT_PROVISIONED').exit : 0;
}

function lineOf(deviceId: string, record: DeviceRecord | undefined): string {
  if (record === undefined) return `${deviceId}: not looked at`;
  const { outcome, failure, certificate } = record;
  if (outcome === 'done') return `${deviceId}: done, certificate ${certificate?.sha256 ?? ''}`;
  if (outcome === 'waiting') return `${deviceId}: waits for its certificate`;
  const facts = Object.entries(failure?.details ?? {}).map(
    ([name, value]) => `${name}=${String(value)}`,
  );
  return [`${deviceId}: failed: ${failure?.code ?? ''}`, ...facts].join('; ');
}
