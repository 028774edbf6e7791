/** Starts the three servers over one state directory, and ends them. */
import { existsSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';

import type { FastifyInstance } from 'fastify';

import type { Arguments } from './cli/arguments.ts';
import type { Addresses } from './control/parts.ts';
import { createControl } from './control/routes.ts';
import { createEnrolment } from './enrolment/est.ts';
import { DirectorFailure, reasonOf } from './failure.ts';
import { createPage } from './page/server.ts';
import type { Gateway } from './gateway/peers.ts';
import { createGateway } from './gateway/server.ts';
import { watchRollouts } from './rollouts/follow.ts';
import { makeDirectory, readState, writeState } from './state/state-file.ts';
import { openWorld } from './world.ts';

export interface RunningDirector {
  readonly addresses: Addresses;
  /** With the token of its operator. */
  readonly pageUrl?: string;
  readonly stop: () => Promise<void>;
}

interface Ports {
  readonly gateway: number;
  readonly enrol: number;
  readonly page?: number;
}

const SOCKET_PATH_BYTES = 107;
const ROLLOUTS_EVERY_MS = 1000;

/** @throws DirectorFailure when the directory is in use, or a port is taken */
export async function runDirector(options: Arguments): Promise<RunningDirector> {
  if (options.join) return joinDirector(options);
  const { stateDir, host } = options;
  const control = join(stateDir, 'control.sock');
  const ready = join(stateDir, 'gateway.json');
  refuseLongPath(control);
  openDirectory(stateDir);
  refuseEarlier(stateDir);
  await refuseSecond(control, stateDir);
  rmSync(ready, { force: true });
  const { keyType, imageDialect, database, objectStore } = options;
  const first = { keyType, imageDialect };
  const world = await openWorld(stateDir, 'write', first, {
    hosts: namesOf(options),
    database,
    objectStore,
  });
  const rollouts = watchRollouts(world.store, ROLLOUTS_EVERY_MS, world.ahead);
  const { app: gateway, ...reloads } = await createGateway(world, options.requestTimeoutMs);
  const enrolment = createEnrolment(world);
  const portsPath = join(stateDir, 'ports.json');
  const last = readState(portsPath) as Ports | undefined;
  const ports: Ports = {
    gateway: await listen(gateway, host, options.port, last?.gateway),
    enrol: await listen(enrolment, host, options.enrolPort, last?.enrol),
  };
  const addresses: Addresses = {
    gateway: urlOf('https', host, ports.gateway),
    enrol: urlOf('https', host, ports.enrol),
    control,
    ca: world.serverCa.certificatePath,
    pid: process.pid,
  };
  const operator = createControl({ world, addresses: () => addresses, ...reloads });
  const page = options.page ? await servePage(operator, options, last?.page) : undefined;
  writeState(portsPath, { ...ports, ...(page === undefined ? {} : { page: page.port }) });
  await operator.listen({ path: control });
  await chmod(control, 0o600);
  writeState(ready, addresses, 0o644);
  return {
    addresses,
    ...(page === undefined ? {} : { pageUrl: page.url }),
    stop: async () => {
      rmSync(ready, { force: true });
      await page?.close();
      world.ahead.stop();
      await Promise.all([operator.close(), enrolment.close(), gateway.close(), rollouts.stop()]);
      await world.store.close();
    },
  };
}

async function servePage(
  operator: FastifyInstance,
  { stateDir, pageHost, pagePort }: Arguments,
  last: number | undefined,
): Promise<{ readonly url: string; readonly port: number; readonly close: () => Promise<void> }> {
  const names = namesOf({ host: pageHost, names: ['::1'] });
  const { app, token } = createPage(operator, stateDir, names);
  const port = await listen(app, pageHost, pagePort, last);
  const origin = urlOf('http', pageHost, port);
  return { url: `${origin}/?token=${token}`, port, close: async () => app.close() };
}

/**
 * One more gateway over a directory that another process has. That one publishes, enrols and signs the
 * Image repository; whichever is asked signs for devices.
 */
async function joinDirector(options: Arguments): Promise<RunningDirector> {
  const { stateDir, host, keyType, imageDialect, database, objectStore } = options;
  const first = readState(join(stateDir, 'gateway.json')) as Addresses | undefined;
  if (first === undefined) {
    const remedy = 'start one without --join first, with the same --state';
    const fields = { where: stateDir, remedy, exitCode: 2 } as const;
    throw new DirectorFailure('no Director runs over this directory', fields);
  }
  const hosts = namesOf(options);
  const world = await openWorld(
    stateDir,
    'read',
    { keyType, imageDialect },
    {
      hosts,
      database,
      objectStore,
    },
  );
  const { app: gateway } = await createGateway(world, options.requestTimeoutMs);
  const rollouts = watchRollouts(world.store, ROLLOUTS_EVERY_MS);
  const port = await listen(gateway, host, options.port, undefined);
  return {
    addresses: { ...first, gateway: urlOf('https', host, port), pid: process.pid },
    stop: async () => {
      world.ahead.stop();
      await Promise.all([gateway.close(), rollouts.stop()]);
      await world.store.close();
    },
  };
}

function urlOf(scheme: 'http' | 'https', host: string, port: number): string {
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `${scheme}://${name.includes(':') ? `[${name}]` : name}:${String(port)}`;
}

function openDirectory(stateDir: string): void {
  try {
    // Others may read certificates, root metadata and addresses; secrets are files of mode 0600.
    makeDirectory(stateDir, 0o755);
  } catch (cause) {
    throw new DirectorFailure(
      `cannot use the state directory: ${reasonOf(cause)}`,
      { where: stateDir, remedy: 'give a directory that can be written with --state', exitCode: 2 },
      { cause },
    );
  }
}

/** Linux cuts the name of a Unix socket off after 107 bytes, without a word. */
function refuseLongPath(control: string): void {
  if (Buffer.byteLength(control) <= SOCKET_PATH_BYTES) return;
  const remedy = `give a --state directory whose path is shorter by ${String(
    Buffer.byteLength(control) - SOCKET_PATH_BYTES,
  )} bytes`;
  const fields = { where: control, remedy, exitCode: 2 } as const;
  throw new DirectorFailure('the path of the control socket is too long', fields);
}

/** Devices were files once. To start without them would be to forget them. */
function refuseEarlier(stateDir: string): void {
  const where = join(stateDir, 'devices');
  if (!existsSync(where)) return;
  const remedy = 'give a new --state directory, or remove this one with what is known of devices';
  const fields = { where, remedy, exitCode: 2 } as const;
  throw new DirectorFailure('the state directory was made by an earlier version', fields);
}

/** Two processes over one directory would overwrite each other's versions. */
async function refuseSecond(control: string, stateDir: string): Promise<void> {
  if (!existsSync(control)) return;
  if (!(await answers(control))) {
    rmSync(control);
    return;
  }
  const remedy = 'stop the other one first, or give another --state';
  const fields = { where: stateDir, remedy, exitCode: 2 } as const;
  throw new DirectorFailure('another Director runs over this directory', fields);
}

async function answers(control: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(control);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

function namesOf({ host, names }: Pick<Arguments, 'host' | 'names'>): readonly string[] {
  const isAny = host === '0.0.0.0' || host === '::';
  return [...new Set(['localhost', '127.0.0.1', isAny ? hostname() : host, ...names])];
}

/** Port 0 means: the one of last time where it is free, so that devices find the server again. */
async function listen(
  server: Pick<Gateway, 'listen'> & { readonly server: { address(): unknown } },
  host: string,
  port: number,
  last: number | undefined,
): Promise<number> {
  if (port === 0 && last !== undefined) {
    const isFree = await server.listen({ host, port: last }).then(
      () => true,
      () => false,
    );
    if (isFree) return last;
  }
  try {
    await server.listen({ host, port });
  } catch (cause) {
    const where = `${host}:${String(port)}`;
    const remedy = 'choose another --port, --enrol-port or --host; 0 takes a free port';
    throw new DirectorFailure(`cannot listen: ${reasonOf(cause)}`, { where, remedy }, { cause });
  }
  const bound = server.server.address();
  return typeof bound === 'object' && bound !== null && 'port' in bound ? Number(bound.port) : port;
}
