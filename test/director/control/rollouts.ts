/** Rollouts: written down, begun, steered, looked at. */
import type { FastifyInstance } from 'fastify';

import { bodyOf } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { Image } from '../metadata/image-content.ts';
import { COMMANDS } from '../rollouts/machine.ts';
import { readRollout } from '../rollouts/read-rollout.ts';
import { MEMBER_STATES, type PhaseCounts, type Rollout } from '../rollouts/rollout.ts';
import { commandRollout, startRollout } from '../rollouts/start.ts';
import type { World } from '../world.ts';

/** What operators are shown of a rollout. */
export interface CountedRollout extends Rollout {
  /** Of each phase. */
  readonly counts: readonly PhaseCounts[];
}

interface RolloutRoute {
  readonly Params: { readonly id: string };
  readonly Querystring: { readonly state?: string };
}

export function addRolloutRoutes(app: FastifyInstance, world: World): void {
  const { store } = world;

  app.post('/rollouts', async (request, reply) => {
    const rollout = readRollout(new JsonReader(parseJson(bodyOf(request))), Date.now());
    refuseMissing(world.images.findImage(rollout.image), rollout.image);
    await store.addRollout(rollout);
    return reply.code(201).send(rollout);
  });
  app.get('/rollouts', async () => {
    const rollouts = await store.rollouts();
    return Promise.all(rollouts.map(async (one) => ({ ...one, counts: await store.counts(one) })));
  });
  app.get<RolloutRoute>('/rollouts/:id', async ({ params }): Promise<CountedRollout> => {
    const rollout = await store.findRollout(params.id);
    if (rollout === undefined)
      throw new Refusal(404, 'rollout_not_found', `there is no rollout ${params.id}`);
    return { ...rollout, counts: await store.counts(rollout) };
  });
  app.get<RolloutRoute>('/rollouts/:id/devices', async ({ params, query }) => {
    const state = MEMBER_STATES.find((one) => one === query.state);
    if (state !== undefined) return store.members(params.id, state);
    throw new Refusal(400, 'bad_request', `state must be one of ${MEMBER_STATES.join(', ')}`);
  });

  app.post<RolloutRoute>('/rollouts/:id/start', async ({ params }) =>
    startRollout(world, params.id),
  );
  for (const command of COMMANDS) {
    app.post<RolloutRoute>(`/rollouts/:id/${command}`, async ({ params }) =>
      commandRollout(store, params.id, command),
    );
  }
}

function refuseMissing(image: Image | undefined, filename: string): void {
  if (image !== undefined) return;
  throw new Refusal(404, 'image_not_found', `no image ${filename}; publish it first`);
}
