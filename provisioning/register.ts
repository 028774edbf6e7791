/** Step 5: the ECU registration, which ties serial, hardware id and Uptane key to this device. */
import { createHash } from 'node:crypto';

import { Fields, parseJson } from '../agent/decode.ts';
import { isOtaError, OtaError } from '../agent/errors.ts';
import { clientKey, keyIdOf } from '../agent/io/token/uptane-key.ts';
import type { TokenKey } from '../agent/io/token/keys.ts';
import type { Ecu } from '../agent/uptane/inventory.ts';
import {
  fixed,
  type GatewayAnswer,
  type GatewayRequest,
  type Provisioning,
  type ProvisioningRecord,
} from './record.ts';

/** The Primary ECU as the Director knows it. */
export interface RegisteredEcu {
  readonly serial: string;
  readonly hardwareId: string;
  readonly keyId: string;
  /** What else of this device has images of its own, in the order of installation. */
  readonly components: readonly Ecu[];
}

/** Where registrations are sent. */
export const PATH = '/director/ecus';
const MAX_SHOWN_CHARACTERS = 200;

/** Whether the Director may know our key: nobody may throw it away then. */
export async function isRegistrationBegun(record: ProvisioningRecord): Promise<boolean> {
  const state = await record.get('ecu-registration');
  return state !== undefined && !state.startsWith('refused ');
}

/**
 * Registers the Primary ECU with the Director, once for each content of the registration.
 *
 * What is sent is on disk before: after a power cut between answer and record, the Director's "already
 * registered" is the answer to ourselves, and counts as success.
 *
 * @throws OtaError ENROLMENT_REFUSED with the Director's answer; GATEWAY_ANSWER for 5xx
 */
export async function provisionRegistration(
  all: Provisioning,
  deviceId: string,
  key: TokenKey,
  gateway: GatewayRequest,
): Promise<RegisteredEcu> {
  const { record, say } = all;
  const ecu = await describeEcu(all, deviceId, key);
  const components = componentsOf(all, ecu);
  const body = registrationBody([ecu, ...components], key);
  const digest = digestOf(body);
  const before = await record.get('ecu-registration');
  const others = components.map(({ serial }) => `, component ${serial}`).join('');
  const facts = `ECU ${ecu.serial}, hardware ${ecu.hardwareId}, key ${ecu.keyId}${others}`;
  if (before === `accepted ${digest}`) {
    say('registration', 'found done', facts);
    return { ...ecu, components };
  }
  await record.put('ecu-registration', `sent ${digest}`);
  const answer = await gateway('POST', PATH, body);
  if (!isAccepted(answer, before === `sent ${digest}`)) {
    // What failed on the server's side may have been taken in all the same.
    if (answer.status < 500) await record.put('ecu-registration', `refused ${digest}`);
    throw refused(answer);
  }
  await registrationAccepted(record, body);
  say('registration', 'done now', facts);
  return { ...ecu, components };
}

async function describeEcu(
  { settings, record, hostName }: Provisioning,
  deviceId: string,
  key: TokenKey,
): Promise<Omit<RegisteredEcu, 'components'>> {
  const { ecu } = settings;
  return {
    serial: ecu.serial ?? (await fixed(record, 'ecu-serial', () => deviceId)),
    hardwareId: ecu.hardware_id ?? (await fixed(record, 'hardware-id', () => hostName)),
    keyId: keyIdOf(clientKey(key.publicKey)),
  };
}

/**
 * What the Director is told of the ECUs. The Primary signs for the components of its device, with one
 * key for all.
 *
 * @param ecus - the Primary first
 */
export function registrationBody(ecus: readonly Ecu[], key: TokenKey): Uint8Array {
  const entries = ecus.map((ecu) => ({
    clientKey: clientKey(key.publicKey),
    ecu_serial: ecu.serial,
    hardware_identifier: ecu.hardwareId,
  }));
  return Buffer.from(JSON.stringify({ ecus: entries, primary_ecu_serial: ecus[0]?.serial }));
}

function componentsOf({ settings }: Provisioning, primary: Ecu): readonly Ecu[] {
  return settings.component.map(({ serial, hardware_id: hardwareId }) => {
    if (serial !== primary.serial) return { serial, hardwareId };
    const what = `the component ${serial} has the serial of the Primary`;
    throw new OtaError('USAGE', { what, remedy: 'give it another serial in [[component]]' });
  });
}

/** Remembers that the Director knows exactly this. */
export async function registrationAccepted(
  record: ProvisioningRecord,
  body: Uint8Array,
): Promise<void> {
  await record.put('ecu-registration', `accepted ${digestOf(body)}`);
}

function digestOf(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

function isAccepted(answer: GatewayAnswer, sentBefore: boolean): boolean {
  if (answer.status === 200 || answer.status === 201) return true;
  return sentBefore && answer.status === 409 && codeOf(answer) === 'ecu_already_registered';
}

function codeOf({ body }: GatewayAnswer): string | undefined {
  try {
    return new Fields(parseJson(body, PATH), PATH).optionalString('code');
  } catch (error) {
    if (isOtaError(error) && error.code === 'METADATA_MALFORMED') return undefined;
    throw error;
  }
}

const REMEDIES: Readonly<Record<number, string>> = {
  400: 'check ecu.serial, ecu.hardware_id and identity.uptane_key_type',
  401: 'check that the gateway knows the CA of the device certificate',
  403: 'check that the gateway knows the CA of the device certificate',
  409: 'the Director has other ECUs or keys for this device: allow replacement there, or set ecu.serial',
  412: 'an update is assigned to this ECU: finish or cancel it before the ECU is replaced',
};

/** The Director's refusal, in its own words. */
export function refused({
  status,
  body,
}: GatewayAnswer): OtaError<'GATEWAY_ANSWER'> | OtaError<'ENROLMENT_REFUSED'> {
  const answer = Buffer.from(body).toString('utf8').trim().slice(0, MAX_SHOWN_CHARACTERS);
  if (status >= 500) return new OtaError('GATEWAY_ANSWER', { url: PATH, status, answer });
  const remedy = REMEDIES[status] ?? 'see the log of the Director';
  return new OtaError('ENROLMENT_REFUSED', { url: PATH, status, answer, remedy });
}
