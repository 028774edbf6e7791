/** A station: every device of the list, one after the other, and a record of each. */
import { fork } from 'node:child_process';
import { on, once } from 'node:events';
import { extname, join } from 'node:path';

import { isOtaError, OtaError } from '../../agent/errors.ts';
import type { Settings } from '../../agent/settings.ts';
import type { DeviceJob, DeviceMessage } from './device-main.ts';
import type { ListedDevice } from './device-list.ts';
import type { DeviceRecord, DeviceRecords } from './device-record.ts';

export interface Station {
  readonly settings: Settings;
  readonly records: DeviceRecords;
  readonly name: string;
  readonly userAgent: string;
  readonly say: (deviceId: string, text: string) => void;
}

const DEVICE_MAIN = join(import.meta.dirname, `device-main${extname(import.meta.filename)}`);
/** Tries are few, and the next device may have the same PIN file. */
const STOPPING = new Set(['TOKEN_PIN_INCORRECT', 'TOKEN_LOCKED', 'TOKEN_PIN_MISSING']);
/** Of one device, beside waiting for approval; a key on a slow token takes half a minute. */
const LONGEST_MS = 180_000;

/**
 * Works on those devices that are not done.
 *
 * What is done stays done, and its token is not looked at again: the device may have left. A device that
 * fails does not stop the others, except where a PIN is wrong.
 *
 * @returns the records of the list, as far as there are any
 * @throws OtaError FACTORY_DUPLICATE, before anything is done; STORAGE_FAILED
 */
export async function runStation(
  station: Station,
  list: readonly ListedDevice[],
): Promise<readonly DeviceRecord[]> {
  for (const device of list) demandFreeSerial(station, device);
  for (const device of list) {
    if (station.records.find(device.deviceId)?.outcome === 'done') continue;
    const record = await provisionDevice(station, device);
    await station.records.put(record);
    if (STOPPING.has(record.failure?.code ?? '')) break;
  }
  await station.records.exportKeys();
  return list.flatMap(({ deviceId }) => station.records.find(deviceId) ?? []);
}

/** Another list may have had it. */
function demandFreeSerial({ records }: Station, { deviceId, ecuSerial }: ListedDevice): void {
  const other = records.all.find((one) => one.ecuSerial === ecuSerial && one.deviceId !== deviceId);
  if (other === undefined) return;
  throw new OtaError('FACTORY_DUPLICATE', {
    device: deviceId,
    other: other.deviceId,
    what: `ECU serial ${ecuSerial}`,
    remedy: 'give every device its own',
  });
}

async function provisionDevice(station: Station, device: ListedDevice): Promise<DeviceRecord> {
  const { records, settings } = station;
  const before = records.find(device.deviceId);
  let record: DeviceRecord = {
    version: 1,
    deviceId: device.deviceId,
    ecuSerial: device.ecuSerial,
    hardwareId: device.hardwareId ?? settings.ecu.hardware_id ?? null,
    outcome: 'begun',
    station: station.name,
    at: new Date().toISOString(),
    ...(before?.keys === undefined ? {} : { keys: before.keys }),
  };
  await records.put(record);
  for await (const message of converse(station, device, record.keys !== undefined)) {
    if ('said' in message) station.say(device.deviceId, message.said);
    else if ('keys' in message) {
      const refusal = refusalOf(records, device.deviceId, message.keys);
      if (refusal !== undefined) return { ...record, ...refusal, at: new Date().toISOString() };
      record = { ...record, keys: message.keys };
      await records.put(record);
    } else record = { ...record, ...endOf(message), at: new Date().toISOString() };
  }
  return record;
}

type Refusal = Pick<DeviceRecord, 'outcome' | 'failure'>;

function refusalOf(
  records: DeviceRecords,
  deviceId: string,
  keys: Parameters<DeviceRecords['demandUnique']>[1],
): Refusal | undefined {
  try {
    records.demandUnique(deviceId, keys);
    return undefined;
  } catch (error) {
    if (!isOtaError(error)) throw error;
    return { outcome: 'failed', failure: { code: error.code, details: error.details } };
  }
}

function endOf(
  message: Exclude<DeviceMessage, { said: string } | { keys: unknown }>,
): Partial<DeviceRecord> {
  if ('certificate' in message) return { outcome: 'done', certificate: message.certificate };
  const { failure } = message;
  return { outcome: failure.code === 'NOT_PROVISIONED' ? 'waiting' : 'failed', failure };
}

/** What the device's process says, the last of it how it ended. It goes on when it is asked for more. */
async function* converse(
  station: Station,
  device: ListedDevice,
  isKnown: boolean,
): AsyncGenerator<DeviceMessage> {
  const child = fork(DEVICE_MAIN, [], {
    env: { ...process.env, ...device.env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const longestMs = LONGEST_MS + station.settings.provisioning.est_wait;
  const timer = setTimeout(() => child.kill('SIGKILL'), longestMs);
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const messages = on(child, 'message', { close: ['disconnect'] });
  // A process that is gone already hears nothing; that it is gone is found out below.
  child.send(jobOf(station, device, isKnown), () => undefined);
  let hasEnded = false;
  try {
    for await (const [message] of messages as AsyncIterable<[DeviceMessage]>) {
      hasEnded = 'certificate' in message || 'failure' in message;
      yield message;
      if ('keys' in message) child.send('go on', () => undefined);
    }
    const [code, signal] = await exited;
    if (!hasEnded) yield crashed(device, signal ?? `exit code ${String(code)}`);
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
}

function crashed({ module }: ListedDevice, ended: string): DeviceMessage {
  const cause = `the process that worked on the token ended with ${ended}`;
  const remedy = 'see what it wrote; the library of the token may have crashed or hung';
  return { failure: { code: 'TOKEN_MODULE', details: { module: module ?? '', cause, remedy } } };
}

function jobOf(
  { settings, records, userAgent }: Station,
  device: ListedDevice,
  isKnown: boolean,
): DeviceJob {
  const { deviceId } = device;
  const token = {
    ...settings.token,
    module: device.module ?? settings.token.module,
    uri: device.tokenUri ?? settings.token.uri,
    pin_file: device.pinFile ?? settings.token.pin_file,
    so_pin_file: device.soPinFile ?? settings.token.so_pin_file,
  };
  const provisioning = {
    ...settings.provisioning,
    csr_file: records.csrPath(deviceId),
    certificate_file: records.answerPath(deviceId),
  };
  const lockDirectory = join(records.directory, 'locks', deviceId);
  return {
    settings: { ...settings, token, provisioning, device: { id: deviceId } },
    isKnown,
    lockDirectory,
    userAgent,
  };
}
