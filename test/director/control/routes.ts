/** The operator's API: JSON over the Unix socket `control.sock`. README.md lists the routes. */
import fastify, { type FastifyInstance } from 'fastify';

import { answerError, answerMissing, takeBody } from '../answers.ts';
import { addCertificateRoutes } from './certificates.ts';
import { addDeviceRoutes } from './devices.ts';
import { addFaultRoutes } from './faults.ts';
import { describeRoutes } from './openapi.ts';
import type { ControlParts } from './parts.ts';
import { addOfflineRoutes } from './offline.ts';
import { addRepositoryRoutes } from './repository.ts';
import { addRolloutRoutes } from './rollouts.ts';

export function createControl(parts: ControlParts): FastifyInstance {
  const app = fastify({ forceCloseConnections: true, exposeHeadRoutes: false });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, takeBody);
  app.setNotFoundHandler(answerMissing);
  app.setErrorHandler(answerError);
  describeRoutes(app);
  app.get('/status', () => statusOf(parts));
  addRepositoryRoutes(app, parts.world);
  addDeviceRoutes(app, parts.world);
  addOfflineRoutes(app, parts.world);
  addRolloutRoutes(app, parts.world);
  addFaultRoutes(app, parts);
  addCertificateRoutes(app, parts);
  return app;
}

async function statusOf({ world, addresses }: ControlParts): Promise<object> {
  return {
    ...addresses(),
    settings: world.settings.current,
    roots: { director: world.director.trust.roots.length, image: world.images.trust.roots.length },
    imageVersions: world.images.issued(world.faults.floor('image', 'image-metadata')).versions,
    images: world.images.images.length,
    devices: await world.store.count(),
    faults: world.faults.active,
  };
}
