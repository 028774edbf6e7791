/** Devices: who they are, what they reported, what they shall install, what they cost. */
import type { FastifyInstance } from 'fastify';

import { bodyOf } from '../answers.ts';
import type { WantedTarget } from '../director.ts';
import { Refusal } from '../failure.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { Device } from '../state/devices.ts';
import type { World } from '../world.ts';

interface DeviceRoute {
  readonly Params: { readonly id: string };
}

interface SecretRoute {
  readonly Params: { readonly id: string; readonly name: string };
}

/** In Base64. */
const SECRET_CHARACTERS = 90_000;

export function addDeviceRoutes(app: FastifyInstance, world: World): void {
  const deviceOf = (id: string): Device => {
    const device = world.devices.find(id);
    if (device !== undefined) return device;
    const known =
      world.devices
        .list()
        .map((one) => one.id)
        .join(', ') || 'none yet';
    throw new Refusal(404, 'device_not_found', `no device ${id} was here; there are ${known}`);
  };

  app.post('/assignments', async (request, reply) => {
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const assignment = await world.director.assign(
      deviceOf(wanted.string('device')),
      readTargets(wanted),
    );
    return reply.code(201).send(assignment);
  });

  app.get('/devices', () => world.devices.list().map(withoutValues));
  app.get<DeviceRoute>('/devices/:id', (request) => withoutValues(deviceOf(request.params.id)));
  app.get<DeviceRoute>('/devices/:id/manifests', (request) =>
    world.devices.records(deviceOf(request.params.id).id, 'manifests'),
  );
  app.get<DeviceRoute>('/devices/:id/events', (request) =>
    world.devices.records(deviceOf(request.params.id).id, 'events'),
  );
  app.delete<DeviceRoute>('/devices/:id/assignment', (request, reply) => {
    world.director.cancel(deviceOf(request.params.id));
    return reply.code(204).send();
  });

  app.put<SecretRoute>('/devices/:id/secrets/:name', (request, reply) => {
    const device = world.devices.meet(request.params.id);
    const value = new JsonReader(parseJson(bodyOf(request))).string('value', SECRET_CHARACTERS);
    const { version = 0, values = {} } = device.secrets ?? {};
    const secrets = { version: version + 1, values: { ...values, [request.params.name]: value } };
    world.devices.save({ ...device, secrets });
    return reply.code(201).send({ version: secrets.version, names: Object.keys(secrets.values) });
  });
  app.delete<SecretRoute>('/devices/:id/secrets/:name', (request, reply) => {
    const device = deviceOf(request.params.id);
    const { version = 0, values = {} } = device.secrets ?? {};
    const { [request.params.name]: gone, ...left } = values;
    if (gone === undefined) {
      throw new Refusal(404, 'secret_not_found', `${device.id} has no ${request.params.name}`);
    }
    world.devices.save({ ...device, secrets: { version: version + 1, values: left } });
    return reply.code(204).send();
  });

  app.get('/stats', () => ({
    devices: world.traffic.devices(),
    refusedHandshakes: world.traffic.refusedHandshakes,
  }));
  app.delete('/stats', (_request, reply) => {
    world.traffic.reset();
    return reply.code(204).send();
  });
  app.get<{ readonly Querystring: { readonly device?: string } }>('/requests', (request) =>
    world.traffic.lines(request.query.device),
  );
}

/** What is secret is sent to the device, and to nobody else. */
function withoutValues({ secrets, ...device }: Device): object {
  if (secrets === undefined) return device;
  return { ...device, secrets: { ...secrets, values: Object.keys(secrets.values) } };
}

/** `targets: [{image, ecus?}]`, or `image` and perhaps `ecu` for the common case. */
function readTargets(wanted: JsonReader): readonly WantedTarget[] {
  if (!wanted.has('targets')) {
    const ecu = wanted.optionalString('ecu');
    return [{ image: wanted.string('image'), ecus: ecu === undefined ? [] : [ecu] }];
  }
  return wanted.objects('targets').map((target) => ({
    image: target.string('image'),
    ecus: target.has('ecus') ? target.strings('ecus') : [],
  }));
}
