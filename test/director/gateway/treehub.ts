/** `/treehub/…`: an OSTree repository (archive mode) from a directory, as honest as the faults let it be. */
import { createReadStream, statSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { Refusal } from '../failure.ts';
import { spoilDownload } from '../faults/downloads.ts';
import type { World } from '../world.ts';
import { fileName } from './metadata.ts';
import type { Gateway, PeerOf } from './peers.ts';

const PREFIX = '/treehub/';
/** What an OSTree client asks for; nothing that leads out of the repository. */
const SERVED =
  /^(?:config|summary|summary\.sig|(?:objects|deltas|delta-indexes|refs)(?:\/[\w+-][\w.+-]*)+)$/u;

export function addTreehubRoute(app: Gateway, world: World, peerOf: PeerOf): void {
  app.get(`${PREFIX}*`, (request, reply) => {
    const { device, socket } = peerOf(request);
    const name = fileName(request.url, PREFIX);
    const file = SERVED.test(name) ? join(world.settings.current.treehub, name) : '';
    const lengthBytes = world.settings.current.treehub === '' ? undefined : sizeOf(file);
    if (lengthBytes === undefined) throw new Refusal(404, 'missing_entity', `there is no ${name}`);
    const body = createReadStream(file) as AsyncIterable<Buffer>;
    const honest = { offsetBytes: 0, lengthBytes, range: undefined, body };
    const reset = (): void => {
      socket.resetAndDestroy();
    };
    const sent = spoilDownload(honest, world.faults, { device, stage: 'treehub', name }, reset);
    reply.header('content-type', 'application/octet-stream');
    if (sent.lengthBytes !== undefined) reply.header('content-length', sent.lengthBytes);
    return reply.send(Readable.from(sent.body, { objectMode: false }));
  });
}

function sizeOf(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true ? found.size : undefined;
}
