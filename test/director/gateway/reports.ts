/** What devices tell: ECUs, manifests, events, and what they are made of. */
import { bodyOf } from '../answers.ts';
import { isMap, type Json, type JsonMap } from '../json/canonical-json.ts';
import { registerEcus } from './ecus.ts';
import { Refusal } from '../failure.ts';
import { learnFrom, verifyManifest, type VerifiedManifest } from './manifest.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { Device } from '../state/devices.ts';
import { advanceRollout, followRollouts } from '../rollouts/follow.ts';
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
const ACCEPTED: ManifestRecord['verdict'] = {
  status: 200,
  code: 'accepted',
  description: 'signatures, inventory and counter are right',
};
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iu;

export function addReportRoutes(app: Gateway, world: World, peerOf: PeerOf): void {
  const { store } = world;
  // Also a device that is refused is seen.
  const onRequest = async (request: Parameters<PeerOf>[0]): Promise<void> =>
    store.meet(peerOf(request).device);

  app.post('/director/ecus', { onRequest }, async (request, reply) => {
    const { ecuReplacement, keyChange } = world.settings.current;
    const allowed = keyChange === 'ignored' ? 'keys-ignored' : 'allowed';
    const replacement = ecuReplacement ? allowed : 'forbidden';
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const status = await store.hold(peerOf(request).device, async (held) => {
      const registration = registerEcus(held.device, wanted, replacement);
      await held.save(registration.device);
      return registration.status;
    });
    return reply.code(status).send({});
  });

  app.put('/director/manifest', { onRequest }, async (request, reply) => {
    await takeManifest(world, peerOf(request).device, bodyOf(request));
    return reply.send({});
  });

  for (const path of ['/events', '/events/']) {
    app.post(path, { onRequest, bodyLimit: EVENTS_BYTES }, async (request, reply) => {
      await takeEvents(world, peerOf(request).device, bodyOf(request));
      return reply.code(204).send();
    });
  }

  const telemetry = (method: 'PUT' | 'POST', path: string, status: 200 | 204): void => {
    app.route({
      method,
      url: `/${path}`,
      onRequest,
      handler: async (request, reply) => {
        const body = bodyOf(request);
        const content = path.endsWith('/config') ? body.toString() : parseJson(body);
        const told = { receivedAt: new Date().toISOString(), content };
        await store.hold(peerOf(request).device, async (held) => {
          const telemetry = { ...held.device.telemetry, [path]: told };
          await held.save({ ...held.device, telemetry });
        });
        return reply.code(status).send();
      },
    });
  };
  telemetry('PUT', 'system_info', 200);
  telemetry('PUT', 'core/installed', 200);
  telemetry('PUT', 'system_info/network', 204);
  telemetry('POST', 'system_info/config', 204);
}

/**
 * A manifest is kept whatever the verdict: a refused one is what an operator wants to see. What follows
 * from it, a rollout's next device included, is decided in the same transaction.
 */
async function takeManifest(world: World, deviceId: string, body: Buffer): Promise<void> {
  const receivedAt = new Date().toISOString();
  const manifest = readManifest(body);
  const taken = await world.store.hold(deviceId, async (held) => {
    const judged = judge(held.device, manifest);
    const { verdict } = judged;
    const record: ManifestRecord = { receivedAt, verdict, manifest: manifest.json };
    await held.keep('manifests', record);
    if (judged.verified === undefined) return { refusal: judged.refusal };
    const learned = learnFrom(held.device, judged.verified, receivedAt);
    return { follows: await followRollouts(world, held, learned) };
  });
  if (taken.refusal !== undefined) throw taken.refusal;
  const { ended = [], spent = [], lacks } = taken.follows ?? {};
  for (const sha256 of spent) world.images.files.removeMade(sha256);
  if (lacks !== undefined) world.ahead.want(deviceId, lacks);
  for (const rollout of ended) await advanceRollout(world.store, rollout);
}

interface Received {
  /** `null` when it was not even JSON. */
  readonly json: Json;
  readonly refusal?: Refusal;
}

function readManifest(body: Buffer): Received {
  try {
    return { json: parseJson(body) };
  } catch (error) {
    if (error instanceof Refusal) return { json: null, refusal: error };
    throw error;
  }
}

interface Judged {
  readonly verdict: ManifestRecord['verdict'];
  readonly verified?: VerifiedManifest;
  readonly refusal?: Refusal;
}

function judge(device: Device, { json, refusal }: Received): Judged {
  try {
    if (refusal !== undefined) throw refusal;
    return { verified: verifyManifest(device, json), verdict: ACCEPTED };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const verdict = { status: error.status, code: error.code, description: error.message };
    return { refusal: error, verdict };
  }
}

/** The same event twice, after a lost answer, is kept once. */
async function takeEvents(world: World, deviceId: string, body: Buffer): Promise<void> {
  const events = parseJson(body);
  if (!Array.isArray(events)) throw new Refusal(400, 'json_malformed', '$ must be an array');
  const receivedAt = new Date().toISOString();
  const checked = (events as readonly Json[]).map(checkEvent);
  await world.store.hold(deviceId, async (held) => {
    for (const { id, event } of checked) {
      const record: EventRecord = { receivedAt, event };
      await held.keep('events', record, id);
    }
  });
}

function checkEvent(value: Json, at: number): { readonly id: string; readonly event: JsonMap } {
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
  return { id, event: isMap(value) ? value : {} };
}
