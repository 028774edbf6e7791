/** `/director/*.json` and `/repo/*.json`. */
import { Readable } from 'node:stream';

import { Refusal } from '../failure.ts';
import { breakOff, slowly } from '../faults/downloads.ts';
import type { ActiveFault, FaultName } from '../faults.ts';
import type { Repo } from '../faults/forgery.ts';
import type { Parameters } from '../faults/row.ts';
import type { World } from '../world.ts';
import { listedVersion } from './file-names.ts';
import type { Gateway, PeerOf } from './peers.ts';

const PORTAL = '<!DOCTYPE html><html><head><title>Log in</title></head><body>Wi-Fi</body></html>\n';
const NUMBERED_ROOT = /^\d+\.root\.json$/u;

export function addMetadataRoutes(app: Gateway, world: World, peerOf: PeerOf): void {
  const serve = (repo: Repo, path: string): void => {
    app.get(path, async (request, reply) => {
      const { device, socket } = peerOf(request);
      const prefix = path.replace(/[^/]*$/u, '');
      const name = fileName(request.url, path.includes('delegations') ? '/repo/' : prefix);
      const active = world.faults
        .at('metadata-bytes', device)
        .filter((fault) => concerns(fault, repo, name));
      const isOn = (fault: FaultName): boolean => active.some((one) => one.name === fault);
      const read = async (file: string): Promise<string | undefined> =>
        world.metadata.file(repo, device, file);
      const text = await (isOn('metadata-reordered') ? readOther(name, read) : read(name));
      if (text === undefined || isOn('metadata-missing'))
        throw absent(name, world.metadata.isConsistent(repo));
      const reset = (): void => {
        socket.resetAndDestroy();
      };
      return reply
        .header('content-type', 'application/json')
        .send(paced(spoil(Buffer.from(text), active), active, reset));
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

/** The end of a root chain is 424 in the field; in TUF it is a file that is not there. */
function absent(name: string, isTuf: boolean): Refusal {
  return NUMBERED_ROOT.test(name) && !isTuf
    ? new Refusal(424, 'root_role_not_found', `there is no ${name} yet`)
    : new Refusal(404, 'missing_entity', `there is no ${name}`);
}

/** The snapshot has its version in its name where snapshots are consistent. */
async function readOther(
  name: string,
  read: (name: string) => Promise<string | undefined>,
): Promise<string | undefined> {
  if (name.endsWith('snapshot.json')) return read('timestamp.json');
  const timestamp = await read('timestamp.json');
  if (name !== 'timestamp.json' || timestamp === undefined) return read(name);
  const versioned = `${String(listedVersion(timestamp, 'snapshot'))}.snapshot.json`;
  return (await read('snapshot.json')) ?? read(versioned);
}

/** A file is meant by its name with or without its version. */
function concerns({ parameters }: ActiveFault, repo: Repo, name: string): boolean {
  const { file = '', repo: only } = parameters;
  const isFile = file === '' || file === name || file === name.replace(/^\d+\./u, '');
  return isFile && (only === '' || only === repo);
}

function spoil(body: Buffer, faults: readonly ActiveFault[]): Buffer {
  let sent = body;
  for (const { name, parameters } of faults) {
    if (name === 'metadata-garbage') sent = Buffer.from(PORTAL);
    if (name === 'metadata-truncated') {
      sent = sent.subarray(0, Math.max(0, sent.length - Number(parameters['missingBytes'])));
    }
    const missing = Number(parameters['bytes']) - sent.length;
    if (name === 'metadata-oversized' && missing > 0) {
      sent = Buffer.concat([sent, Buffer.alloc(missing, ' ')]);
    }
  }
  return sent;
}

/** The answer itself, or what comes of it in time. */
function paced(body: Buffer, faults: readonly ActiveFault[], reset: () => void): Buffer | Readable {
  const parametersOf = (name: FaultName): Parameters | undefined =>
    faults.find((fault) => fault.name === name)?.parameters;
  const [slow, cut] = [parametersOf('metadata-slow'), parametersOf('metadata-reset')];
  if (slow === undefined && cut === undefined) return body;
  let sent: AsyncIterable<Buffer> = Readable.from([body]);
  if (slow !== undefined) sent = slowly(sent, Math.max(1, Number(slow['bytesPerSecond'])));
  if (cut !== undefined) sent = breakOff(sent, Number(cut['afterBytes']), reset);
  return Readable.from(sent, { objectMode: false });
}
