/** Images, delegations, keys and the dates of metadata. */
import type { FastifyInstance } from 'fastify';

import { bodyOf } from '../answers.ts';
import type { JsonMap } from '../json/canonical-json.ts';
import { isMap } from '../json/canonical-json.ts';
import { Refusal } from '../failure.ts';
import type { Image } from '../metadata/image-content.ts';
import { LEVELS, type Level } from '../metadata/metadata-set.ts';
import type { ImageFile } from '../state/image-files.ts';
import { COMPRESSIONS, type Compression } from '../state/pack.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import { OFFLINE_ROLES, ROLES, type Rotation } from '../metadata/repository-keys.ts';
import { KEY_TYPES, type KeyType } from '../signing.ts';
import type { World } from '../world.ts';
import { deviceOf } from './devices.ts';

const MAX_KEYS = 10;

export function addRepositoryRoutes(app: FastifyInstance, world: World): void {
  app.post('/images', async (request, reply) =>
    reply.code(201).send(await publish(world, request)),
  );
  app.get('/images', () => world.images.images);

  app.post('/delegations', (request, reply) => {
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const delegation = world.images.delegate({
      name: wanted.string('name'),
      paths: wanted.strings('paths'),
      terminating: wanted.optionalBoolean('terminating') ?? false,
    });
    return reply.code(201).send(withoutKeys(delegation));
  });
  app.get('/delegations', () => world.images.delegations.map(withoutKeys));

  app.post('/rotations', (request, reply) => {
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const repository = wanted.string('repo') === 'image' ? world.images : world.director;
    if (!['image', 'director'].includes(wanted.string('repo')))
      throw notOneOf('repo', ['director', 'image']);
    const roles = repository === world.director ? [...ROLES, ...OFFLINE_ROLES] : ROLES;
    repository.rotate(readRotation(wanted, roles, world.settings.current.keyType));
    return reply.code(201).send({ rootVersion: repository.trust.roots.length });
  });

  app.post('/refresh', (request) => {
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const level = oneOf('role', wanted.optionalString('role') ?? 'timestamp', LEVELS);
    return refresh(world, level, wanted.optionalString('device'));
  });

  app.get('/settings', () => world.settings.current);
  app.put('/settings', (request) =>
    world.settings.change(new JsonReader(parseJson(bodyOf(request)))),
  );
}

async function publish(world: World, request: { readonly body: unknown }): Promise<Image> {
  const wanted = new JsonReader(parseJson(bodyOf(request)));
  const filename = wanted.string('name', 254);
  const hardwareIds = wanted.strings('hardwareIds');
  if (hardwareIds.length === 0)
    throw new Refusal(400, 'json_malformed', '$.hardwareIds must not be empty');
  const commit = commitOf(wanted);
  const format = wanted.optionalString('format') ?? (commit === undefined ? 'BINARY' : 'OSTREE');
  const role = wanted.optionalString('role');
  const compression = compressionOf(wanted);
  const encrypt = encryptOf(wanted, commit);
  const custom = customOf(wanted, { filename, hardwareIds, format });
  world.images.verifyPlace(filename, role);
  const { content, ...file } =
    commit === undefined
      ? await world.images.files.add(wanted.string('path'), compression)
      : { content: undefined, lengthBytes: 0, sha256: commit };
  const image = {
    filename,
    ...file,
    hardwareIds,
    format,
    custom:
      compression === undefined || content === undefined
        ? custom
        : { ...custom, ...unpackedAs(compression, content) },
    ...(role === undefined ? {} : { role }),
    ...(encrypt ? { encrypt } : {}),
  };
  try {
    world.images.add(image);
  } finally {
    const isUsed = world.images.images.some((one) => one.sha256 === file.sha256);
    if (!isUsed) await world.images.files.remove(file.sha256);
  }
  return world.images.findImage(filename) ?? image;
}

/** An OSTree commit in place of a file: its checksum is all that is signed. */
function commitOf(wanted: JsonReader): string | undefined {
  const commit = wanted.optionalString('commit');
  if (commit === undefined || /^[0-9a-f]{64}$/u.test(commit)) return commit;
  throw new Refusal(400, 'json_malformed', '$.commit must be 64 hexadecimal digits');
}

function compressionOf(wanted: JsonReader): Compression | undefined {
  const name = wanted.optionalString('compression');
  return name === undefined ? undefined : oneOf('compression', name, COMPRESSIONS);
}

/** A commit is pulled object by object: there is no one file of it to encrypt. */
function encryptOf(wanted: JsonReader, commit: string | undefined): boolean {
  const encrypt = wanted.optionalBoolean('encrypt') ?? false;
  if (!encrypt || commit === undefined) return encrypt;
  throw new Refusal(400, 'json_malformed', '$.encrypt must not be set for a commit');
}

/** What a device that gets the packed file has to make of it. */
function unpackedAs(compression: Compression, { lengthBytes, sha256, sha512 }: ImageFile): JsonMap {
  return { compression, uncompressed: { length: lengthBytes, hashes: { sha256, sha512 } } };
}

function customOf(
  wanted: JsonReader,
  image: {
    readonly filename: string;
    readonly hardwareIds: readonly string[];
    readonly format: string;
  },
): JsonMap {
  const now = new Date().toISOString();
  const free = wanted.raw('custom') ?? {};
  if (!isMap(free)) throw new Refusal(400, 'json_malformed', '$.custom must be an object');
  const releaseCounter = wanted.optionalInteger('releaseCounter');
  const uri = wanted.optionalString('uri');
  return {
    ...free,
    hardwareIds: image.hardwareIds,
    targetFormat: image.format,
    name: image.filename,
    version: wanted.string('version'),
    createdAt: now,
    updatedAt: now,
    ...(releaseCounter === undefined ? {} : { releaseCounter }),
    ...(uri === undefined ? {} : { uri }),
  };
}

function readRotation(
  wanted: JsonReader,
  roles: readonly Rotation['role'][],
  byDefault: KeyType,
): Rotation {
  const role = oneOf('role', wanted.optionalString('role') ?? 'root', roles);
  const keyCount = wanted.optionalInteger('keyCount', 1, MAX_KEYS) ?? 1;
  const threshold = wanted.optionalInteger('threshold', 1, keyCount) ?? 1;
  const keyType = oneOf('keyType', wanted.optionalString('keyType') ?? byDefault, KEY_TYPES);
  return { role, keyType, keyCount, threshold };
}

/** The Image repository's metadata, or a device's Director metadata, is signed anew. */
async function refresh(world: World, level: Level, deviceId: string | undefined): Promise<object> {
  if (deviceId === undefined) {
    return world.images.refresh(level, world.faults.floor('image', 'image-metadata')).versions;
  }
  await deviceOf(world.store, deviceId);
  const floor = world.faults.floor(`director/${deviceId}`, 'director-metadata');
  return (await world.director.refresh(deviceId, level, floor)).versions;
}

function withoutKeys(delegation: {
  readonly name: string;
  readonly paths: readonly string[];
  readonly terminating: boolean;
}): object {
  const { name, paths, terminating } = delegation;
  return { name, paths, terminating };
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw notOneOf(name, allowed);
  return found;
}

function notOneOf(name: string, allowed: readonly string[]): Refusal {
  return new Refusal(400, 'json_malformed', `$.${name} must be one of ${allowed.join(', ')}`);
}
