/** A device that lives in a directory, so that any process can go on with it after another was killed. */
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { openBrake } from '../../agent/cycle/brake.ts';
import { openClock } from '../../agent/io/clock.ts';
import { openMedia } from '../../agent/io/medium.ts';
import { StagingDirectory } from '../../agent/io/staging.ts';
import { Database } from '../../agent/io/store/database.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import type { Ports } from '../../agent/ports.ts';
import { UPTANE } from '../../agent/uptane/format.ts';
import { FUTURE, hashesOf, type Body } from '../support/build-metadata.ts';
import { Stick } from '../support/stick.ts';
import { directorTarget, imageTarget, NOW, World } from '../support/uptane-world.ts';
import type { NewImage, Scenario } from './scenario.ts';

const CHUNK_BYTES = 256 * 1024;
const { privateKey: KEY } = generateKeyPairSync('ed25519');

/** Makes device and repositories; what the repositories serve is on disk, too. */
export async function prepare(directory: string, scenario: Scenario): Promise<void> {
  const { ecus } = scenario;
  const world = new World(ecus);
  mkdirSync(join(directory, 'images'), { recursive: true });
  const device = join(directory, 'device');
  mkdirSync(device);
  const images = await scenario.prepare(device);
  for (const image of images) {
    const name = nameOf(image);
    world.director.targets[name] = asSigned(image, directorTarget('', [image.ecu]));
    world.image.targets[name] = asSigned(image, imageTarget('', [image.ecu], image.custom));
    writeFileSync(join(directory, 'images', name), image.content);
  }
  world.director.custom = { correlationId: 'urn:here-ota:mtu:1' };
  if (scenario.comesBy === 'stick') packOnStick(directory, world, images);
  else world.publish();
  for (const repo of ['director', 'image'] as const) {
    mkdirSync(join(directory, repo));
    for (const [name, bytes] of world[repo].served) {
      writeFileSync(join(directory, repo, encodeURIComponent(name)), bytes);
    }
  }
  writeFileSync(join(directory, 'boot-id'), randomUUID());
  const database = await Database.open(join(directory, 'state.db'));
  const store = new SqliteStore(database);
  await store.saveEcus(ecus);
  for (const [name, bytes] of world.device.trusted) {
    const [repo, role = ''] = name.split('/');
    if (repo === 'director' || repo === 'image') {
      await store.keep([{ need: 'keep', repo, role, bytes }]);
    }
  }
  await database.close();
}

function nameOf({ ecu, filename }: NewImage): string {
  return filename ?? `${ecu.serial}.img`;
}

/** The Director assigns nothing, and signs the same for the hardware. */
function packOnStick(directory: string, world: World, images: readonly NewImage[]): void {
  world.director.targets = {};
  const stick = new Stick(world);
  stick.publishRoot();
  world.publish();
  const targets = images.map((image) => {
    const custom = { hardwareIds: [image.ecu.hardwareId] };
    stick.images.set(hashesOf(image.content).sha256, image.content);
    return [nameOf(image), asSigned(image, { custom })] as const;
  });
  stick.lockboxes.set('box', {
    version: 1,
    expires: FUTURE,
    targets: Object.fromEntries(targets),
  });
  stick.write().writeTo(stickIn(directory));
}

/** Where it is mounted. */
export function stickIn(directory: string): string {
  return join(directory, 'stick');
}

function asSigned({ content, commit }: NewImage, target: Body): Body {
  if (commit === undefined) {
    return { ...target, length: content.length, hashes: hashesOf(content) };
  }
  const custom = { ...(target['custom'] as Body), targetFormat: 'OSTREE' };
  return { ...target, length: 0, hashes: { sha256: commit }, custom };
}

/** Power on, as after a power cut or a reboot. */
export async function boot(directory: string, scenario: Scenario): Promise<void> {
  await scenario.boot(join(directory, 'device'));
  writeFileSync(join(directory, 'boot-id'), randomUUID());
}

/** Manifests that the Director took, oldest first. */
export function manifests(directory: string): readonly string[] {
  const path = join(directory, 'manifests');
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
}

/** The agent's ports: its storage, staging and installers are real, the network is the directory. */
export async function openPorts(
  directory: string,
  scenario: Scenario,
): Promise<{ ports: Ports; close(): Promise<void> }> {
  const database = await Database.open(join(directory, 'state.db'));
  const store = new SqliteStore(database);
  const ignore = (): undefined => undefined;
  const ports: Ports = {
    store,
    staging: new StagingDirectory(join(directory, 'staging'), 0),
    installers: { of: (ecu) => scenario.open(join(directory, 'device'), ecu) },
    health: { check: () => Promise.resolve() },
    brake: openBrake(),
    media: openMedia(),
    boot: {
      bootId: readFileSync(join(directory, 'boot-id'), 'utf8'),
      uptimeMs: () => 0,
      reboot: () => Promise.resolve(),
    },
    clock: {
      ...openClock(await store.latestKnownTime(), { wallMs: () => NOW, monotonicMs: () => 0 }),
      sleep: () => Promise.resolve(),
    },
    reporter: { transition: ignore, progress: ignore, refused: ignore },
    limits: {
      downloadAttempts: 3,
      healthDeadlineMs: 60_000,
      probeGateway: true,
      keepImages: 'until-done',
    },
    vehicleId: 'device-1',
    directorFormat: UPTANE,
    imageFormat: UPTANE,
    repositories: {
      fetchMetadata: (repo, file) => {
        const names = readdirSync(join(directory, repo));
        const name = names.find((one) => decodeURIComponent(one) === file);
        const bytes = name === undefined ? undefined : readFileSync(join(directory, repo, name));
        return Promise.resolve(bytes);
      },
      openImage: (target, offset) => image(join(directory, 'images', target.filename), offset),
      distrust: ignore,
    },
    director: {
      putManifest: (body) => {
        appendFileSync(join(directory, 'manifests'), `${Buffer.from(body).toString()}\n`);
        return Promise.resolve(undefined);
      },
      postEvents: (events) => Promise.resolve(events.length),
    },
    signer: {
      keyId: 'key',
      method: 'ed25519',
      sign: (payload) => Promise.resolve(sign(null, payload, KEY).toString('base64')),
    },
  };
  return { ports, close: () => database.close() };
}

async function* image(path: string, offset: number): AsyncGenerator<Uint8Array> {
  const content = await Promise.resolve(readFileSync(path));
  for (let at = offset; at < content.length; at += CHUNK_BYTES) {
    yield content.subarray(at, at + CHUNK_BYTES);
  }
}
