/** The archive that a fleet shares, and requests made with it. */
import { writeFileSync, readFileSync } from 'node:fs';
import { request } from 'node:https';

import type { DirectorHandle } from '../director/start.ts';
import { makeZip } from './zip.ts';

interface Bench {
  readonly director: DirectorHandle;
}

/** @returns where it was written */
export async function writeCredentials({ director }: Bench, path: string): Promise<string> {
  const content = await sharedP12(director);
  const zip = makeZip([
    { name: 'autoprov.url', content: `${director.gatewayUrl}\n` },
    { name: 'autoprov_credentials.p12', content },
    { name: 'treehub.json', content: '{}' },
  ]);
  writeFileSync(path, zip);
  return path;
}

/** `POST /devices` as the fleet, by nobody's code but Node's. */
export async function askAsFleet(
  { director }: Bench,
  deviceId: string,
): Promise<{ readonly status: number }> {
  const pfx = await sharedP12(director);
  return new Promise((resolve, reject) => {
    const ca = readFileSync(director.caPath);
    const options = { method: 'POST', ca, pfx, passphrase: '', agent: false };
    const asked = request(`${director.gatewayUrl}/devices`, options, (answer) => {
      answer.resume().on('end', () => {
        resolve({ status: answer.statusCode ?? 0 });
      });
    });
    asked.on('error', reject).end(JSON.stringify({ deviceId, ttl: '30' }));
  });
}

async function sharedP12(director: DirectorHandle): Promise<Buffer> {
  const answer = await director.control('POST', '/shared-credentials', {});
  return Buffer.from((answer as { p12: string }).p12, 'base64');
}
