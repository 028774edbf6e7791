/** Devices: who they are, what they reported, what they shall install, what they cost. */
import type { FastifyInstance } from 'fastify';

import { bodyOf } from '../answers.ts';
import type { WantedTarget } from '../director.ts';
import { Refusal } from '../failure.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import { storyOf, type Told } from '../page/story.ts';
import { cipherTextsOf } from '../rollouts/encrypt-ahead.ts';
import { leaveRollout } from '../rollouts/follow.ts';
import { entryOf } from '../rollouts/history.ts';
import type { Device } from '../state/devices.ts';
import type { Store } from '../state/store.ts';
import type { World } from '../world.ts';

interface DeviceRoute {
  readonly Params: { readonly id: string };
}

interface SecretRoute {
  readonly Params: { readonly id: string; readonly name: string };
}

/** In Base64. */
const SECRET_CHARACTERS = 90_000;
/** Of a device that is not known, so many others are named. */
const NAMED = 20;

export function addDeviceRoutes(app: FastifyInstance, world: World): void {
  const { store, director } = world;

  app.post('/assignments', async (request, reply) => {
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const device = await deviceOf(store, wanted.string('device'));
    const targets = readTargets(wanted);
    // Before the device is held: a large image takes long, and its polls would wait.
    const encrypted = await director.encrypt(device, targets);
    const { assignment, before } = await store.hold(device.id, async (held) => {
      const { assignment: former } = held.device;
      await leaveRollout(held);
      const given = await director.assign(held, targets, encrypted);
      await held.keep('history', entryOf('assigned', given, 'by an operator'));
      return { assignment: given, before: former };
    });
    for (const sha256 of cipherTextsOf(before)) world.images.files.removeMade(sha256);
    return reply.code(201).send(assignment);
  });

  app.get('/devices', async () => (await store.list()).map(withoutValues));
  app.get<DeviceRoute>('/devices/:id', async (request) =>
    withoutValues(await deviceOf(store, request.params.id)),
  );
  for (const kind of ['manifests', 'events', 'history'] as const) {
    app.get<DeviceRoute>(`/devices/:id/${kind}`, async (request) =>
      store.records((await deviceOf(store, request.params.id)).id, kind),
    );
  }
  app.get<DeviceRoute>('/devices/:id/story', async (request) => {
    const { id, telemetry } = await deviceOf(store, request.params.id);
    return storyOf({
      telemetry,
      manifests: (await store.records(id, 'manifests')) as Told['manifests'],
      events: (await store.records(id, 'events')) as Told['events'],
      history: (await store.records(id, 'history')) as Told['history'],
    });
  });
  app.get<{ readonly Querystring: { readonly begins?: string } }>('/device-ids', async (request) =>
    store.idsOf(request.query.begins ?? ''),
  );
  app.get('/fleet', async () => {
    const rows = await store.fleet();
    return rows.map((row) => {
      const version = world.images.findImage(row.image)?.custom['version'];
      return { ...row, version: typeof version === 'string' ? version : '' };
    });
  });
  app.delete<DeviceRoute>('/devices/:id/assignment', async (request, reply) => {
    const { id } = await deviceOf(store, request.params.id);
    const before = await store.hold(id, async (held) => {
      const { assignment } = held.device;
      await leaveRollout(held);
      await director.cancel(held);
      if (assignment !== undefined)
        await held.keep('history', entryOf('withdrawn', assignment, 'by an operator'));
      return assignment;
    });
    for (const sha256 of cipherTextsOf(before)) world.images.files.removeMade(sha256);
    return reply.code(204).send();
  });
  app.put<DeviceRoute>('/devices/:id/tags', async (request) => {
    const tags = new JsonReader(parseJson(bodyOf(request))).strings('tags');
    const { id } = await deviceOf(store, request.params.id);
    await store.hold(id, async (held) => held.save({ ...held.device, tags }));
    return { tags };
  });
  addSecretRoutes(app, world);

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

/** @throws Refusal 404 `device_not_found` */
export async function deviceOf(store: Store, id: string): Promise<Device> {
  const device = await store.find(id);
  if (device !== undefined) return device;
  const there = (await store.idsOf('')).slice(0, NAMED).join(', ') || 'none yet';
  throw new Refusal(404, 'device_not_found', `no device ${id} was here; there are ${there}`);
}

function addSecretRoutes(app: FastifyInstance, { store }: World): void {
  app.put<SecretRoute>('/devices/:id/secrets/:name', async (request, reply) => {
    const { id, name } = request.params;
    const value = new JsonReader(parseJson(bodyOf(request))).string('value', SECRET_CHARACTERS);
    const secrets = await store.hold(id, async (held) => {
      const { version = 0, values = {} } = held.device.secrets ?? {};
      const next = { version: version + 1, values: { ...values, [name]: value } };
      await held.save({ ...held.device, secrets: next });
      return next;
    });
    return reply.code(201).send({ version: secrets.version, names: Object.keys(secrets.values) });
  });
  app.delete<SecretRoute>('/devices/:id/secrets/:name', async (request, reply) => {
    const { id, name } = request.params;
    await deviceOf(store, id);
    await store.hold(id, async (held) => {
      const { version = 0, values = {} } = held.device.secrets ?? {};
      const { [name]: gone, ...left } = values;
      if (gone === undefined) throw new Refusal(404, 'secret_not_found', `${id} has no ${name}`);
      await held.save({ ...held.device, secrets: { version: version + 1, values: left } });
    });
    return reply.code(204).send();
  });
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
