/** `POST /devices` of aktualizr's gateways: a credential against the one that all devices share. */
import { randomUUID } from 'node:crypto';

import { isOtaError, OtaError } from '../agent/errors.ts';
import { gatewayPolicy, gatewayTrust } from '../agent/io/gateway-trust.ts';
import { proxyRules } from '../agent/io/http-proxy.ts';
import { HttpClient } from '../agent/io/http.ts';
import type { SharedCredentials } from './credentials-zip.ts';
import { readText } from './est.ts';
import { contextOf } from './est-client.ts';
import {
  MAX_PKCS12_BYTES,
  openPkcs12,
  pemOf,
  Pkcs12Problem,
  type Pkcs12Identity,
} from './pkcs12.ts';
import { deviceId, type Provisioning } from './record.ts';

/** Recorded once the device has what it wanted of the credential. */
export const USED = 'used';

/**
 * Asks for the credential, and says so on record before.
 *
 * The server knows a device id that it has given a credential to, and gives no second one. An answer
 * that was lost on its way is lost for good; a name that we made up ourselves is then given up.
 *
 * @throws OtaError ENROLMENT_REFUSED, FILE_UNREADABLE, GATEWAY_*
 */
export async function askForCredential(
  all: Provisioning,
  shared: SharedCredentials,
  password: string,
): Promise<Pkcs12Identity> {
  const { record, settings } = all;
  const id = await deviceId(all);
  const before = await record.get('shared-credential');
  // A name that has been in use is never given up.
  const hasAsked = before === `requested ${id}`;
  if (before !== USED) await record.put('shared-credential', `requested ${id}`);
  try {
    return await ask(all, shared, { id, password });
  } catch (error) {
    const isTaken = isOtaError(error) && error.code === 'ENROLMENT_REFUSED' && isOccupied(error);
    if (!isTaken || !hasAsked || settings.device.id !== undefined) throw error;
    const another = randomUUID();
    await record.put('device-id', another);
    await record.put('shared-credential', `requested ${another}`);
    all.say('certificate', 'noted', `the answer to ${id} was lost: asks as ${another}`);
    return ask(all, shared, { id: another, password });
  }
}

function isOccupied({ details }: OtaError<'ENROLMENT_REFUSED'>): boolean {
  return details.answer.includes('device_already_registered');
}

async function ask(
  all: Provisioning,
  shared: SharedCredentials,
  { id, password }: { readonly id: string; readonly password: string },
): Promise<Pkcs12Identity> {
  const { gateway, provisioning } = all.settings;
  const ofGateway = await gatewayTrust(all.settings, all.env);
  const trust = { ...ofGateway, caPem: ofGateway.caPem ?? caOf(shared) };
  const http = new HttpClient({
    secureContext: contextOf(pemOf(shared.identity), trust),
    timeoutMs: gateway.timeout,
    userAgent: all.userAgent,
    // A key comes back, so this server has to prove no less than the gateway.
    policy: gatewayPolicy(trust, all),
    proxyFor: proxyRules(gateway.proxy, all.env),
  });
  const url = `${shared.url}/devices`;
  const body = JSON.stringify({ deviceId: id, ttl: String(provisioning.shared_days) });
  try {
    const headers = { 'content-type': 'application/json' };
    const response = await http.send({ method: 'POST', url, body: Buffer.from(body), headers });
    const line = { url, status: response.status };
    if (line.status !== 200 && line.status !== 201) {
      throw refused(line, (await readText(response, line)).trim().slice(0, MAX_SHOWN_CHARACTERS));
    }
    return await opened(line, await whole(line, response.body), [...new Set(['', password])]);
  } catch (error) {
    throw isOtaError(error) && error.code === 'GATEWAY_TLS' ? untrusted(error) : error;
  } finally {
    await http.close();
  }
}

/** The client's own remedy speaks of a certificate that is not there yet. */
function untrusted(error: OtaError<'GATEWAY_TLS'>): OtaError<'GATEWAY_TLS'> {
  const remedy =
    'either gateway.ca (else the CA in the archive) is not the CA of that server, or the server does ' +
    'not accept the credential in the archive: see the cause, and download the archive again';
  return new OtaError('GATEWAY_TLS', { ...error.details, remedy }, { cause: error });
}

const MAX_SHOWN_CHARACTERS = 200;

/** Where gateway.ca is not set, the archive says whom to trust, for this one request. */
function caOf({ serverCaPem, identity }: SharedCredentials): string | undefined {
  const authorities = identity.others.filter(({ ca }) => ca).map(String);
  return serverCaPem ?? (authorities.length === 0 ? undefined : authorities.join(''));
}

interface Line {
  readonly url: string;
  readonly status: number;
}

async function whole(line: Line, body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let received = 0;
  for await (const part of body) {
    received += part.byteLength;
    if (received > MAX_PKCS12_BYTES) throw refused(line, 'an answer without end');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function opened(
  line: Line,
  bytes: Uint8Array,
  passwords: readonly string[],
): Promise<Pkcs12Identity> {
  try {
    return await openPkcs12(bytes, passwords);
  } catch (error) {
    if (!(error instanceof Pkcs12Problem)) throw error;
    throw refused(line, `not PKCS#12 that can be used: ${error.message}`, error);
  }
}

const REMEDIES: Readonly<Record<number, string>> = {
  401: 'the server does not accept the archive: download it again',
  403: 'the server does not accept the archive: download it again',
  404: 'the server gives no credentials away: use provisioning.mode = "est" or "device-cred"',
  409: 'the server knows this device: delete it there, or set another device.id',
};

function refused(line: Line, answer: string, cause?: unknown): OtaError<'ENROLMENT_REFUSED'> {
  const isTaken = answer.includes('device_already_registered');
  const remedy = REMEDIES[isTaken ? 409 : line.status] ?? 'see the log of the server';
  const options = cause === undefined ? undefined : { cause };
  return new OtaError('ENROLMENT_REFUSED', { ...line, answer, remedy }, options);
}
