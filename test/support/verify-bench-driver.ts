/** Whole verifications for `verify.bench.ts`: repositories in a folder, and who verifies them. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Repo } from '../../agent/errors.ts';
import { findTarget } from '../../agent/uptane/delegations.ts';
import { UPTANE, withLimits } from '../../agent/uptane/format.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import { MetadataStore } from '../../agent/uptane/store.ts';
import { TUF } from '../../agent/uptane/tuf.ts';
import { updateImage, verify, type Answer, type Conversation } from '../../agent/uptane/verify.ts';
import { ed25519, fileInfo, hashesOf, mlDsa, rsa, type Key } from './build-metadata.ts';
import { ed25519Key, mlDsaKey, rsaKey, type TufKey } from './tuf-keys.ts';
import { peakBytesOf } from './peak-memory.ts';
import { TufRepository } from './tuf-repository.ts';
import { TufUpdater } from './tuf-updater.ts';
import { NOW, PRIMARY, World, imageTarget } from './uptane-world.ts';

export type Algorithm = 'RSA' | 'Ed25519' | 'ML-DSA';

/** What is in the Image repository, or in the TUF repository. */
export interface Scenario {
  readonly algorithm: Algorithm;
  readonly targets: number;
  readonly delegations: number;
}

const WANTED = 'wanted.img';
const KEYS: Readonly<Record<Algorithm, () => Key>> = {
  RSA: () => rsa(),
  Ed25519: ed25519,
  'ML-DSA': () => mlDsa(65),
};
const TUF_KEYS: Readonly<Record<Algorithm, () => TufKey>> = {
  RSA: () => rsaKey(),
  Ed25519: ed25519Key,
  'ML-DSA': () => mlDsaKey(65),
};
const LIMITS = { rootBytes: 1024 ** 2, imageTargetsBytes: 64 * 1024 ** 2 };
const FIRST = { director: '2.root.json', image: '2.root.json' } as const;

const filenameOf = (i: number): string => `product/release-${String(i).padStart(6, '0')}.img`;

/** Writes both repositories of a vehicle to `directory`. */
export function writeUptane(directory: string, scenario: Scenario): void {
  const world = new World();
  const newKey = KEYS[scenario.algorithm];
  for (const repository of [world.director, world.image]) {
    for (const role of ['root', 'timestamp', 'snapshot', 'targets'] as const) {
      repository.keys[role] = [newKey()];
    }
    repository.publishRoot();
  }
  for (let i = 1; i < scenario.targets; i += 1) {
    world.image.targets[filenameOf(i)] = imageTarget(String(i), [PRIMARY]);
  }
  world.assign(WANTED);
  const wanted = { [WANTED]: imageTarget(WANTED, [PRIMARY]) };
  if (scenario.delegations === 0) Object.assign(world.image.targets, wanted);
  const names = Array.from({ length: scenario.delegations }, (_, i) => `role-${String(i)}`);
  world.image.delegations = names.map((name) => {
    const keys = [newKey()];
    world.image.addDelegated(name, { keys, targets: name === names.at(-1) ? wanted : {} });
    return { name, keys, paths: ['*'] };
  });
  world.publish();
  for (const repo of ['director', 'image'] as const) {
    writeAll(join(directory, repo), world[repo].served);
  }
}

/** Writes a TUF repository to `directory`. */
export function writeTuf(directory: string, scenario: Scenario): void {
  const newKey = TUF_KEYS[scenario.algorithm];
  const repository = new TufRepository(newKey, false);
  for (let i = 1; i < scenario.targets; i += 1) {
    repository.targets[filenameOf(i)] = fileInfo(String(i));
  }
  const names = Array.from({ length: scenario.delegations }, (_, i) => `role-${String(i)}`);
  repository.delegations = names.map((name) => {
    const keys = [newKey()];
    repository.addDelegated(name, { keys });
    return { name, keys, paths: ['*'] };
  });
  repository.addTarget(WANTED, WANTED, names.at(-1));
  repository.publish();
  writeAll(directory, repository.served);
}

/** A vehicle that has the first roots, or whatever it has kept. */
export class Vehicle {
  readonly trusted = new Map<string, Uint8Array>();
  readonly #served: Readonly<Record<Repo, ReadonlyMap<string, Uint8Array>>>;
  #installed: TrustedTarget | undefined;

