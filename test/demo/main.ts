/**
 * The main job from end to end, on real parts: `npm start`.
 *
 * A TEE, a Director and a device with two slots, all on this machine; every step is a command that
 * a person could have typed.
 */
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

import { startDirector, type DirectorHandle } from '../director/start.ts';
import type { Device } from '../support/device.ts';
import { programOptions } from '../support/program-options.ts';
import { startTee, type Tee } from '../support/tee.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { makeDevice } from '../support/world.ts';
import { agent } from './agent.ts';
import { say, show, step } from './narration.ts';
import { makeRootFilesystem } from './root-filesystem.ts';

const DEVICE = 'demo-device';
const HARDWARE = 'demo-board';

const USAGE = `usage: npm start -- [options]

  --image FILE   installs this in place of root file systems that are made for it
  --keep         leaves everything running, and says how to talk to it`;

interface World {
  readonly director: DirectorHandle;
  readonly tee: Tee;
  readonly device: Device;
}

interface Options {
  readonly image: string | undefined;
  readonly keep: boolean;
}

async function demonstrate(world: World, options: Options): Promise<void> {
  await provision(world);
  const images = await imagesOf(options);
  for (const [index, image] of images.entries()) await update(world, image, index + 1);
  await attack(world, options);
}

async function provision({ device, tee }: World): Promise<void> {
  step('The device gets its identity, inside a token');
  say(`The token is a TEE: a process of its own (pid ${String(tee.pid)}) that holds every key.`);
  await agent(device, ['provision'], 0);
}

async function imagesOf({ image }: Options): Promise<readonly string[]> {
  if (image !== undefined) return [image];
  step('Two root file systems are made of Debian packages');
  const made = [await makeRootFilesystem(1), await makeRootFilesystem(2)];
  for (const path of made) show(`${basename(path)}  ${mebibytes(statSync(path).size)}`);
  return made;
}

async function update({ director, device }: World, path: string, version: number): Promise<void> {
  const name = basename(path);
  step(`Version ${String(version)} is published and assigned: ${name}`);
  await director.publish({
    path,
    name,
    hardwareIds: [HARDWARE],
    version: String(version),
  });
  await director.assign(DEVICE, name);
  say('The agent verifies both repositories, downloads and fills the slot that does not run.');
  await agent(device, ['once'], 11);
  showMarker(device);
  const slot = device.boot();
  say(`The device reboots. The boot loader reads the marker and tries slot ${slot}.`);
  await agent(device, ['once'], 0);
  showMarker(device);
}

async function attack({ director, device }: World, { image }: Options): Promise<void> {
  step('An attacker replays an old snapshot that was validly signed once');
  const path = join(device.options.directory, 'third.img');
  writeFileSync(path, 'a third version, with nothing wrong about it\n');
  await director.publish({ path, name: 'third.img', hardwareIds: [HARDWARE], version: '3' });
  await director.assign(DEVICE, 'third.img');
  say('The device has seen the newest metadata; then the attacker takes over the repository.');
  await agent(device, ['check'], 10);
  await director.fault('snapshot-rollback', 'on');
  await agent(device, ['once'], 20);
  await director.fault('snapshot-rollback', 'off');
  say(`Refused, and nothing was installed: the device still runs ${image ?? 'version 2'}.`);
  await agent(device, ['status'], 0);
}

function showMarker(device: Device): void {
  const { active, state, tries } = device.marker();
  show(`boot marker: active=${active ?? ''} state=${state ?? ''} tries=${tries ?? ''}`);
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}

function parseOptions(): Options {
  const values = programOptions(USAGE, {
    image: { type: 'string' },
    keep: { type: 'boolean', default: false },
  });
  const image = values.image === undefined ? undefined : resolve(values.image);
  if (image !== undefined && !statSync(image).isFile()) throw new Error(`${image} is no file`);
  return { image, keep: values.keep };
}

async function openWorld(directory: string): Promise<World> {
  const tee = await startTee(directory);
  const director = await startDirector({ stateDir: join(directory, 'director') });
  const name = { id: DEVICE, hardwareId: HARDWARE };
  const device = makeDevice(directory, name, director, tee);
  return { tee, director, device };
}

async function keepRunning({ director, device, tee }: World): Promise<void> {
  step('Everything goes on running until you press Ctrl-C');
  show(`export OTA_TEE_SOCKET=${tee.socket} PATH=${dirname(process.execPath)}:$PATH`);
  show(`npm run -s ota-agent -- status --config ${device.configPath}`);
  show(`npm run -s ota-agent -- run --config ${device.configPath}`);
  show(`node test/director/cli.ts --state ${director.stateDir} devices`);
  show(`node test/director/cli.ts --state ${director.stateDir} publish FILE --name NAME \\`);
  show(`    --hardware-id ${HARDWARE} --version 4`);
  show(`node test/director/cli.ts --state ${director.stateDir} assign ${DEVICE} NAME`);
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
}

async function main(): Promise<void> {
  const options = parseOptions();
  const directory = temporaryDirectory('demo');
  const world = await openWorld(directory.path);
  try {
    await demonstrate(world, options);
    if (options.keep) await keepRunning(world);
  } finally {
    await world.director.stop();
    await world.tee.stop();
    directory.remove();
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
