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

  app.post('/assignments', (request, reply) => {
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const assignment = world.director.assign(
      deviceOf(wanted.string('device')),
      readTargets(wanted),
    );
    return reply.code(201).send(assignment);
  });

  app.get('/devices', () => world.devices.list());
  app.get<DeviceRoute>('/devices/:id', (request) => deviceOf(request.params.id));
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
