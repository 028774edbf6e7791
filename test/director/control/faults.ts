/** The switchboard of the faults. */
import type { FastifyInstance } from 'fastify';

import { bodyOf } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { faultName, FAULTS, rowOf, type FaultName } from '../faults.ts';
import type { IssuedSet } from '../metadata/metadata-set.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { World } from '../world.ts';

interface FaultRoute {
  readonly Params: { readonly name: string };
  readonly Querystring: { readonly device?: string };
}

export function addFaultRoutes(app: FastifyInstance, world: World): void {
  app.get('/faults', () => ({
    faults: Object.entries(FAULTS).map(([name, row]) => ({ name, ...row })),
    active: world.faults.active,
  }));
  app.put<FaultRoute>('/faults/:name', async (request) => {
    const name = faultName(request.params.name);
    const body = bodyOf(request);
    const wanted = new JsonReader(body.length === 0 ? {} : parseJson(body));
    const device = wanted.optionalString('device') ?? request.query.device;
    const parameters = wanted.has('parameters') ? wanted.object('parameters') : new JsonReader({});
    await refusePointless(world, name, device);
    return world.faults.on(name, device, parameters);
  });
  app.delete<FaultRoute>('/faults/:name', (request) => ({
    switchedOff: world.faults.off(faultName(request.params.name), request.query.device),
  }));
  app.delete<FaultRoute>('/faults', (request) => ({
    switchedOff: world.faults.off(undefined, request.query.device),
  }));
}

/** A rollback needs something older to go back to: otherwise the fault would silently do nothing. */
async function refusePointless(
  world: World,
  name: FaultName,
  deviceId: string | undefined,
): Promise<void> {
  if (!name.includes('rollback')) return;
  const sets = rowOf(name).stages.includes('image-metadata')
    ? [world.images.issued(world.faults.floor('image', 'image-metadata'))]
    : await issuedTo(world, deviceId);
  if (sets.some((issued) => issued !== undefined && hasOlder(name, issued))) return;
  throw new Refusal(
    409,
    'nothing_to_roll_back',
    `${name} needs an older version; publish, assign or refresh first, and let the device see it`,
  );
}

async function issuedTo(
  { store }: World,
  deviceId: string | undefined,
): Promise<readonly (IssuedSet | undefined)[]> {
  const ids = deviceId === undefined ? (await store.list()).map(({ id }) => id) : [deviceId];
  return Promise.all(ids.map(async (id) => store.issued(id)));
}

function hasOlder(name: FaultName, issued: IssuedSet): boolean {
  if (name.includes('timestamp')) return issued.versions.timestamp > 1;
  if (name.includes('snapshot')) return issued.previous !== undefined;
  return issued.previousTargets !== undefined;
}
