/** The switchboard of the faults. */
import type { FastifyInstance } from 'fastify';

import { bodyOf } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { faultName, FAULTS, rowOf, type ActiveFault, type FaultName } from '../faults.ts';
import type { IssuedSet } from '../metadata/metadata-set.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { World } from '../world.ts';
import type { ControlParts } from './parts.ts';

interface FaultRoute {
  readonly Params: { readonly name: string };
  readonly Querystring: { readonly device?: string };
}

export function addFaultRoutes(
  app: FastifyInstance,
  { world, reloadCertificate }: Pick<ControlParts, 'world' | 'reloadCertificate'>,
): void {
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
    await refuseImpossible(world, name, device);
    const fault = world.faults.on(name, device, parameters);
    if (concernsCertificate(fault)) await reloadCertificate();
    return fault;
  });
  const switchOff = async (name: FaultName | undefined, device?: string): Promise<object> => {
    const before = world.faults.active;
    const switchedOff = world.faults.off(name, device);
    const gone = before.filter((fault) => !world.faults.active.includes(fault));
    if (gone.some(concernsCertificate)) await reloadCertificate();
    return { switchedOff };
  };
  app.delete<FaultRoute>('/faults/:name', (request) =>
    switchOff(faultName(request.params.name), request.query.device),
  );
  app.delete<FaultRoute>('/faults', (request) => switchOff(undefined, request.query.device));
}

function concernsCertificate({ name }: ActiveFault): boolean {
  return rowOf(name).stages.includes('server-certificate');
}

/** A fault that would strike others, or silently do nothing: a rollback needs something older. */
async function refuseImpossible(
  world: World,
  name: FaultName,
  deviceId: string | undefined,
): Promise<void> {
  if (rowOf(name).forAll === true && deviceId !== undefined) {
    throw new Refusal(400, 'fault_for_all', `${name} is for all devices: leave the device out`);
  }
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
