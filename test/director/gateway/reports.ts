/** What devices tell: ECUs, manifests, events, and what they are made of. */
import type { FastifyRequest } from 'fastify';

import { bodyOf } from '../answers.ts';
import { isMap, type Json, type JsonMap } from '../json/canonical-json.ts';
import { registerEcus } from './ecus.ts';
import { Refusal } from '../failure.ts';
import { learnFrom, verifyManifest } from './manifest.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { Device } from '../state/devices.ts';
import type { World } from '../world.ts';
import type { Gateway, PeerOf } from './peers.ts';

/** One manifest as it came, and what became of it. */
export interface ManifestRecord {
  readonly receivedAt: string;
  readonly verdict: {
    readonly status: number;
    readonly code: string;
    readonly description: string;
  };
  /** As received; `null` when it was not even JSON. */
  readonly manifest: Json;
}

export interface EventRecord {
  readonly receivedAt: string;
  readonly event: JsonMap;
}

/** Of one batch: more is answered 413, and the client sends smaller ones. */
const EVENTS_BYTES = 1024 * 1024;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iu;

export function addReportRoutes(app: Gateway, world: World, peerOf: PeerOf): void {
  const deviceOf = (request: FastifyRequest | Parameters<PeerOf>[0]): Device =>
    world.devices.meet(peerOf(request).device);

  app.post('/director/ecus', (request, reply) => {
    const { ecuReplacement, keyChange } = world.settings.current;
    const allowed = keyChange === 'ignored' ? 'keys-ignored' : 'allowed';
    const replacement = ecuReplacement ? allowed : 'forbidden';
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const { device, status } = registerEcus(deviceOf(request), wanted, replacement);
    world.devices.save(device);
    return reply.code(status).send({});
  });

  app.put('/director/manifest', (request, reply) => {
    takeManifest(world, deviceOf(request), bodyOf(request));
    return reply.send({});
  });

  for (const path of ['/events', '/events/']) {
    app.post(path, { bodyLimit: EVENTS_BYTES }, (request, reply) => {
      takeEvents(world, deviceOf(request), bodyOf(request));
      return reply.code(204).send();
    });
  }

  const telemetry = (method: 'PUT' | 'POST', path: string, status: 200 | 204): void => {
    app.route({
      method,
      url: `/${path}`,
      handler: (request, reply) => {
        const device = deviceOf(request);
        const body = bodyOf(request);
        const content = path.endsWith('/config') ? body.toString() : parseJson(body);
        const told = { receivedAt: new Date().toISOString(), content };
        world.devices.save({ ...device, telemetry: { ...device.telemetry, [path]: told } });
        return reply.code(status).send();
      },
    });
  };
  telemetry('PUT', 'system_info', 200);
  telemetry('PUT', 'core/installed', 200);
  telemetry('PUT', 'system_info/network', 204);
  telemetry('POST', 'system_info/config', 204);
}

/** A manifest is kept whatever the verdict: a refused one is what an operator wants to see. */
function takeManifest(world: World, device: Device, body: Buffer): void {
  const receivedAt = new Date().toISOString();
  let manifest: Json = null;
  const keep = (verdict: ManifestRecord['verdict']): void => {
    const record: ManifestRecord = { receivedAt, verdict, manifest };
    world.devices.addRecord(device.id, 'manifests', record);
  };
  try {
    manifest = parseJson(body);
    world.devices.save(learnFrom(device, verifyManifest(device, manifest), receivedAt));
  } catch (error) {
    if (error instanceof Refusal) {
      keep({ status: error.status, code: error.code, description: error.message });
    }
    throw error;
  }
  keep({
    status: 200,
    code: 'accepted',
    description: 'signatures, inventory and counter are right',
  });
}

/** The same event twice, after a lost answer, is kept once. */
function takeEvents(world: World, device: Device, body: Buffer): void {
  const events = parseJson(body);
  if (!Array.isArray(events)) throw new Refusal(400, 'json_malformed', '$ must be an array');
  const known = new Set(
    (world.devices.records(device.id, 'events') as readonly EventRecord[]).map(
      ({ event }) => event['id'],
    ),
  );
  const receivedAt = new Date().toISOString();
  const checked = (events as readonly Json[]).map(checkEvent);
  for (const event of checked) {
    if (known.has(event['id'])) continue;
    known.add(event['id']);
    const record: EventRecord = { receivedAt, event };
    world.devices.addRecord(device.id, 'events', record);
  }
}

function checkEvent(value: Json, at: number): JsonMap {
  const path = `$[${String(at)}]`;
  const event = new JsonReader(value, path);
  const id = event.string('id');
  if (!UUID.test(id)) throw new Refusal(400, 'json_malformed', `${path}.id must be a UUID`);
  if (Number.isNaN(Date.parse(event.string('deviceTime')))) {
    throw new Refusal(400, 'json_malformed', `${path}.deviceTime must be an ISO 8601 instant`);
  }
  const type = event.object('eventType');
  type.string('id');
  type.integer('version');
  event.object('event');
  return isMap(value) ? value : {};
}
