/**
 * `POST /devices` of aktualizr's gateways, where whoever has the fleet's shared credential gets one of
 * his own, with a key that the server has made.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { bodyOf } from '../answers.ts';
import { Refusal } from '../failure.ts';
import type { Gateway, PeerOf } from '../gateway/peers.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import { inScratch } from '../pki/authority.ts';
import { checkRequest, defaultDates } from '../pki/device-ca.ts';
import { openssl } from '../pki/openssl.ts';
import { isDeviceId } from '../state/devices.ts';
import type { World } from '../world.ts';

/** CN of the shared credential. */
export const SHARED_NAME = 'autoprov';
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
const RSA = ['-newkey', 'rsa:2048'];
const LEGACY = ['-legacy', '-certpbe', 'PBE-SHA1-RC2-40', '-keypbe', 'PBE-SHA1-3DES'];

export function addSharedRoute(app: Gateway, world: World, peerOf: PeerOf): void {
  app.post('/devices', async (request, reply) => {
    if (peerOf(request).device !== SHARED_NAME) {
      throw new Refusal(403, 'not_shared', 'this needs the credential of autoprov_credentials.p12');
    }
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const id = wanted.string('deviceId', 64);
    if (!isDeviceId(id)) throw new Refusal(400, 'json_malformed', '$.deviceId is no device id');
    if (world.deviceCa.certificates.some(({ deviceId }) => deviceId === id)) {
      throw new Refusal(409, 'device_already_registered', `device ${id} is registered already`);
    }
    const days = Number(wanted.string('ttl', 6));
    if (!(days >= 1)) throw new Refusal(400, 'json_malformed', '$.ttl must be days as text');
    const p12 = await pack(world, id, { days, password: '' });
    return reply.header('content-type', 'application/x-pkcs12').send(p12);
  });
}

/** Makes a key, has it certified, and packs both with the CAs. */
export async function pack(
  world: World,
  name: string,
  { days, password }: { readonly days: number; readonly password: string },
): Promise<Buffer> {
  const { sharedRsa, sharedLegacy } = world.enrolment.current;
  return inScratch(async (cwd) => {
    const out = ['-nodes', '-keyout', 'key.pem', '-out', 'request.pem', '-subj', `/CN=${name}`];
    await openssl(['req', ...(sharedRsa ? RSA : EC), ...out], { cwd });
    const request = await checkRequest(await readFile(join(cwd, 'request.pem')));
    const { pem } = await world.deviceCa.issue(request, defaultDates(days));
    await writeFile(join(cwd, 'cert.pem'), pem);
    const authorities = [...world.deviceCa.chain(), await readFile(world.serverCa.certificatePath)];
    await writeFile(join(cwd, 'cas.pem'), authorities.map(String).join(''));
    await writeFile(join(cwd, 'password'), `${password}\n`);
    const from = ['-inkey', 'key.pem', '-in', 'cert.pem', '-certfile', 'cas.pem'];
    const how = sharedLegacy ? LEGACY : [];
    return openssl(['pkcs12', '-export', ...from, ...how, '-passout', 'file:password'], { cwd });
  });
}
