/** Starts the three servers over one state directory, and ends them. */
import { existsSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';

import type { Arguments } from './cli/arguments.ts';
import type { Addresses } from './control/parts.ts';
import { createControl } from './control/routes.ts';
import { createEnrolment } from './enrolment/est.ts';
import { DirectorFailure, reasonOf } from './failure.ts';
import type { Gateway } from './gateway/peers.ts';
import { createGateway } from './gateway/server.ts';
import { makeDirectory, readState, writeState } from './state/state-file.ts';
import { openWorld } from './world.ts';

export interface RunningDirector {
  readonly addresses: Addresses;
  readonly stop: () => Promise<void>;
}

interface Ports {
  readonly gateway: number;
  readonly enrol: number;
}

const SOCKET_PATH_BYTES = 107;

/** @throws DirectorFailure when the directory is in use, or a port is taken */
export async function runDirector(options: Arguments): Promise<RunningDirector> {
  const { stateDir, host } = options;
  const control = join(stateDir, 'control.sock');
  const ready = join(stateDir, 'gateway.json');
  refuseLongPath(control);
  openDirectory(stateDir);
  await refuseSecond(control, stateDir);
  rmSync(ready, { force: true });
  const world = await openWorld(stateDir, options, namesOf(options));
  const { app: gateway, ...reloads } = await createGateway(world);
  const enrolment = createEnrolment(world);
  const portsPath = join(stateDir, 'ports.json');
  const last = readState(portsPath) as Ports | undefined;
  const ports = {
    gateway: await listen(gateway, host, options.port, last?.gateway),
    enrol: await listen(enrolment, host, options.enrolPort, last?.enrol),
  };
  writeState(portsPath, ports);
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  const url = (port: number): string =>
    `https://${name.includes(':') ? `[${name}]` : name}:${String(port)}`;
  const addresses: Addresses = {
    gateway: url(ports.gateway),
    enrol: url(ports.enrol),
    control,
    ca: world.serverCa.certificatePath,
    pid: process.pid,
  };
  const operator = createControl({ world, addresses: () => addresses, ...reloads });
  await operator.listen({ path: control });
  await chmod(control, 0o600);
  writeState(ready, addresses, 0o644);
  return {
    addresses,
    stop: async () => {
      rmSync(ready, { force: true });
      await Promise.all([operator.close(), enrolment.close(), gateway.close()]);
    },
  };
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

function namesOf({ host, names }: Arguments): readonly string[] {
  const isAny = host === '0.0.0.0' || host === '::';
  return [...new Set(['localhost', '127.0.0.1', isAny ? hostname() : host, ...names])];
}

/** Port 0 means: the one of last time where it is free, so that devices find the server again. */
async function listen(
  server: Gateway,
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
  return typeof bound === 'object' ? (bound?.port ?? port) : port;
}
