/** ECU registration: which ECUs a device has, and which key speaks for each. */
import { Refusal } from '../failure.ts';
import type { JsonReader } from '../json/read-json.ts';
import { importPublicKey } from '../signing.ts';
import type { Device, FormerKey, RegisteredEcu } from '../state/devices.ts';

export interface Registration {
  readonly device: Device;
  /** 201: first registration. 200: the same again, or an allowed replacement. */
  readonly status: 200 | 201;
}

/** ota-tuf's limits. */
const SERIAL_CHARACTERS = 64;
const HARDWARE_ID_CHARACTERS = 200;

/**
 * Takes a registration in, or says why not.
 *
 * @param replacement - whether a registered device may come back with other ECUs or keys;
 *   `keys-ignored`: only serials are looked at, as some Directors do
 * @throws Refusal 400 `primary_is_not_listed_for_device`, `ecu_repeated`, `key_not_supported` · 409
 *   `ecu_replacement_disabled`, `ecu_reuse_not_allowed` · 412 `replace_ecu_assignment_exists`
 */
export function registerEcus(
  device: Device,
  wanted: JsonReader,
  replacement: 'allowed' | 'forbidden' | 'keys-ignored',
): Registration {
  const primary = wanted.string('primary_ecu_serial', SERIAL_CHARACTERS);
  const ecus = wanted.objects('ecus').map(readEcu);
  const serials = ecus.map((ecu) => ecu.serial);
  if (!serials.includes(primary)) {
    throw new Refusal(400, 'primary_is_not_listed_for_device', `${primary} is not among the ECUs`);
  }
  if (new Set(serials).size !== serials.length) {
    throw new Refusal(400, 'ecu_repeated', 'an ECU is listed twice');
  }
  if (device.primary === undefined) return { device: { ...device, primary, ecus }, status: 201 };
  if (device.primary === primary && isSameList(device.ecus, ecus)) return { device, status: 200 };
  if (replacement === 'forbidden') {
    const remedy = 'allow it with the setting ecuReplacement';
    throw new Refusal(
      409,
      'ecu_replacement_disabled',
      `${device.id} has other ECUs or keys; ${remedy}`,
    );
  }
  if (replacement === 'keys-ignored' && hasSameSerials(device.ecus, ecus)) {
    return { device, status: 200 };
  }
  return { device: replaceEcus(device, primary, ecus), status: 200 };
}

function replaceEcus(device: Device, primary: string, ecus: readonly RegisteredEcu[]): Device {
  const back = ecus.find((ecu) => device.retiredSerials.includes(ecu.serial));
  if (back !== undefined) {
    throw new Refusal(409, 'ecu_reuse_not_allowed', `ECU ${back.serial} was replaced before`);
  }
  const gone = device.ecus.filter((old) => !ecus.some((ecu) => ecu.serial === old.serial));
  const changed = device.ecus.filter((old) => !ecus.some((ecu) => isSame(old, ecu)));
  refuseAssigned(device, changed);
  const { reportCounter, ...rest } = device;
  const primaryKept = !changed.some((ecu) => ecu.serial === primary) && device.primary === primary;
  return {
    ...rest,
    ...(primaryKept && reportCounter !== undefined ? { reportCounter } : {}),
    primary,
    ecus,
    formerKeys: [...(device.formerKeys ?? []), ...formerKeys(changed, ecus)],
    retiredSerials: [...device.retiredSerials, ...gone.map((ecu) => ecu.serial)],
    installed: Object.fromEntries(
      Object.entries(device.installed).filter(([serial]) =>
        ecus.some((ecu) => ecu.serial === serial),
      ),
    ),
  };
}

function formerKeys(
  changed: readonly RegisteredEcu[],
  now: readonly RegisteredEcu[],
): readonly FormerKey[] {
  const replacedAt = new Date().toISOString();
  const gone = changed.filter(
    (old) => !now.some((ecu) => ecu.serial === old.serial && ecu.publicKey === old.publicKey),
  );
  return gone.map(({ serial, publicKey }) => ({ serial, publicKey, replacedAt }));
}

function hasSameSerials(a: readonly RegisteredEcu[], b: readonly RegisteredEcu[]): boolean {
  const serials = (ecus: readonly RegisteredEcu[]): string =>
    JSON.stringify(ecus.map(({ serial }) => serial).sort());
  return serials(a) === serials(b);
}

function refuseAssigned(device: Device, changed: readonly RegisteredEcu[]): void {
  if (device.assignment === undefined || device.assignment.outcome === 'done') return;
  const assigned = device.assignment.targets.flatMap((target) => Object.keys(target.ecus));
  const busy = changed.find((ecu) => assigned.includes(ecu.serial));
  if (busy === undefined) return;
  throw new Refusal(
    412,
    'replace_ecu_assignment_exists',
    `ECU ${busy.serial} has an assignment to do`,
  );
}

function readEcu(ecu: JsonReader): RegisteredEcu {
  const serial = ecu.string('ecu_serial', SERIAL_CHARACTERS);
  const key = ecu.object('clientKey');
  const keyType = key.string('keytype').toUpperCase();
  const publicKey = key.object('keyval').string('public', 8192);
  if (
    (keyType !== 'RSA' && keyType !== 'ED25519') ||
    importPublicKey(keyType, publicKey) === undefined
  ) {
    const want = 'RSA of 2048 bits or more in PEM, or ED25519 in hex';
    throw new Refusal(400, 'key_not_supported', `the key of ECU ${serial} must be ${want}`);
  }
  const hardwareId = ecu.string('hardware_identifier', HARDWARE_ID_CHARACTERS);
  return { serial, hardwareId, keyType, publicKey };
}

function isSameList(a: readonly RegisteredEcu[], b: readonly RegisteredEcu[]): boolean {
  return a.length === b.length && a.every((ecu) => b.some((other) => isSame(ecu, other)));
}

function isSame(a: RegisteredEcu, b: RegisteredEcu): boolean {
  return (
    a.serial === b.serial &&
    a.hardwareId === b.hardwareId &&
    a.keyType === b.keyType &&
    a.publicKey === b.publicKey
  );
}