  constructor(directory: string) {
    const read = (repo: Repo): ReadonlyMap<string, Uint8Array> => readAll(join(directory, repo));
    this.#served = { director: read('director'), image: read('image') };
    for (const repo of ['director', 'image'] as const) {
      this.trusted.set(`${repo}/root`, this.#served[repo].get(FIRST[repo]) ?? Buffer.alloc(0));
    }
  }

  /** One verification from what is trusted, of which nothing is kept. */
  verify(): void {
    this.#run((role, bytes) => [role, bytes]);
  }

  /** Verifies, keeps everything and installs the image: from now on it is idle. */
  settle(): void {
    this.#installed = this.#run((role, bytes) => {
      if (bytes !== undefined) this.trusted.set(role, bytes);
    });
  }

  #run(keep: (role: string, bytes: Answer) => unknown): TrustedTarget | undefined {
    const installed = this.#installed;
    const ecu = installed === undefined ? PRIMARY : { ...PRIMARY, installed };
    const imageFormat = withLimits(UPTANE, LIMITS);
    const input = { trusted: this.trusted, inventory: [ecu], now: NOW, imageFormat };
    const verdict = answered(verify(input), (repo, file) => this.#served[repo].get(file), keep);
    const wanted = installed === undefined ? 'update' : 'up-to-date';
    if (verdict.outcome !== wanted) throw new Error(`the verdict is ${verdict.outcome}`);
    return verdict.targets[0];
  }
}

type Run = () => unknown;

/** Our client on a TUF repository, from the first root to the wanted target; it writes as theirs does. */
export function ours(directory: string): Run {
  const served = readAll(directory);
  const kept = join(directory, 'ours');
  mkdirSync(kept, { recursive: true });
  const trusted = new Map([['image/root', served.get('1.root.json') ?? Buffer.alloc(0)]]);
  const keep = (role: string, bytes: Answer): void => {
    if (bytes !== undefined) writeFileSync(join(kept, `${role.replaceAll('/', '-')}.json`), bytes);
  };
  const serve = (_repo: Repo, file: string): Answer => served.get(file);
  return () => {
    const store = new MetadataStore('image', trusted, NOW, withLimits(TUF, LIMITS));
    const repository = answered(updateImage(store), serve, keep);
    const wanted = { filename: WANTED, hardwareId: undefined };
    answered(findTarget(repository, wanted), serve, keep);
  };
}

/** tuf-js on the same repository. */
export function theirs(directory: string): Run {
  const { imageTargetsBytes, rootBytes } = LIMITS;
  const config = { rootMaxLength: rootBytes, targetsMaxLength: imageTargetsBytes };
  const updater = new TufUpdater({ served: readAll(directory) }, config);
  return async () => {
    const found = await updater.judge(WANTED);
    await updater[Symbol.asyncDispose]();
    if (found !== hashesOf(WANTED).sha256) throw new Error(`tuf-js: ${found}`);
  };
}

export type Who = 'vehicle' | 'ours' | 'theirs';

/** Highest resident memory of one verification, above what the process has without; in bytes. */
export async function peak(args: { directory: string; who: Who }): Promise<number> {
  const { directory, who } = args;
  const vehicle = (): Run => {
    const own = new Vehicle(directory);
    return () => {
      own.verify();
    };
  };
  const run = { vehicle, ours: () => ours(directory), theirs: () => theirs(directory) }[who]();
  return peakBytesOf(run);
}

function answered<T>(
  talk: Conversation<T>,
  serve: (repo: Repo, file: string) => Answer,
  keep: (role: string, bytes: Answer) => unknown,
): T {
  let turn = talk.next();
  while (turn.done !== true) {
    const { value: need } = turn;
    if (need.need === 'keep') keep(`${need.repo}/${need.role}`, need.bytes);
    turn = talk.next(need.need === 'fetch' ? serve(need.repo, need.file) : undefined);
  }
  return turn.value;
}

function writeAll(directory: string, files: ReadonlyMap<string, Uint8Array>): void {
  mkdirSync(directory, { recursive: true });
  for (const [name, bytes] of files) {
    writeFileSync(join(directory, name.replaceAll('/', '%2F')), bytes);
  }
}

function readAll(directory: string): ReadonlyMap<string, Uint8Array> {
  const files = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map(({ name }) => [name.replaceAll('%2F', '/'), readFileSync(join(directory, name))]),
  );
}
