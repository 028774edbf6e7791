/** The list of devices that a station is to provision: CSV, one device a line. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

import { CsvError, parse } from 'csv-parse/sync';

import { causeOf, isOtaError, OtaError } from '../../agent/errors.ts';
import { parseTokenUri } from '../../agent/io/token/pkcs11-uri.ts';

/** One line. What is absent is as the settings of the station say. */
export interface ListedDevice {
  readonly deviceId: string;
  readonly ecuSerial: string;
  readonly hardwareId: string | undefined;
  readonly module: string | undefined;
  readonly tokenUri: string | undefined;
  readonly pinFile: string | undefined;
  readonly soPinFile: string | undefined;
  /** For the process that works on the token: a token's library may find its token by it. */
  readonly env: Readonly<Record<string, string>>;
}

interface Row {
  readonly record: Readonly<Record<string, string>>;
  readonly info: { readonly lines: number };
}

/** Where in the file. */
interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: string;
}

const COLUMNS = ['device_id', 'ecu_serial', 'hardware_id', 'module', 'token_uri', 'pin_file'];
const ALL_COLUMNS = new Set([...COLUMNS, 'so_pin_file']);
const ENV = /^env:[A-Za-z_]\w*$/u;
const PINS = new Set(['env:OTA_AGENT_PIN', 'env:OTA_AGENT_SO_PIN']);
/** Also the name of a file, and what servers take for a device id. */
const DEVICE_ID = /^(?!\.)[A-Za-z0-9._:@-]{1,64}$/u;
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/**
 * Reads the whole list and refuses it as a whole: half a batch is found out too late.
 *
 * @throws OtaError FILE_UNREADABLE
 * @throws OtaError FACTORY_LIST_INVALID with line and column
 */
export async function readDeviceList(file: string): Promise<readonly ListedDevice[]> {
  const rows = parsed(file, await read(file));
  const seen = new Map<string, number>();
  const devices: ListedDevice[] = [];
  for (const { record, info } of rows) {
    if (devices.length === 0) demandColumns(file, Object.keys(record));
    const device = deviceOf(file, record, info.lines);
    for (const column of ['device_id', 'ecu_serial'] as const) {
      const value = column === 'device_id' ? device.deviceId : device.ecuSerial;
      const before = seen.get(`${column} ${value}`);
      if (before !== undefined) {
        const problem = `is the same as in line ${String(before)}`;
        throw invalid({ file, line: info.lines, column }, problem, 'give every device its own');
      }
      seen.set(`${column} ${value}`, info.lines);
    }
    devices.push(device);
  }
  if (devices.length > 0) return devices;
  throw invalid({ file, line: 1, column: '' }, 'has no devices', 'name one device a line');
}

function deviceOf(file: string, record: Row['record'], line: number): ListedDevice {
  const at = (column: string): string | undefined => {
    const value = record[column];
    return value === undefined || value === '' ? undefined : value;
  };
  const path = (column: string): string | undefined => {
    const value = at(column);
    return value === undefined ? undefined : resolve(dirname(file), value);
  };
  const deviceId = at('device_id') ?? '';
  if (!DEVICE_ID.test(deviceId)) {
    const remedy = 'use 1 to 64 of A-Z a-z 0-9 . _ : @ -, with no dot first';
    throw invalid({ file, line, column: 'device_id' }, 'is no device id', remedy);
  }
  const tokenUri = at('token_uri');
  if (tokenUri !== undefined) demandTokenUri({ file, line, column: 'token_uri' }, tokenUri);
  return {
    deviceId,
    ecuSerial: limited({ file, line, column: 'ecu_serial' }, at('ecu_serial') ?? deviceId, 64),
    hardwareId: at('hardware_id'),
    module: path('module'),
    tokenUri,
    pinFile: path('pin_file'),
    soPinFile: path('so_pin_file'),
    env: Object.fromEntries(
      Object.entries(record).flatMap(([column, value]) =>
        ENV.test(column) && value !== '' ? [[column.slice('env:'.length), value]] : [],
      ),
    ),
  };
}

function limited(place: Place, value: string, maxLength: number): string {
  if (value.length <= maxLength) return value;
  throw invalid(place, `is longer than ${String(maxLength)} characters`, 'shorten it');
}

function demandTokenUri(place: Place, uri: string): void {
  try {
    parseTokenUri(uri);
  } catch (error) {
    if (!isOtaError(error) || error.code !== 'CONFIG_INVALID') throw error;
    throw invalid(place, error.details.problem, error.details.remedy);
  }
}

function demandColumns(file: string, columns: readonly string[]): void {
  const place = (column: string): Place => ({ file, line: 1, column });
  if (!columns.includes('device_id')) {
    throw invalid(place('device_id'), 'is missing', 'begin the file with a line of column names');
  }
  for (const column of columns) {
    if (PINS.has(column)) {
      const remedy = 'name a file of each device in pin_file, so_pin_file';
      throw invalid(place(column), 'would be a PIN in a list', remedy);
    }
    if (ALL_COLUMNS.has(column) || ENV.test(column)) continue;
    const remedy = `use ${[...ALL_COLUMNS].join(', ')}, or env:NAME`;
    throw invalid(place(column), 'is no column', remedy);
  }
}

async function read(file: string): Promise<Buffer> {
  try {
    const bytes = await readFile(file);
    if (bytes.length <= MAX_FILE_BYTES) return bytes;
  } catch (cause) {
    const remedy = 'name the list of devices with --devices';
    const details = { path: file, what: 'list of devices', cause: causeOf(cause), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
  throw invalid({ file, line: 1, column: '' }, 'is larger than 16 MiB', 'split it');
}

function parsed(file: string, bytes: Buffer): readonly Row[] {
  try {
    return parse(bytes, {
      bom: true,
      columns: true,
      info: true,
      skip_empty_lines: true,
      trim: true,
    }) as unknown as Row[];
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const { lines: line = 0 } = error as { readonly lines?: number };
    const remedy = 'give every line as many values as there are columns; quote commas with "';
    throw invalid({ file, line, column: '' }, `is no CSV: ${error.message}`, remedy);
  }
}

function invalid(place: Place, problem: string, remedy: string): OtaError<'FACTORY_LIST_INVALID'> {
  return new OtaError('FACTORY_LIST_INVALID', { ...place, problem, remedy });
}
