/** `/director/*.json` and `/repo/*.json`. */
import { Readable } from 'node:stream';

import { Refusal } from '../failure.ts';
import { slowly } from '../faults/downloads.ts';
import type { ActiveFault } from '../faults.ts';
import type { FaultSwitch } from '../faults/switch.ts';
import type { Repo } from '../faults/forgery.ts';
import type { World } from '../world.ts';
import type { Gateway, PeerOf } from './peers.ts';

const PORTAL = '<!DOCTYPE html><html><head><title>Log in</title></head><body>Wi-Fi</body></html>\n';
const NUMBERED_ROOT = /^\d+\.root\.json$/u;

export function addMetadataRoutes(app: Gateway, world: World, peerOf: PeerOf): void {
  const serve = (repo: Repo, path: string): void => {
    app.get(path, async (request, reply) => {
      const { device } = peerOf(request);
      const prefix = path.replace(/[^/]*$/u, '');
      const name = fileName(request.url, path.includes('delegations') ? '/repo/' : prefix);
      const text = await world.metadata.file(repo, device, name);
      if (text === undefined) throw absent(name);
      const body = spoil(Buffer.from(text), world.faults, device, name);
      const slow = world.faults
        .at('metadata-bytes', device)
        .find((fault) => fault.name === 'metadata-slow' && concerns(fault, name));
      return reply
        .header('content-type', 'application/json')
        .send(slow === undefined ? body : slowed(body, slow));
    });
  };
  serve('director', '/director/:file.json');
  serve('image', '/repo/:file.json');
  serve('image', '/repo/delegations/:file.json');
}

/** The decoded path below `prefix`, without a query. */
export function fileName(url: string, prefix: string): string {
  const path = url.split('?', 1)[0] ?? '';
  try {
    return decodeURIComponent(path.slice(prefix.length));
  } catch (cause) {
    throw new Refusal(400, 'bad_request', 'the path is not percent-encoded UTF-8', { cause });
  }
}

/** The end of a root chain is 424 in the field, not 404. */
function absent(name: string): Refusal {
  return NUMBERED_ROOT.test(name)
    ? new Refusal(424, 'root_role_not_found', `there is no ${name} yet`)
    : new Refusal(404, 'missing_entity', `there is no ${name}`);
}

function spoil(body: Buffer, faults: FaultSwitch, device: string, name: string): Buffer {
  let sent = body;
  for (const fault of faults.at('metadata-bytes', device)) {
    if (!concerns(fault, name)) continue;
    if (fault.name === 'metadata-garbage') sent = Buffer.from(PORTAL);
    const missing = Number(fault.parameters['bytes']) - sent.length;
    if (fault.name === 'metadata-oversized' && missing > 0) {
      sent = Buffer.concat([sent, Buffer.alloc(missing, ' ')]);
    }
  }
  return sent;
}

function concerns({ parameters }: ActiveFault, name: string): boolean {
  const { file } = parameters;
  return file === '' || file === name;
}

function slowed(body: Buffer, { parameters }: ActiveFault): Readable {
  const bytesPerSecond = Math.max(1, Number(parameters['bytesPerSecond']));
  return Readable.from(slowly(Readable.from([body]), bytesPerSecond), { objectMode: false });
}
