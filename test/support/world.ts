/** A TEE, a Director and one device, each a process or a directory of its own. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { startDirector, type DirectorHandle, type DirectorPlaces } from '../director/start.ts';
import { Device, type AgentResult, type DeviceOptions } from './device.ts';
import { startTee, type Tee } from './tee.ts';
import { temporaryDirectory } from './temporary.ts';

export const DEVICE = 'device-1';
export const HARDWARE = 'test-board';

export interface World {
  readonly directory: string;
  readonly tee: Tee;
  readonly director: DirectorHandle;
  readonly device: Device;
  /** Publishes `content` under `name` and assigns it to the device. */
  offer(name: string, content: Buffer): Promise<void>;
  close(): Promise<void>;
}

/**
 * @param state - `blank`: nothing provisioned yet
 * @param options - `teeArguments` of the secure world, such as `--rpmb`
 */
export async function openWorld(
  state: 'blank' | 'provisioned',
  options: {
    readonly imageDialect?: 'uptane' | 'tuf';
    readonly teeArguments?: readonly string[];
    /** The main file of the agent; by default the sources. */
    readonly program?: string;
  } = {},
): Promise<World> {
  const { imageDialect = 'uptane', teeArguments = [], program } = options;
  const temporary = temporaryDirectory('world');
  const directory = temporary.path;
  const tee = await startTee(directory, ...teeArguments);
  const director = await startDirector({ stateDir: join(directory, 'director'), imageDialect });
  const device = makeDevice(
    directory,
    { id: DEVICE, hardwareId: HARDWARE, ...(program === undefined ? {} : { program }) },
    director,
    tee,
  );
  device.configure({ uptane: { dialect: imageDialect } });
  const world: World = {
    directory,
    tee,
    director,
    device,
    offer: async (name, content) => {
      const images = join(directory, 'images');
      mkdirSync(images, { recursive: true });
      const path = join(images, createHash('sha256').update(name).digest('hex'));
      writeFileSync(path, content);
      await director.publish({ path, name, hardwareIds: [HARDWARE], version: '1' });
      await director.assign(DEVICE, name);
    },
    close: async () => {
      await director.stop();
      await tee.stop();
      temporary.remove();
    },
  };
  if (state === 'provisioned') await provisioned(world);
  return world;
}

async function provisioned(world: World): Promise<void> {
  const result = await world.device.agent(['provision']);
  if (result.exit === 0) return;
  await world.close();
  throw new Error(`provisioning failed: ${describe(result)}`);
}

/** A device below `directory` that belongs to this Director and has its token in this TEE. */
export function makeDevice(
  directory: string,
  name: Pick<DeviceOptions, 'id' | 'hardwareId' | 'program'>,
  director: DirectorPlaces,
  tee: Tee,
): Device {
  return new Device({
    directory: join(directory, 'device'),
    ...name,
    gateway: {
      url: director.gatewayUrl,
      enrolUrl: director.enrolUrl,
      caPath: director.caPath,
      enrolSecretPath: director.enrolSecretPath,
      roots: [director.directorRootPath, director.imageRootPath],
    },
    token: { module: tee.module, env: tee.env },
  });
}

/** A result in one line, for assertions that fail. */
export function describe({ exit, signal, stdout, stderr }: AgentResult): string {
  return `exit=${String(exit)} signal=${String(signal)}\n${stdout}\n${stderr}`;
}
