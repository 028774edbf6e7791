/** The device gateway: TLS that only devices of our CA get through, and the routes behind it. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { SecureContextOptions } from 'node:tls';

import fastify from 'fastify';

import { answerError, answerMissing, takeBody } from '../answers.ts';
import { addSharedRoute } from '../enrolment/shared.ts';
import type { World } from '../world.ts';
import { addAnswerFaults } from './answer-faults.ts';
import { addImageRoutes } from './images.ts';
import { addMetadataRoutes } from './metadata.ts';
import { Peers, type Gateway, type PeerOf } from './peers.ts';
import { presentedIdentity } from './presented.ts';
import { addReportRoutes } from './reports.ts';
import { addSecretsRoutes } from './secrets.ts';
import { addTimeRoute } from './time.ts';
import { addTreehubRoute } from './treehub.ts';

export interface RunningGateway {
  readonly app: Gateway;
  /** Takes the current revocation list over and cuts the connections of revoked certificates. */
  readonly reloadRevocations: () => Promise<void>;
  /** Presents the certificate that is wanted now, and cuts every connection. */
  readonly reloadCertificate: () => Promise<void>;
}

/** lshw of a large machine is about 1 MiB. */
const BODY_BYTES = 8 * 1024 * 1024;
const KEEP_ALIVE_MS = 120_000;
const CHECKED_EVERY_MS = 10_000;
const LONGEST_PATH = 4096;

/** @param requestMs - how long a client may take to send one request, and a handshake */
export async function createGateway(world: World, requestMs: number): Promise<RunningGateway> {
  const app = fastify({
    https: {
      ...(await secureContext(world)),
      requestCert: true,
      rejectUnauthorized: true,
      sessionTimeout: 24 * 3600,
      handshakeTimeout: requestMs,
      headersTimeout: requestMs,
      connectionsCheckingInterval: Math.min(requestMs, CHECKED_EVERY_MS),
    },
    bodyLimit: BODY_BYTES,
    // A client that sends a byte a minute would otherwise have its connection for ever.
    requestTimeout: requestMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: LONGEST_PATH },
  });
  const peers = new Peers(world);
  peers.watch(app.server);
  const peerOf: PeerOf = (request) => peers.of(request.raw.socket);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, takeBody);
  app.setNotFoundHandler(answerMissing);
  app.setErrorHandler(answerError);
  app.addHook('onRequest', (request, reply, done) => {
    const { device } = peerOf(request);
    const { method, url } = request;
    const { range } = request.headers;
    const at = new Date().toISOString();
    const part = range === undefined ? {} : { range };
    const answered = world.traffic.arrived({ at, device, method, path: url, ...part });
    reply.raw.once('finish', () => {
      answered(reply.raw.statusCode);
    });
    done();
  });
  addAnswerFaults(app, world, peerOf);
  addMetadataRoutes(app, world, peerOf);
  addImageRoutes(app, world, peerOf);
  addTreehubRoute(app, world, peerOf);
  addReportRoutes(app, world, peerOf);
  addSecretsRoutes(app, world, peerOf);
  addTimeRoute(app, world, peerOf);
  addSharedRoute(app, world, peerOf);
  const reload = async (): Promise<void> => {
    app.server.setSecureContext(await secureContext(world));
    // A ticket made before would otherwise spare its holder the handshake.
    app.server.setTicketKeys(randomBytes(48));
  };
  const reloadRevocations = async (): Promise<void> => {
    await reload();
    peers.cutRevoked();
  };
  app.addHook('onRequest', async () => {
    if (world.follow()) await reloadRevocations();
  });
  return {
    app,
    reloadRevocations,
    reloadCertificate: async () => {
      await reload();
      peers.cutAll();
    },
  };
}

async function secureContext(world: World): Promise<SecureContextOptions> {
  const server = await presentedIdentity(world);
  return {
    key: readFileSync(server.keyPath),
    cert: readFileSync(server.certificatePath),
    ca: readFileSync(world.deviceCa.identity.certificatePath),
    crl: await world.deviceCa.revocationLists(),
    minVersion: 'TLSv1.2',
  };
}
