/** Updates for media, and the media. */
import { isAbsolute } from 'node:path';

import type { FastifyInstance } from 'fastify';

import { bodyOf } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { Lockbox } from '../offline.ts';
import type { World } from '../world.ts';
import { deviceOf } from './devices.ts';

export function addOfflineRoutes(app: FastifyInstance, { offline, store }: World): void {
  app.post('/lockboxes', async (request, reply) => {
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const id = wanted.optionalString('device');
    const device = id === undefined ? undefined : await deviceOf(store, id);
    const lockbox = await offline.sign(wanted.string('name'), wanted.strings('images'), device);
    return reply.code(201).send(shown(lockbox));
  });
  app.get('/lockboxes', () => offline.lockboxes.map(shown));
  app.post('/sticks', async (request, reply) => {
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const directory = wanted.string('directory');
    if (!isAbsolute(directory)) {
      throw new Refusal(400, 'json_malformed', '$.directory must be an absolute path');
    }
    const names = wanted.has('lockboxes') ? wanted.strings('lockboxes') : [];
    const written = await offline.write(directory, names);
    return reply.code(201).send(written.map(shown));
  });
}

function shown({ name, version, images }: Lockbox): object {
  return { name, version, images };
}
